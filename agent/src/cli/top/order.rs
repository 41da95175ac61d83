//! Which rows are shown, and in which order.

use std::cmp::Ordering;

use super::columns::Column;
use super::model::Row;
use super::view::View;

/// The rows that the view asks for, in its order. Rows of equal figures are in the order of their ports.
pub(super) fn visible<'a>(rows: &'a [Row], view: &View) -> Vec<&'a Row> {
    let words: Vec<String> = view.filter.split_whitespace().map(str::to_lowercase).collect();
    let is_shown = |row: &&Row| has_all(row, &words) && !(view.hides_idle && row.is_idle());
    let mut shown: Vec<&Row> = rows.iter().filter(is_shown).collect();
    shown.sort_by(|one, other| {
        let order = compare(one, other, view.sort);
        let order = if view.is_descending { order.reverse() } else { order };
        order.then_with(|| (one.port, &one.id).cmp(&(other.port, &other.id)))
    });
    shown
}

/// Whether each of the words, in lower case, is in the row's name, alias, port or id.
fn has_all(row: &Row, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let port = row.port.map(|port| port.to_string()).unwrap_or_default();
    let text = format!("{} {port} {}", row.name.to_lowercase(), row.id);
    words.iter().all(|word| text.contains(word))
}

/// What is not known is less than anything that is.
fn compare(one: &Row, other: &Row, column: Column) -> Ordering {
    let rate = |rate: fn(&Row) -> Option<f64>| {
        let (one, other) = (rate(one).unwrap_or(-1.0), rate(other).unwrap_or(-1.0));
        one.total_cmp(&other)
    };
    match column {
        Column::Port => one.port.cmp(&other.port),
        Column::Name => one.name.to_lowercase().cmp(&other.name.to_lowercase()),
        Column::Rx => rate(|row| row.rx_rate),
        Column::Tx => rate(|row| row.tx_rate),
        Column::Rate => rate(Row::rate),
        Column::Connections => one.connections.cmp(&other.connections),
        Column::Today => one.today_bytes.cmp(&other.today_bytes),
        Column::Month => one.month_bytes.cmp(&other.month_bytes),
        Column::Total => one.total_bytes().cmp(&other.total_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(port: u32, name: &str, rates: Option<(f64, f64)>, connections: u64) -> Row {
        Row {
            id: format!("id-{port}"),
            name: name.to_owned(),
            port: Some(port),
            rx_rate: rates.map(|(rx, _)| rx),
            tx_rate: rates.map(|(_, tx)| tx),
            rx_bytes: u64::from(20_000 - port),
            connections,
            today_bytes: Some(u64::from(port % 2)),
            month_bytes: (port != 10_001).then_some(9),
            ..Row::default()
        }
    }

    fn rows() -> Vec<Row> {
        vec![
            row(10_001, "bob", Some((5.0, 1.0)), 0),
            row(10_002, "Alice (Ann)", Some((0.0, 9.0)), 3),
            row(10_003, "carol", None, 0),
            row(10_004, "dave 10001", Some((0.0, 0.0)), 0),
        ]
    }

    fn shown(view: &View) -> Vec<u32> {
        visible(&rows(), view)
            .iter()
            .filter_map(|row| row.port)
            .map(|port| port - 10_000)
            .collect()
    }

    #[test]
    fn rows_are_in_the_order_of_a_column() {
        for (column, expected) in [
            (Column::Port, [1, 2, 3, 4]),
            (Column::Name, [2, 1, 3, 4]),
            (Column::Rx, [1, 2, 4, 3]),
            (Column::Tx, [2, 1, 4, 3]),
            (Column::Rate, [2, 1, 4, 3]),
            (Column::Connections, [2, 1, 3, 4]),
            (Column::Today, [1, 3, 2, 4]),
            (Column::Month, [2, 3, 4, 1]),
            (Column::Total, [1, 2, 3, 4]),
        ] {
            let view = View::new(column, String::new(), false);
            assert_eq!(shown(&view), expected, "by {column}");
        }
    }

    /// Rows of equal figures stay in the order of their ports.
    #[test]
    fn the_other_way_around() {
        for (column, expected) in [
            (Column::Port, [4, 3, 2, 1]),
            (Column::Connections, [1, 3, 4, 2]),
            (Column::Rate, [3, 4, 1, 2]),
        ] {
            let mut view = View::new(column, String::new(), false);
            view.is_descending = !view.is_descending;
            assert_eq!(shown(&view), expected, "by {column}");
        }
    }

    #[test]
    fn a_filter_has_words_that_must_all_be_there() {
        for (filter, expected) in [
            ("", vec![1, 2, 3, 4]),
            ("ALICE", vec![2]),
            ("ann", vec![2]),
            ("10001", vec![1, 4]),
            ("10001 dave", vec![4]),
            ("id-10003", vec![3]),
            ("nobody", vec![]),
            ("  ", vec![1, 2, 3, 4]),
        ] {
            let view = View::new(Column::Port, filter.to_owned(), false);
            assert_eq!(shown(&view), expected, "{filter:?}");
        }
    }

    #[test]
    fn idle_rows_can_be_left_out() {
        let view = View {
            hides_idle: true,
            ..View::new(Column::Port, String::new(), false)
        };
        assert_eq!(shown(&view), [1, 2]);
    }
}
