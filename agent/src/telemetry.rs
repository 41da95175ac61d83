//! Logs: for people on a terminal, JSON otherwise; always on standard error. `PORTMETER_LOG` sets the level, for
//! example `debug` or `portmeter=debug,info`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The environment variable that sets the level.
const VARIABLE: &str = "PORTMETER_LOG";

/// Starts logging. A level that cannot be read is told and replaced by `info`.
pub fn start() {
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| "info".to_owned());
    let (filter, problem) = match EnvFilter::try_new(&wanted) {
        // What the migration library says of a fresh database is of no use to an operator.
        Ok(filter) => (
            filter.add_directive("rusqlite_migration=warn".parse().expect("a plain directive")),
            None,
        ),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
    }
    if let Some(error) = problem {
        tracing::warn!(%error, "{VARIABLE} cannot be used; logging at level info");
    }
}
