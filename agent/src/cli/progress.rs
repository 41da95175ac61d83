//! Progress of long work, on standard error where that is a terminal, and nowhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::CopyProgress;

/// How often something moves while it cannot be said how far the work is.
const TICK: Duration = Duration::from_millis(100);

/// A bar that counts.
pub(super) fn counting_bar(unit: &str) -> ProgressBar {
    bar(&format!("{{bar:40}} {{human_pos}}/{{human_len}} {unit} {{eta}}"))
}

/// A bar for a ledger's copy: see [`show_copy`].
pub(super) fn copying_bar() -> ProgressBar {
    bar("{bar:40} {percent:>3} %  {eta} left")
}

/// Shows how far a copy is.
pub(super) fn show_copy(bar: &ProgressBar, progress: CopyProgress) {
    bar.set_length(progress.pages);
    bar.set_position(progress.copied_pages);
}

/// Says what is being done where nobody knows how long it takes.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    // At once: what is over before the next moment was said all the same.
    spinner.tick();
    spinner.enable_steady_tick(TICK);
    spinner
}

/// A bar of the given form, as indicatif's templates have it.
fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}
