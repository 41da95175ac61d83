//! The lines above and below the table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::super::input::HELP;
use super::super::look::Look;
use super::super::model::{AgentState, Condition, Model};
use super::super::view::{Mode, View};
use super::cells::{clip, mark};
use crate::cli::figures::{bit_rate, byte_rate, count, printable, span};

/// How late a booking may be before that is said: several intervals, of which the longest is a minute.
const LAG: Duration = Duration::from_secs(150);

/// The agent and its condition, what it moves, how it is; each line within the width.
pub(super) fn heading(model: &Model, condition: &Condition, look: &Look, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    vec![
        title(model, condition, look, width),
        rates(model, look, width),
        state(model, look, width),
    ]
}

/// The command or the filter that is being written, how rows are sorted, and what keys do.
pub(super) fn footer(view: &View, (shown, all): (usize, usize), look: &Look, width: u16) -> Line<'static> {
    let width = usize::from(width);
    if view.mode == Mode::Filter {
        let text = format!("filter: {}_", printable(&view.filter));
        return Line::from(clip(&text, width, &look.signs)).style(look.alarm);
    }
    if view.mode == Mode::Help {
        return Line::from(clip("any key: back", width, &look.signs));
    }
    let mut parts = vec![format!("by {} {}", view.sort, mark(view, &look.signs))];
    if shown != all {
        parts.push(format!("{} of {} keys", count(shown as u64), count(all as u64)));
    }
    if !view.filter.is_empty() {
        parts.push(format!("filter: {}", printable(&view.filter)));
    }
    let state = clip(&parts.join(look.signs.between), width, &look.signs);
    let mut left = width.saturating_sub(state.width());
    let mut spans = vec![Span::raw(state)];
    for command in HELP {
        let text = format!("{}{} {}", look.signs.between, command.keys(&look.signs), command.what);
        if text.width() > left {
            break;
        }
        left -= text.width();
        spans.push(Span::styled(text, look.faint));
    }
    Line::from(spans)
}

fn title(model: &Model, condition: &Condition, look: &Look, width: usize) -> Line<'static> {
    let (words, is_alarm) = match condition {
        Condition::Waiting => ("waiting for the first figures".to_owned(), false),
        Condition::Live => ("live".to_owned(), false),
        Condition::Silent(silence) => (format!("NO ANSWER for {}, figures are old", span(*silence)), true),
        Condition::Lost(silence, why) => (format!("RECONNECTING for {}: {}", span(*silence), printable(why)), true),
    };
    let mut name = format!("portmeter top{}{}", look.signs.between, printable(&model.agent));
    if let Some(state) = &model.state {
        name = format!("{name}{}{}", look.signs.between, state.version);
        if let Some(up) = passed(state.started_at, model) {
            name = format!("{name}{}up {}", look.signs.between, span(up));
        }
    }
    // What is wrong comes before who it is about.
    let parts = match is_alarm {
        true => [(words, look.alarm), (name, look.faint)],
        false => [(name, Style::new()), (words, Style::new())],
    };
    let mut left = width;
    let mut spans = Vec::new();
    for (place, (text, style)) in parts.into_iter().enumerate() {
        let before = if place == 0 { "" } else { look.signs.between };
        let text = clip(&format!("{before}{text}"), left, &look.signs);
        left -= text.width().min(left);
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn rates(model: &Model, look: &Look, width: usize) -> Line<'static> {
    let rate = |rate: Option<f64>| {
        let both = |rate| format!("{} ({})", byte_rate(rate), bit_rate(rate));
        rate.map_or_else(|| look.signs.unknown.to_owned(), both)
    };
    let connections = model.rows.iter().map(|row| row.connections).sum();
    let parts = [
        (format!("rx {}", rate(model.rx_rate)), look.rx),
        (format!("  tx {}", rate(model.tx_rate)), look.tx),
        (format!("  {} connection(s)  ", count(connections)), Style::new()),
    ];
    let mut left = width;
    let mut spans = Vec::new();
    for (text, style) in parts {
        let text = clip(&text, left, &look.signs);
        left -= text.width().min(left);
        spans.push(Span::styled(text, style));
    }
    spans.push(Span::styled(model.recent.graph(left, look.signs.levels), look.graph));
    Line::from(spans)
}

fn state(model: &Model, look: &Look, width: usize) -> Line<'static> {
    let enabled = model.rows.iter().filter(|row| row.is_active).count();
    let keys = format!(
        "{} key(s), {} enabled",
        count(model.rows.len() as u64),
        count(enabled as u64)
    );
    let mut good = vec![keys];
    let mut wrong = Vec::new();
    if let Some(state) = &model.state {
        sort_out(state, passed(state.booked_at, model), &mut good, &mut wrong);
    }
    wrong.extend(model.trouble.as_deref().map(printable));
    let good = clip(&good.join(look.signs.between), width, &look.signs);
    let wrong = wrong.join(look.signs.between);
    // What is wrong has the room first.
    if wrong.is_empty() {
        return Line::from(good);
    }
    let wrong = clip(&wrong, width, &look.signs);
    let left = width - wrong.width().min(width);
    let good = clip(&format!("{}{good}", look.signs.between), left, &look.signs);
    Line::from(vec![Span::styled(wrong, look.alarm), Span::raw(good)])
}

/// What is as it should be, and what is not.
fn sort_out(state: &AgentState, lag: Option<Duration>, good: &mut Vec<String>, wrong: &mut Vec<String>) {
    wrong.extend(state.problems.iter().map(|problem| printable(problem)));
    if !state.is_collecting {
        wrong.push("the collector is paused".to_owned());
    }
    match lag {
        Some(lag) if lag > LAG && state.is_collecting => wrong.push(format!("booked {} ago", span(lag))),
        Some(lag) => good.push(format!("booked {} ago", span(lag))),
        None => {}
    }
    let xray = format!("xray {}", printable(&state.xray));
    let is_down = state.xray.starts_with("failed") || state.xray.starts_with("stopped");
    if is_down {
        wrong.push(xray);
    } else {
        good.push(xray);
    }
    if state.drift_count > 0 {
        wrong.push(format!("drift of {} key(s)", state.drift_count));
    }
    if state.unattributed_packets > 0 {
        good.push(format!("{} packet(s) unattributed", count(state.unattributed_packets)));
    }
}

/// The time from a moment to the figures, both by the agent's clock.
fn passed(at: Option<DateTime<Utc>>, model: &Model) -> Option<Duration> {
    model.read_at?.signed_duration_since(at?).to_std().ok()
}
