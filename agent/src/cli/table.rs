//! Tables for people: aligned columns without borders, as wide as the terminal allows. The only file that names
//! comfy-table.

use std::io::IsTerminal as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Words at the left, never broken.
    Left,
    /// Figures at the right, never broken.
    Right,
    /// Anybody's text, which is broken into lines where the terminal is too narrow.
    Text,
}

/// A table that is being filled.
pub(super) struct Table {
    columns: Vec<(&'static str, Layout)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(columns: &[(&'static str, Layout)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a text for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text. Lines are as long as they have to be unless there is a width to keep within, in columns.
    pub(super) fn text(self, width: Option<u16>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(NOTHING);
        match width {
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(self.columns.iter().map(|(heading, _)| *heading));
        table.add_rows(self.rows);
        for (column, (_, layout)) in table.column_iter_mut().zip(&self.columns) {
            column.set_padding((0, 2));
            match layout {
                Layout::Left => column.set_constraint(ColumnConstraint::ContentWidth),
                Layout::Right => {
                    column.set_cell_alignment(CellAlignment::Right);
                    column.set_constraint(ColumnConstraint::ContentWidth)
                }
                Layout::Text => column,
            };
        }
        table.trim_fmt() + "\n"
    }
}

/// What standard output is wide, in columns; nothing where it is no terminal: whoever reads it there wants whole lines.
pub(super) fn terminal_width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let (columns, _) = crossterm::terminal::size().ok()?;
    (columns > 0).then_some(columns)
}

/// Lines of a name and what it stands for, aligned.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    facts
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("ID", Layout::Left), ("BYTES", Layout::Right), ("NAME", Layout::Text)]);
        table.row(["one".to_owned(), "1".to_owned(), "alice".to_owned()]);
        table.row(["two".to_owned(), "12345678".to_owned(), "bob the second".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned_without_borders() {
        assert_eq!(
            table().text(None),
            "ID      BYTES  NAME\n\
             one         1  alice\n\
             two  12345678  bob the second\n"
        );
    }

    #[test]
    fn a_narrow_terminal_breaks_texts_and_nothing_else() {
        assert_eq!(
            table().text(Some(24)),
            "ID      BYTES  NAME\n\
             one         1  alice\n\
             two  12345678  bob the\n\
             \u{20}              second\n"
        );
    }

    #[test]
    fn facts_stand_below_each_other() {
        let text = facts(&[("id", "1".to_owned()), ("created", "today".to_owned())]);
        assert_eq!(text, "id       1\ncreated  today\n");
    }
}
