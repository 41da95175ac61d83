//! The columns: what each is called, how wide it must be, and which ones go first where there is no room for all.

use std::fmt;

use clap::ValueEnum;

/// What a row shows, and what rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Column {
    /// The key's port
    Port,
    /// The key's name and alias
    Name,
    /// Bytes per second from the client
    Rx,
    /// Bytes per second to the client
    Tx,
    /// Bytes per second of both directions; shown as the graph of the last seconds
    Rate,
    /// Open connections
    Connections,
    /// Bytes of today
    Today,
    /// Bytes of this month
    Month,
    /// Bytes since the key was made or reset
    Total,
}

/// Between two columns.
pub(super) const SPACING: u16 = 1;

/// The most that the graph is given: a point a second, two minutes.
const GRAPH_MAX: u16 = super::recent::SECONDS_MAX as u16;

/// A name this long is rare; what is left beyond it goes to the graph.
const NAME_ENOUGH: u16 = 24;

impl Column {
    /// Every column, from left to right.
    pub(super) const ALL: [Self; 9] = [
        Self::Port,
        Self::Name,
        Self::Rx,
        Self::Tx,
        Self::Rate,
        Self::Connections,
        Self::Today,
        Self::Month,
        Self::Total,
    ];

    /// From the one that is never left out to the one that goes first.
    const BY_IMPORTANCE: [Self; 9] = [
        Self::Name,
        Self::Tx,
        Self::Rx,
        Self::Port,
        Self::Connections,
        Self::Today,
        Self::Rate,
        Self::Month,
        Self::Total,
    ];

    /// Its heading; rates say their unit.
    pub(super) fn heading(self, are_bits: bool) -> &'static str {
        match self {
            Self::Port => "PORT",
            Self::Name => "NAME",
            Self::Rx if are_bits => "RX b/s",
            Self::Rx => "RX B/s",
            Self::Tx if are_bits => "TX b/s",
            Self::Tx => "TX B/s",
            Self::Rate => "RX+TX",
            Self::Connections => "CONN",
            Self::Today => "TODAY",
            Self::Month => "MONTH",
            Self::Total => "TOTAL",
        }
    }

    /// Whether it holds figures, which stand at the right and begin with the highest.
    pub(super) fn is_figure(self) -> bool {
        !matches!(self, Self::Port | Self::Name)
    }

    /// The least width in which its heading with the mark of sorting, and its values, are whole.
    fn width_min(self) -> u16 {
        match self {
            Self::Port | Self::Connections => 6,
            Self::Name => 12,
            Self::Rx | Self::Tx | Self::Today | Self::Month | Self::Total => 8,
            Self::Rate => 10,
        }
    }

    /// The column this many places to the right, going around.
    pub(super) fn moved(self, places: isize) -> Self {
        let place = Self::ALL.iter().position(|column| *column == self).unwrap_or_default();
        let count = Self::ALL.len() as isize;
        let moved = (place as isize + places).rem_euclid(count);
        Self::ALL[moved.unsigned_abs()]
    }
}

impl fmt::Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Port => "port",
            Self::Name => "name",
            Self::Rx => "rx",
            Self::Tx => "tx",
            Self::Rate => "rx+tx",
            Self::Connections => "connections",
            Self::Today => "today",
            Self::Month => "month",
            Self::Total => "total",
        })
    }
}

/// The columns that fit into a width, from left to right, each with its own.
pub(super) fn fit(width: u16) -> Vec<(Column, u16)> {
    let mut chosen = Vec::new();
    let mut used = 0;
    for column in Column::BY_IMPORTANCE {
        let spacing = if chosen.is_empty() { 0 } else { SPACING };
        let wanted = spacing + column.width_min();
        // One that has no room ends the list: a less important one in its place would come and go with the width.
        if used + wanted > width && !chosen.is_empty() {
            break;
        }
        used += wanted;
        chosen.push(column);
    }
    let shown = Column::ALL.into_iter().filter(|column| chosen.contains(column));
    let mut placed: Vec<(Column, u16)> = shown.map(|column| (column, column.width_min())).collect();
    if used > width {
        // Narrower than a name: it gets what there is.
        return vec![(Column::Name, width)];
    }
    let mut left = width - used;
    give(&mut placed, Column::Name, NAME_ENOUGH, &mut left);
    give(&mut placed, Column::Rate, GRAPH_MAX, &mut left);
    give(&mut placed, Column::Name, u16::MAX, &mut left);
    placed
}

/// Widens a column that is shown to at most `most`.
fn give(placed: &mut [(Column, u16)], column: Column, most: u16, left: &mut u16) {
    if let Some((_, width)) = placed.iter_mut().find(|(found, _)| *found == column) {
        let more = most.saturating_sub(*width).min(*left);
        *width += more;
        *left -= more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: u16) -> String {
        let words: Vec<String> = fit(width)
            .into_iter()
            .map(|(column, width)| format!("{column} {width}"))
            .collect();
        words.join(", ")
    }

    #[test]
    fn a_narrow_terminal_leaves_out_what_matters_least() {
        for (width, expected) in [
            (0, "name 0"),
            (8, "name 8"),
            (12, "name 12"),
            (20, "name 20"),
            (21, "name 12, tx 8"),
            (40, "port 6, name 15, rx 8, tx 8"),
            (60, "port 6, name 19, rx 8, tx 8, connections 6, today 8"),
            (
                80,
                "port 6, name 19, rx 8, tx 8, rx+tx 10, connections 6, today 8, month 8",
            ),
            (
                132,
                "port 6, name 24, rx 8, tx 8, rx+tx 48, connections 6, today 8, month 8, total 8",
            ),
            (
                300,
                "port 6, name 120, rx 8, tx 8, rx+tx 120, connections 6, today 8, month 8, total 8",
            ),
        ] {
            assert_eq!(shown(width), expected, "at {width}");
        }
    }

    #[test]
    fn what_is_shown_fills_the_width() {
        for width in 12..400 {
            let placed = fit(width);
            let sum: u16 = placed.iter().map(|(_, width)| width).sum();
            let spacing = SPACING * (u16::try_from(placed.len()).unwrap() - 1);
            assert_eq!(sum + spacing, width);
        }
    }

    #[test]
    fn headings_fit_with_the_mark_of_sorting() {
        for column in Column::ALL {
            for are_bits in [false, true] {
                let width = column.heading(are_bits).chars().count() + 2;
                assert!(width <= usize::from(column.width_min()), "{column}");
            }
        }
    }

    #[test]
    fn moving_goes_around() {
        assert_eq!(Column::Port.moved(-1), Column::Total);
        assert_eq!(Column::Total.moved(1), Column::Port);
        assert_eq!(Column::Rx.moved(1), Column::Tx);
    }
}
