//! What stands in a place of the table.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::super::columns::Column;
use super::super::look::{Look, Signs};
use super::super::model::Row;
use super::super::view::View;
use crate::cli::figures;

/// A column's heading, marked where rows are sorted by it.
pub(super) fn heading(column: Column, width: u16, view: &View, look: &Look) -> Line<'static> {
    let mut text = column.heading(view.are_bits).to_owned();
    if column == view.sort {
        text = format!("{text} {}", mark(view, &look.signs));
    }
    // The graph's newest point is at the right; its heading is at the left, where nothing else is near.
    let is_right = column.is_figure() && column != Column::Rate;
    aligned(Span::raw(clip(&text, usize::from(width), &look.signs)), is_right)
}

/// The sign of the order.
pub(super) fn mark(view: &View, signs: &Signs) -> &'static str {
    if view.is_descending {
        signs.descending
    } else {
        signs.ascending
    }
}

/// What a row has in a column.
pub(super) fn cell(row: &Row, column: Column, width: u16, view: &View, look: &Look) -> Line<'static> {
    let unknown = || look.signs.unknown.to_owned();
    let rate = |rate: Option<f64>| rate.map_or_else(unknown, |rate| short_rate(rate, view.are_bits));
    let size = |bytes: Option<u64>| bytes.map_or_else(unknown, figures::bytes);
    let (text, style) = match column {
        Column::Port => (row.port.map_or_else(unknown, |port| port.to_string()), Style::new()),
        Column::Name => (name(row, usize::from(width), &look.signs), Style::new()),
        Column::Rx => (rate(row.rx_rate), look.rx),
        Column::Tx => (rate(row.tx_rate), look.tx),
        Column::Rate => (row.recent.graph(usize::from(width), look.signs.levels), look.graph),
        Column::Connections => (figures::count(row.connections), Style::new()),
        Column::Today => (size(row.today_bytes), Style::new()),
        Column::Month => (size(row.month_bytes), Style::new()),
        Column::Total => (size(Some(row.total_bytes())), Style::new()),
    };
    aligned(Span::styled(text, style), column.is_figure())
}

/// A rate without its unit, which the heading says: `1.23 M`.
pub(super) fn short_rate(bytes_per_second: f64, are_bits: bool) -> String {
    let text = match are_bits {
        true => figures::bit_rate(bytes_per_second),
        false => figures::byte_rate(bytes_per_second),
    };
    let unit = if are_bits { "bit/s" } else { "B/s" };
    text.strip_suffix(unit).unwrap_or(&text).trim_end().to_owned()
}

/// A disabled key is said to be, in a word.
fn name(row: &Row, width: usize, signs: &Signs) -> String {
    match row.is_active {
        true => clip(&row.name, width, signs),
        false => {
            let word = " [off]";
            clip(&row.name, width.saturating_sub(word.len()), signs) + word
        }
    }
}

/// A text in so many columns of the terminal, with a sign where something is left out.
pub(super) fn clip(text: &str, width: usize, signs: &Signs) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(signs.more.width());
    let mut clipped = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > room {
            break;
        }
        clipped.push(character);
    }
    if width > 0 {
        clipped.push_str(signs.more);
    }
    clipped
}

fn aligned(span: Span<'static>, is_right: bool) -> Line<'static> {
    let line = Line::from(span);
    if is_right { line.right_aligned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs() -> Signs {
        Look::from_environment(|_| Some("C.UTF-8".to_owned())).signs
    }

    #[test]
    fn texts_are_clipped_by_what_they_take_on_the_screen() {
        for (text, width, expected) in [
            ("alice", 5, "alice"),
            ("alice", 4, "ali…"),
            ("alice", 1, "…"),
            ("alice", 0, ""),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("Zoë", 3, "Zoë"),
        ] {
            assert_eq!(clip(text, width, &signs()), expected, "{text} in {width}");
        }
    }

    #[test]
    fn a_rates_unit_is_in_the_heading() {
        assert_eq!(short_rate(1_234_567.0, false), "1.23 M");
        assert_eq!(short_rate(1_234_567.0, true), "9.88 M");
        assert_eq!(short_rate(12.0, false), "12");
    }

    #[test]
    fn a_disabled_key_says_so_however_long_its_name() {
        let row = Row {
            name: "a long name".to_owned(),
            ..Row::default()
        };
        assert_eq!(name(&row, 12, &signs()), "a lon… [off]");
    }
}
