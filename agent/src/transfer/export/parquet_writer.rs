//! Parquet, column by column, without arrow: the rows are flat and few kinds of values occur.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::row::Row;

/// Rows that are held back until their group is written: some 20 MB.
const GROUP_ROWS: usize = 50_000;

/// In the order of [`super::COLUMNS`].
const SCHEMA: &str = "message portmeter_period {
    required binary granularity (STRING);
    required binary period_start (STRING);
    required binary key_id (STRING);
    required binary key_uuid (STRING);
    required binary key_name (STRING);
    optional int32 port (INTEGER(16, false));
    required int64 rx_bytes (INTEGER(64, false));
    required int64 tx_bytes (INTEGER(64, false));
    required int64 rx_packets (INTEGER(64, false));
    required int64 tx_packets (INTEGER(64, false));
    required int64 connections_opened (INTEGER(64, false));
    required int64 max_connections (INTEGER(64, false));
    required int64 sessions (INTEGER(64, false));
    optional int64 last_activity (TIMESTAMP(MICROS, true));
}";

/// Writes rows in groups.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Row>,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn begin(sink: W) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("portmeter {}", crate::VERSION))
            .build();
        let file = SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        Ok(Self { file, rows: Vec::new() })
    }

    pub(super) fn write(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() == GROUP_ROWS {
            self.write_group().map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.rows.is_empty() {
            self.write_group().map_err(failed)?;
        }
        self.file.into_inner().map_err(failed)
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        let mut group = Group {
            writer: self.file.next_row_group()?,
            rows: &rows,
        };
        group.texts(|row| row.granularity)?;
        group.texts(|row| &row.period_start)?;
        group.texts(|row| &row.key_id)?;
        group.texts(|row| &row.key_uuid)?;
        group.texts(|row| &row.key_name)?;
        group.optional::<Int32Type>(|row| row.port.map(i32::from))?;
        let figures: [fn(&Row) -> u64; 7] = [
            |row| row.rx_bytes,
            |row| row.tx_bytes,
            |row| row.rx_packets,
            |row| row.tx_packets,
            |row| row.connections_opened,
            |row| row.max_connections,
            |row| row.sessions,
        ];
        for figure in figures {
            // Unsigned values are stored as the signed ones of the same bits.
            group.required::<Int64Type>(|row| figure(row).cast_signed())?;
        }
        group.optional::<Int64Type>(|row| row.last_activity.map(|at| at.timestamp_micros()))?;
        group.writer.close()?;
        Ok(())
    }
}

/// A group on its way: each call writes the next column.
struct Group<'a, W: Write + Send> {
    writer: SerializedRowGroupWriter<'a, W>,
    rows: &'a [Row],
}

impl<W: Write + Send> Group<'_, W> {
    fn texts(&mut self, text: impl Fn(&Row) -> &str) -> Result<(), ParquetError> {
        self.required::<ByteArrayType>(|row| ByteArray::from(text(row)))
    }

    fn required<T: DataType>(&mut self, value: impl Fn(&Row) -> T::T) -> Result<(), ParquetError> {
        let values: Vec<T::T> = self.rows.iter().map(value).collect();
        self.column::<T>(&values, None)
    }

    fn optional<T: DataType>(&mut self, value: impl Fn(&Row) -> Option<T::T>) -> Result<(), ParquetError> {
        let values: Vec<Option<T::T>> = self.rows.iter().map(value).collect();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let present: Vec<T::T> = values.into_iter().flatten().collect();
        self.column::<T>(&present, Some(&levels))
    }

    fn column<T: DataType>(&mut self, values: &[T::T], definition_levels: Option<&[i16]>) -> Result<(), ParquetError> {
        let column = self.writer.next_column()?;
        let mut column = column.ok_or_else(|| ParquetError::General("more columns than the schema has".to_owned()))?;
        column.typed::<T>().write_batch(values, definition_levels, None)?;
        column.close()
    }
}

/// What the sink said, where it was the sink.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}
