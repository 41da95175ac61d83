//! One writer for every format.

use std::io::{self, Write};

use super::parquet_writer::ParquetWriter;
use super::row::{COLUMNS, Row};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header line (RFC 4180)
    Csv,
    /// A JSON object a line
    Jsonl,
    /// Apache Parquet, compressed with Snappy; needs --output
    Parquet,
}

impl Format {
    /// Whether rows can be handed on as they come. Parquet is of use only as a whole file: its index stands at the end.
    pub fn can_stream(self) -> bool {
        self != Self::Parquet
    }
}

/// Writes rows in a format.
pub enum Writer<W: Write + Send> {
    /// Comma-separated values.
    Csv(Box<csv::Writer<W>>),
    /// JSON lines.
    Jsonl(W),
    /// Parquet.
    Parquet(Box<ParquetWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file; one without rows is a valid one, too.
    pub fn begin(format: Format, sink: W) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => {
                // The header by hand: the library writes none where there are no rows.
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(sink);
                writer.write_record(COLUMNS).map_err(failed)?;
                Self::Csv(Box::new(writer))
            }
            Format::Jsonl => Self::Jsonl(sink),
            Format::Parquet => Self::Parquet(Box::new(ParquetWriter::begin(sink)?)),
        })
    }

    /// Writes a row.
    pub fn write(&mut self, row: Row) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.serialize(row).map_err(failed),
            Self::Jsonl(sink) => {
                serde_json::to_writer(&mut *sink, &row)?;
                sink.write_all(b"\n")
            }
            Self::Parquet(writer) => writer.write(row),
        }
    }

    /// Ends the file and gives back what it was written to, flushed.
    pub fn finish(self) -> io::Result<W> {
        let mut sink = match self {
            Self::Csv(writer) => writer.into_inner().map_err(csv::IntoInnerError::into_error)?,
            Self::Jsonl(sink) => sink,
            Self::Parquet(writer) => writer.finish()?,
        };
        sink.flush()?;
        Ok(sink)
    }
}

/// What the sink said, where it was the sink: the library would wrap it, and a closed pipe be no closed pipe any more.
fn failed(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => io::Error::other(format!("{other:?}")),
    }
}
