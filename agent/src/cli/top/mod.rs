//! `portmeter top`: ports and keys of a running agent, live on a terminal.
//!
//! What is known ([`model`]), how a person wants to see it ([`view`]), which keys say so ([`input`]), what fits where
//! ([`columns`]) and how it is drawn ([`draw`]) are plain data and functions. [`feed`] asks the agent, [`screen`] owns the
//! terminal, and this file carries messages between them.

mod columns;
mod draw;
mod feed;
mod input;
mod look;
mod model;
mod order;
mod recent;
mod screen;
mod signals;
#[cfg(test)]
mod testing;
mod view;

use std::env;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use ratatui::Frame;
use ratatui::layout::Size;
use tokio::time::{MissedTickBehavior, interval};

use super::running_agent::RunningAgent;
use columns::Column;
use feed::Feed;
use input::{Action, action};
use look::Look;
use model::Model;
use screen::Screen;
use signals::Signals;
use view::View;

/// How often the screen is drawn when nothing comes in, so that it shows how long nothing has.
const TICK: Duration = Duration::from_secs(1);

/// Which agent, and how the view begins.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: RunningAgent,
    /// Sort by this column at first
    #[arg(long, value_enum, value_name = "COLUMN", default_value = "rate")]
    sort: Column,
    /// Show only keys whose name, alias, port or id has these words
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Show rates in bits per second
    #[arg(long)]
    bits: bool,
}

/// What is known and how it is shown.
struct Top {
    model: Model,
    view: View,
    look: Look,
}

/// What a person wants beside another view.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Stay,
    Quit,
    Suspend,
    Redraw,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    ensure!(
        is_terminal && !is_dumb(env::var("TERM").ok().as_deref()),
        "`portmeter top` draws on a terminal, and standard output is none that it can draw on: \
         `portmeter status --json` and `portmeter history --json` are for scripts"
    );
    let transport = arguments.agent.connect().await?;
    let mut signals = Signals::listen().context("signals cannot be listened to")?;
    let mut feed = Feed::start(&transport);
    let mut top = Top {
        model: Model::new(arguments.agent.name()),
        view: View::new(arguments.sort, arguments.filter, arguments.bits),
        look: Look::from_environment(|name| env::var(name).ok()),
    };
    let mut screen = Screen::enter().context("the terminal cannot be drawn on")?;
    let mut events = EventStream::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.draw(|frame| top.draw(frame, Instant::now()))?;
        tokio::select! {
            message = feed.next() => top.model.apply(message?, Instant::now()),
            event = events.next() => {
                // Without a terminal there is nobody to show anything to.
                let Some(Ok(event)) = event else { break };
                match top.on(&event, screen.size()?) {
                    Wish::Stay => {}
                    Wish::Quit => break,
                    Wish::Redraw => screen.clear()?,
                    Wish::Suspend => screen.suspend()?,
                }
            }
            _ = ticks.tick() => {}
            () = signals.ending() => break,
        }
    }
    screen.leave().context("the terminal cannot be given back")
}

/// Whether a terminal of this type can do nothing but print.
fn is_dumb(term: Option<&str>) -> bool {
    matches!(term, None | Some("" | "dumb"))
}

impl Top {
    fn draw(&mut self, frame: &mut Frame<'_>, now: Instant) {
        let visible = order::visible(&self.model.rows, &self.view);
        let height = draw::table_height(frame.area().as_size());
        self.view.follow(&visible, height);
        draw::draw(frame, &self.model, &self.view, &visible, &self.look, now);
    }

    fn on(&mut self, event: &Event, size: Size) -> Wish {
        let Event::Key(key) = event else {
            // A new size is drawn like anything else.
            return Wish::Stay;
        };
        match action(self.view.mode, key) {
            None => Wish::Stay,
            Some(Action::Quit) => Wish::Quit,
            Some(Action::Suspend) => Wish::Suspend,
            Some(Action::Redraw) => Wish::Redraw,
            Some(Action::View(change)) => {
                let visible = order::visible(&self.model.rows, &self.view);
                let ids: Vec<String> = visible.iter().map(|row| row.id.clone()).collect();
                self.view.change(change, &ids, draw::table_height(size));
                Wish::Stay
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_only_prints_is_none() {
        assert!(is_dumb(None) && is_dumb(Some("")) && is_dumb(Some("dumb")));
        assert!(!is_dumb(Some("xterm-256color")) && !is_dumb(Some("screen")));
    }
}
