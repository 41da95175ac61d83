//! Draws the view: a heading, the table, a line of help. Nothing here decides what is shown but the room there is.

mod cells;
mod lines;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row as TableRow, Table};

use super::columns::{self, Column, SPACING};
use super::input::{HELP, Help};
use super::look::Look;
use super::model::{Condition, Model, Row};
use super::view::{Mode, View};

/// From this height on there is room for everything; below it the lines about the agent go.
const HEIGHT_ENOUGH: u16 = 8;

/// From this height on there is a heading and a line of help beside the table.
const HEIGHT_SOME: u16 = 4;

/// How the height is divided, in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    heading: u16,
    table: u16,
    footer: u16,
}

fn parts(size: Size) -> Parts {
    let (heading, footer) = match size.height {
        height if height >= HEIGHT_ENOUGH => (3, 1),
        height if height >= HEIGHT_SOME => (1, 1),
        _ => (0, 0),
    };
    Parts {
        heading,
        table: size.height - heading - footer,
        footer,
    }
}

/// How many rows of the table fit, below its headings.
pub(super) fn table_height(size: Size) -> usize {
    usize::from(parts(size).table.saturating_sub(1))
}

/// Draws everything; `visible` are the rows that the view asks for, in its order.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, view: &View, visible: &[&Row], look: &Look, now: Instant) {
    let area = frame.area();
    let parts = parts(area.as_size());
    let heights = [parts.heading, parts.table, parts.footer].map(Constraint::Length);
    let [heading, table, footer] = Layout::vertical(heights).areas(area);
    let condition = model.condition(now);
    for (line, place) in lines::heading(model, &condition, look, heading.width)
        .into_iter()
        .zip(heading.rows())
    {
        frame.render_widget(line, place);
    }
    match view.mode {
        Mode::Help => draw_help(frame, table, look),
        Mode::Table | Mode::Filter => draw_table(frame, table, view, visible, look, condition == Condition::Live),
    }
    let count = (visible.len(), model.rows.len());
    frame.render_widget(lines::footer(view, count, look, footer.width), footer);
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, view: &View, visible: &[&Row], look: &Look, is_live: bool) {
    let placed = columns::fit(area.width);
    let headings = placed
        .iter()
        .map(|(column, width)| cells::heading(*column, *width, view, look));
    let height = usize::from(area.height.saturating_sub(1));
    let shown = visible.iter().skip(view.offset).take(height);
    let rows = shown.map(|row| {
        let cells = placed
            .iter()
            .map(|(column, width)| cells::cell(row, *column, *width, view, look));
        let drawn = TableRow::new(cells.map(Cell::from).collect::<Vec<_>>());
        let style = match row.is_active && is_live {
            true => Style::new(),
            false => look.faint,
        };
        match view.selected.as_deref() == Some(row.id.as_str()) {
            true => drawn.style(style.patch(look.selected)),
            false => drawn.style(style),
        }
    });
    let widths = placed.iter().map(|(_, width)| Constraint::Length(*width));
    let header = TableRow::new(headings.map(Cell::from).collect::<Vec<_>>()).style(look.heading);
    let table = Table::new(rows, widths).header(header).column_spacing(SPACING);
    frame.render_widget(table, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect, look: &Look) {
    let line = |command: &Help| Line::from(format!("{:>5}  {}", command.keys(&look.signs), command.what));
    let commands = HELP.iter().map(line);
    let numbers = Column::ALL.iter().enumerate();
    let numbers = numbers.map(|(place, column)| Line::from(format!("{:>5}  sort by {column}", place + 1)));
    let figures = [
        "",
        "rx: from the client to this host, tx: from this host to the client, as bytes on the wire.",
        "The graph has a point a second, each row its own scale.",
        "",
    ];
    let texts = figures.into_iter().map(Line::from);
    for (line, place) in commands.chain(texts).chain(numbers).zip(area.rows()) {
        frame.render_widget(line.style(look.faint), place);
    }
}

#[cfg(test)]
mod tests;
