//! How a person wants to see the figures: the order, the filter, the place in the list. Plain data.

use super::columns::Column;
use super::model::Row;

/// What keys on the keyboard mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Commands.
    Table,
    /// Text of the filter.
    Filter,
    /// Commands are explained; any key goes back.
    Help,
}

/// A change of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Sort by the column this many places to the right.
    SortMoved(isize),
    /// Sort by a column; by the same one once more: the other way around.
    SortBy(Column),
    Reverse,
    /// This many rows down.
    Move(isize),
    /// This many screens down.
    Page(isize),
    First,
    Last,
    Filter,
    Type(char),
    EraseCharacter,
    EraseWord,
    EraseAll,
    /// Keep the filter and go back to commands.
    Accept,
    /// Take the filter away and go back to commands.
    Clear,
    Bits,
    Idle,
    Help,
    Back,
}

/// The view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) mode: Mode,
    pub(super) sort: Column,
    pub(super) is_descending: bool,
    pub(super) filter: String,
    /// Rates in bits, not in bytes.
    pub(super) are_bits: bool,
    /// Whether rows where nothing goes on are left out.
    pub(super) hides_idle: bool,
    /// The id of the key that is looked at; it stays so wherever its row goes.
    pub(super) selected: Option<String>,
    /// The first row on the screen.
    pub(super) offset: usize,
}

impl View {
    /// A view at its beginning.
    pub(super) fn new(sort: Column, filter: String, are_bits: bool) -> Self {
        Self {
            mode: Mode::Table,
            sort,
            is_descending: sort.is_figure(),
            filter,
            are_bits,
            hides_idle: false,
            selected: None,
            offset: 0,
        }
    }

    /// Changes it; `ids` are those of the rows that are shown, in their order, `height` how many of them fit the screen.
    pub(super) fn change(&mut self, change: Change, ids: &[String], height: usize) {
        let page = isize::try_from(height.max(1)).unwrap_or(isize::MAX);
        match change {
            Change::SortMoved(places) => self.sort_by(self.sort.moved(places)),
            Change::SortBy(column) if column == self.sort => self.is_descending = !self.is_descending,
            Change::SortBy(column) => self.sort_by(column),
            Change::Reverse => self.is_descending = !self.is_descending,
            Change::Move(rows) => self.select(rows, ids),
            Change::Page(screens) => self.select(screens.saturating_mul(page), ids),
            Change::First => self.selected = ids.first().cloned(),
            Change::Last => self.selected = ids.last().cloned(),
            Change::Filter => self.mode = Mode::Filter,
            Change::Type(character) => self.filter.push(character),
            Change::EraseCharacter => drop(self.filter.pop()),
            Change::EraseWord => erase_word(&mut self.filter),
            Change::EraseAll => self.filter.clear(),
            Change::Accept | Change::Back => self.mode = Mode::Table,
            Change::Clear => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            Change::Bits => self.are_bits = !self.are_bits,
            Change::Idle => self.hides_idle = !self.hides_idle,
            Change::Help => self.mode = Mode::Help,
        }
    }

    /// Moves the screen so that the selected row is on it, and no further than the rows go.
    pub(super) fn follow(&mut self, visible: &[&Row], height: usize) {
        let last_offset = visible.len().saturating_sub(height);
        // On a screen without a line for rows the selected one is the next that would be shown.
        let height = height.max(1);
        if let Some(place) = self.place(visible) {
            self.offset = self.offset.clamp((place + 1).saturating_sub(height), place);
        }
        self.offset = self.offset.min(last_offset);
    }

    /// Where the selected key is among the rows that are shown.
    pub(super) fn place(&self, visible: &[&Row]) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        visible.iter().position(|row| row.id == *selected)
    }

    fn sort_by(&mut self, column: Column) {
        (self.sort, self.is_descending) = (column, column.is_figure());
    }

    /// The first step selects the row at the top of the screen.
    fn select(&mut self, rows: isize, ids: &[String]) {
        let place = self
            .selected
            .as_ref()
            .and_then(|selected| ids.iter().position(|id| id == selected));
        let place = match place {
            Some(place) => place.saturating_add_signed(rows),
            None => self.offset,
        };
        self.selected = ids.get(place.min(ids.len().saturating_sub(1))).cloned();
    }
}

fn erase_word(text: &mut String) {
    let kept = text.trim_end();
    let end = kept.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View::new(Column::Rate, String::new(), false)
    }

    fn rows(count: u32) -> Vec<Row> {
        let row = |number: u32| Row {
            id: number.to_string(),
            ..Row::default()
        };
        (0..count).map(row).collect()
    }

    fn ids(rows: &[Row]) -> Vec<String> {
        rows.iter().map(|row| row.id.clone()).collect()
    }

    #[test]
    fn figures_begin_with_the_highest_names_with_the_first() {
        let mut view = view();
        assert!(view.is_descending);
        view.change(Change::SortBy(Column::Name), &[], 10);
        assert!(!view.is_descending);
        view.change(Change::SortBy(Column::Name), &[], 10);
        assert!(view.is_descending);
        view.change(Change::SortMoved(1), &[], 10);
        assert_eq!((view.sort, view.is_descending), (Column::Rx, true));
        view.change(Change::Reverse, &[], 10);
        assert!(!view.is_descending);
    }

    #[test]
    fn the_selection_is_a_key_and_not_a_place() {
        let (mut view, mut rows) = (view(), rows(5));
        view.change(Change::Move(1), &ids(&rows), 3);
        assert_eq!(view.selected.as_deref(), Some("0"));
        view.change(Change::Move(1), &ids(&rows), 3);
        assert_eq!(view.selected.as_deref(), Some("1"));
        rows.reverse();
        assert_eq!(view.place(&rows.iter().collect::<Vec<_>>()), Some(3));
        view.change(Change::Move(-1), &ids(&rows), 3);
        assert_eq!(view.selected.as_deref(), Some("2"));
        view.change(Change::Page(1), &ids(&rows), 3);
        assert_eq!(view.selected.as_deref(), Some("0"));
        view.change(Change::First, &ids(&rows), 3);
        assert_eq!(view.selected.as_deref(), Some("4"));
        view.change(Change::Move(-7), &ids(&rows), 3);
        assert_eq!(view.selected.as_deref(), Some("4"));
        view.change(Change::Last, &[], 3);
        assert_eq!(view.selected, None);
        view.change(Change::Move(1), &[], 3);
        assert_eq!(view.selected, None);
    }

    #[test]
    fn the_screen_goes_where_the_selection_goes() {
        let (mut view, rows) = (view(), rows(10));
        let visible: Vec<&Row> = rows.iter().collect();
        for (selected, height, expected) in [
            ("7", 4, 4),
            ("5", 4, 4),
            ("3", 4, 3),
            ("9", 4, 6),
            ("9", 20, 0),
            ("0", 4, 0),
            ("2", 0, 2),
        ] {
            view.selected = Some(selected.to_owned());
            view.follow(&visible, height);
            assert_eq!(view.offset, expected, "{selected} in {height}");
        }
        // Fewer rows than before: the screen shows what there is.
        view.offset = 8;
        view.selected = None;
        view.follow(&visible[..3], 2);
        assert_eq!(view.offset, 1);
    }

    #[test]
    fn a_filter_is_written_and_taken_away() {
        let mut view = view();
        view.change(Change::Filter, &[], 10);
        for character in "ali bob ".chars() {
            view.change(Change::Type(character), &[], 10);
        }
        view.change(Change::EraseWord, &[], 10);
        assert_eq!(view.filter, "ali ");
        view.change(Change::EraseCharacter, &[], 10);
        view.change(Change::Accept, &[], 10);
        assert_eq!((view.filter.as_str(), view.mode), ("ali", Mode::Table));
        view.change(Change::EraseWord, &[], 10);
        assert_eq!(view.filter, "");
        view.filter = "x".to_owned();
        view.change(Change::Clear, &[], 10);
        assert_eq!((view.filter.as_str(), view.mode), ("", Mode::Table));
    }
}
