//! What is on the screen, as text and as attributes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::super::model::{AgentState, Message, Totals};
use super::super::order;
use super::super::testing::{key, told, traffic};
use super::*;

/// A model with three keys, two seconds of figures, and an agent that is well.
fn model(now: Instant) -> Model {
    let mut model = Model::new("default");
    let disabled = || portmeter_proto::v1::Key {
        is_active: false,
        ..key(3, "carol")
    };
    let at = |seconds: i64, rows: [(u64, u64, u64); 3]| {
        let keys = [key(1, "alice"), key(2, "bob the second"), disabled()];
        let rows = keys.into_iter().zip(rows);
        let rows = rows.map(|(key, (rx, tx, connections))| told(key, rx, tx, connections));
        traffic(seconds * 1_000, rows.collect())
    };
    model.apply(at(0, [(0, 0, 0), (0, 0, 0), (500, 0, 0)]), now);
    model.apply(at(1, [(1_000, 2_000, 1), (0, 0, 2), (500, 0, 0)]), now);
    model.apply(at(2, [(2_000, 3_500_000, 1), (50_000, 70_000, 2), (500, 0, 0)]), now);
    model.apply(
        Message::Totals(Totals {
            today: [(key(1, "").id, 3_502_000), (key(2, "").id, 120_000)].into(),
            month: [(key(1, "").id, 99_000_000_000), (key(2, "").id, 120_000)].into(),
        }),
        now,
    );
    model.apply(Message::State(well()), now);
    model
}

fn well() -> AgentState {
    let at = |text: &str| text.parse::<DateTime<Utc>>().ok();
    AgentState {
        version: "0.1.0".to_owned(),
        started_at: at("2025-08-02T08:00:02Z"),
        booked_at: at("2025-08-05T11:59:59Z"),
        is_collecting: true,
        xray: "running (supervised)".to_owned(),
        ..AgentState::default()
    }
}

fn view() -> View {
    View::new(Column::Rate, String::new(), false)
}

fn look(no_color: &str) -> Look {
    Look::from_environment(|name| match name {
        "LANG" => Some("C.UTF-8".to_owned()),
        "NO_COLOR" => Some(no_color.to_owned()),
        _ => None,
    })
}

fn drawn(model: &Model, view: &View, look: &Look, (width, height): (u16, u16), now: Instant) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut view = view.clone();
    let visible = order::visible(&model.rows, &view);
    view.follow(&visible, table_height(Size { width, height }));
    terminal
        .draw(|frame| draw(frame, model, &view, &visible, look, now))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let lines = buffer.area.rows().map(|row| {
        let cells = row.columns().map(|cell| buffer[(cell.x, cell.y)].symbol());
        cells.collect::<String>().trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn screen(view: &View, size: (u16, u16)) -> String {
    let now = Instant::now();
    text(&drawn(&model(now), view, &look(""), size, now))
}

#[test]
fn the_usual_terminal() {
    assert_eq!(
        screen(&view(), (80, 9)),
        "\
portmeter top · default · 0.1.0 · up 3 d 4 h · live
rx 51.0 kB/s (408 kbit/s)  tx 3.57 MB/s (28.5 Mbit/s)  3 connection(s)        ▁█
3 key(s), 2 enabled · booked 3 s ago · xray running (supervised)
PORT   NAME                  RX B/s   TX B/s RX+TX ▼      CONN    TODAY    MONTH
10001  alice                 1.00 k   3.50 M         ▁█      1  3.50 MB  99.0 GB
10002  bob the second        50.0 k   70.0 k          █      2   120 kB   120 kB
10003  carol [off]                0        0                 0      0 B      0 B

by rx+tx ▼ · q quit · / filter · ←→ sort · r reverse · ↑↓ move · u bits or bytes
"
    );
}

#[test]
fn a_wide_terminal_has_longer_graphs_and_every_total() {
    let wide = screen(&view(), (140, 9));
    assert!(wide.contains("MONTH    TOTAL\n"), "{wide}");
    assert!(wide.contains("99.0 GB  3.50 MB\n"), "{wide}");
}

#[test]
fn a_narrow_terminal_keeps_what_matters_most() {
    assert_eq!(
        screen(&view(), (30, 6)),
        "\
portmeter top · default · 0.1…
NAME           RX B/s   TX B/s
alice          1.00 k   3.50 M
bob the sec…   50.0 k   70.0 k
carol [off]         0        0
by rx+tx ▼ · q quit · / filter
"
    );
    assert_eq!(screen(&view(), (9, 3)), "NAME\nalice\nbob the …\n");
}

#[test]
fn no_terminal_is_too_small() {
    for width in 0..40 {
        for height in 0..12 {
            let mut view = view();
            for mode in [Mode::Table, Mode::Filter, Mode::Help] {
                view.mode = mode;
                view.selected = Some(key(3, "").id);
                screen(&view, (width, height));
            }
        }
    }
}

#[test]
fn bits_a_filter_and_another_order() {
    let mut view = View::new(Column::Port, "bob".to_owned(), true);
    let shown = screen(&view, (80, 9));
    assert!(shown.contains("PORT ▲ NAME"), "{shown}");
    assert!(shown.contains("RX b/s   TX b/s"), "{shown}");
    assert!(
        shown.contains("10002  bob the second         400 k    560 k"),
        "{shown}"
    );
    assert!(
        shown.contains("by port ▲ · 1 of 3 keys · filter: bob · q quit"),
        "{shown}"
    );
    assert!(!shown.contains("alice"), "{shown}");
    view.mode = Mode::Filter;
    let shown = screen(&view, (80, 9));
    assert!(shown.ends_with("\nfilter: bob_\n"), "{shown}");
}

#[test]
fn help_says_what_every_key_does() {
    let mut view = view();
    view.mode = Mode::Help;
    let shown = screen(&view, (100, 40));
    for part in [
        "    q  quit",
        "    /  filter",
        "    7  sort by today",
        "  Esc  clear the filter",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

#[test]
fn figures_that_are_not_of_now_are_faint_and_the_heading_says_why() {
    let now = Instant::now();
    let mut model = model(now);
    let live = drawn(&model, &view(), &look(""), (80, 9), now);
    model.apply(Message::Lost("connection refused".to_owned()), now);
    let later = now + Duration::from_secs(65);
    let lost = drawn(&model, &view(), &look(""), (80, 9), later);
    let shown = text(&lost);
    assert!(
        shown.starts_with("RECONNECTING for 1 min 5 s: connection refused · portmeter top · default"),
        "{shown}"
    );
    assert!(shown.contains("3.50 M"), "the last figures stay:\n{shown}");
    let is_faint = |buffer: &Buffer| buffer[(0, 4)].modifier.contains(Modifier::DIM);
    assert!(is_faint(&lost) && !is_faint(&live));
    assert!(lost[(0, 0)].modifier.contains(Modifier::BOLD));
}

#[test]
fn what_is_wrong_comes_first_and_without_a_colour() {
    let now = Instant::now();
    let mut model = model(now);
    model.apply(
        Message::State(AgentState {
            problems: vec!["the ledger cannot be written".to_owned()],
            xray: "failed (supervised)".to_owned(),
            drift_count: 2,
            is_collecting: false,
            ..well()
        }),
        now,
    );
    let buffer = drawn(&model, &view(), &look("1"), (120, 9), now);
    let shown = text(&buffer);
    assert!(
        shown.contains(
            "\nthe ledger cannot be written · the collector is paused · xray failed (supervised) · drift of 2 key(s) · 3 key"
        ),
        "{shown}"
    );
    assert!(buffer[(0, 2)].modifier.contains(Modifier::BOLD | Modifier::REVERSED));
    let is_plain = |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
    assert!(buffer.content.iter().all(is_plain), "NO_COLOR is set");
    let coloured = drawn(&model, &view(), &look(""), (120, 9), now);
    assert!(!coloured.content.iter().all(is_plain));
}

#[test]
fn the_selected_key_is_marked_and_on_the_screen() {
    let now = Instant::now();
    let mut view = view();
    view.selected = Some(key(3, "").id);
    let buffer = drawn(&model(now), &view, &look(""), (80, 6), now);
    let shown = text(&buffer);
    assert!(shown.contains("carol"), "{shown}");
    let row = shown.lines().position(|line| line.contains("carol")).unwrap();
    let row = u16::try_from(row).unwrap();
    assert!(buffer[(0, row)].modifier.contains(Modifier::REVERSED));
}
