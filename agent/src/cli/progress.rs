//! Progress of long work, on standard error where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of the given form, as indicatif's templates have it.
pub(super) fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

/// A bar that counts.
pub(super) fn counting_bar(unit: &str) -> ProgressBar {
    bar(&format!("{{bar:40}} {{human_pos}}/{{human_len}} {unit} {{eta}}"))
}
