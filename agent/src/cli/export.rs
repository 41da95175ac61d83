//! `portmeter export`: rows of the ledger for other programs, read beside a running agent or without one.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::{Place, progress};
use crate::calendar::{Calendar, Day};
use crate::store::{ExportError, Granularity, LedgerExport, Range};
use crate::transfer::export::{Format, OutputFile, Writer};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The first day, as 2026-03-01
    #[arg(long, value_name = "DATE")]
    from: String,
    /// The last day
    #[arg(long, value_name = "DATE")]
    to: String,
    /// How rows are written
    #[arg(long, value_enum)]
    format: Format,
    /// How long a row's period is; months are whole ones
    #[arg(long, value_enum, default_value = "day")]
    granularity: RowPeriod,
    /// Write to this file, which is replaced when everything is written [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RowPeriod {
    Day,
    Month,
    Hour,
    Minute,
}

impl From<RowPeriod> for Granularity {
    fn from(period: RowPeriod) -> Self {
        match period {
            RowPeriod::Day => Self::Day,
            RowPeriod::Month => Self::Month,
            RowPeriod::Hour => Self::Hour,
            RowPeriod::Minute => Self::Minute,
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    // What was begun is taken back when somebody interrupts.
    let interrupted = super::shutdown_on_signal()?;
    tokio::task::spawn_blocking(move || export(arguments, &interrupted))
        .await
        .context("the export panicked")?
}

fn export(arguments: Arguments, interrupted: &CancellationToken) -> Result<()> {
    let (from, to) = days(&arguments.from, &arguments.to)?;
    if arguments.output.is_none() && !arguments.format.can_stream() {
        bail!("Parquet is written to a file only: name it with --output");
    }
    let config = arguments.place.load()?;
    let granularity = arguments.granularity.into();
    let task = Task {
        granularity,
        range: range(&Calendar::new(config.ledger.time_zone), granularity, from, to),
        format: arguments.format,
        interrupted,
    };
    let mut ledger = LedgerExport::open(&config.agent.data_dir)?;
    let written = match arguments.output {
        None => task.write_out(&mut ledger),
        Some(path) => task.write_file(&mut ledger, &path),
    };
    match written {
        // Whatever else it says: the cause is that somebody wanted it to end.
        Err(_) if interrupted.is_cancelled() => bail!("the export was interrupted"),
        other => other,
    }
}

struct Task<'a> {
    granularity: Granularity,
    range: Range,
    format: Format,
    interrupted: &'a CancellationToken,
}

impl Task<'_> {
    fn write_out(&self, ledger: &mut LedgerExport) -> Result<()> {
        // A bar among rows on the same terminal would be in the way.
        let is_shown = !io::stdout().is_terminal();
        match self.write(ledger, BufWriter::new(io::stdout()), is_shown) {
            // Whoever reads only the first lines (`| head`) closes the pipe early.
            Err(error) if is_closed_pipe(&error) => Ok(()),
            other => other,
        }
    }

    fn write_file(&self, ledger: &mut LedgerExport, path: &Path) -> Result<()> {
        let output = OutputFile::begin(path)?;
        self.write(ledger, output.sink()?, true)?;
        Ok(output.keep()?)
    }

    fn write(&self, ledger: &mut LedgerExport, sink: impl Write + Send, shows_progress: bool) -> Result<()> {
        let bar = if shows_progress {
            progress::counting_bar("rows")
        } else {
            ProgressBar::hidden()
        };
        let mut writer = Writer::begin(self.format, sink).map_err(ExportError::Write)?;
        let begin = |count| bar.set_length(count);
        ledger.rows(self.granularity, self.range, begin, |row| {
            self.go_on()?;
            bar.inc(1);
            writer.write(row)
        })?;
        writer.finish().map_err(ExportError::Write)?;
        self.go_on().map_err(ExportError::Write)?;
        bar.finish_and_clear();
        Ok(())
    }

    /// An error once somebody has interrupted.
    fn go_on(&self) -> io::Result<()> {
        match self.interrupted.is_cancelled() {
            true => Err(io::Error::other("interrupted")),
            false => Ok(()),
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ExportError>() {
        Some(ExportError::Write(source)) => source.kind() == io::ErrorKind::BrokenPipe,
        _ => false,
    }
}

fn days(from: &str, to: &str) -> Result<(Day, Day)> {
    let day = |flag: &str, text: &str| {
        let parsed = text.parse::<Day>();
        parsed.map_err(|why| anyhow!("{flag} is \"{}\": {why}", text.escape_debug()))
    };
    let (first, last) = (day("--from", from)?, day("--to", to)?);
    if first > last {
        bail!("--from ({first}) is after --to ({last})");
    }
    Ok((first, last))
}

/// The periods of the days from `from` to `to`, both included; months are those that they lie in.
fn range(calendar: &Calendar, granularity: Granularity, from: Day, to: Day) -> Range {
    let start = calendar.day_start(from).timestamp();
    let end = calendar.day_start(to.plus_days(1)).timestamp();
    let (first, last) = match granularity {
        Granularity::Minute => (start.div_euclid(60), end.div_euclid(60) - 1),
        Granularity::Hour => (start, end - 1),
        Granularity::Day => (from.0.into(), to.0.into()),
        Granularity::Month => (from.month().0.into(), to.month().0.into()),
    };
    Range { first, last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_in_order() {
        assert_eq!(days("2026-03-01", "2026-03-01").unwrap().0.to_string(), "2026-03-01");
        for (from, to, expected) in [
            (
                "2026-02-30",
                "2026-03-01",
                "--from is \"2026-02-30\": a date looks like 2026-03-29, between 1970-01-01 and 9999-12-31",
            ),
            (
                "2026-02-01",
                "today",
                "--to is \"today\": a date looks like 2026-03-29, between 1970-01-01 and 9999-12-31",
            ),
            (
                "2026-03-02",
                "2026-03-01",
                "--from (2026-03-02) is after --to (2026-03-01)",
            ),
        ] {
            assert_eq!(days(from, to).unwrap_err().to_string(), expected);
        }
    }

    /// A day on which Berlin's clocks go forward has 23 hours.
    #[test]
    fn both_days_are_included_as_long_as_they_are() {
        let calendar = Calendar::new(chrono_tz::Europe::Berlin);
        let (from, to) = days("2026-03-28", "2026-03-29").unwrap();
        let size = |granularity| {
            let range = range(&calendar, granularity, from, to);
            range.last - range.first + 1
        };
        assert_eq!(size(Granularity::Minute), 47 * 60);
        assert_eq!(size(Granularity::Hour), 47 * 3_600);
        assert_eq!(size(Granularity::Day), 2);
        assert_eq!(size(Granularity::Month), 1);
        let minutes = range(&calendar, Granularity::Minute, from, to);
        assert_eq!(
            crate::calendar::Minute(minutes.first).to_string(),
            "2026-03-27T23:00:00Z"
        );
        assert_eq!(
            crate::calendar::Minute(minutes.last).to_string(),
            "2026-03-29T21:59:00Z"
        );
    }

    #[test]
    fn an_export_that_is_interrupted_leaves_no_file() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(crate::store::OpenStore::open(data.path()).unwrap());
        for is_interrupted in [true, false] {
            let arguments = Arguments {
                place: Place {
                    config: None,
                    data_dir: Some(data.path().to_owned()),
                    instance: None,
                },
                from: "2026-03-01".to_owned(),
                to: "2026-03-01".to_owned(),
                format: Format::Csv,
                granularity: RowPeriod::Day,
                output: Some(out.path().join("days.csv")),
            };
            let interrupted = CancellationToken::new();
            if is_interrupted {
                interrupted.cancel();
            }
            let error = export(arguments, &interrupted).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), is_interrupted.then_some("the export was interrupted"));
            let files = std::fs::read_dir(out.path()).unwrap().count();
            assert_eq!(files, usize::from(!is_interrupted));
        }
    }

    #[test]
    fn the_last_day_of_all_is_a_day_too() {
        let (from, to) = days("9999-12-31", "9999-12-31").unwrap();
        let range = range(&Calendar::new(chrono_tz::Tz::UTC), Granularity::Hour, from, to);
        assert_eq!(range.last - range.first + 1, 24 * 3_600);
    }
}
