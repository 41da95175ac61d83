//! Each format against what another reader makes of it.

use std::io::{self, Write};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::*;

fn rows() -> Vec<Row> {
    let busy = Row {
        granularity: "day",
        period_start: "2026-03-29".to_owned(),
        key_id: "0b5e8f3c-6f0e-4d6a-9a57-0f4c1c1f7a01".to_owned(),
        key_uuid: "7d1a4f60-5b0c-4c1e-8f4a-6f2f0f6f2b02".to_owned(),
        key_name: "Müller, \"Bob\"\nand sons".to_owned(),
        port: Some(10_001),
        rx_bytes: u64::MAX,
        tx_bytes: 38_467_682,
        rx_packets: 12,
        tx_packets: 34,
        connections_opened: 5,
        max_connections: 3,
        sessions: 2,
        last_activity: DateTime::<Utc>::from_timestamp(1_774_828_799, 0),
    };
    let idle = Row {
        period_start: "2026-03-30".to_owned(),
        key_name: "plain".to_owned(),
        port: None,
        rx_bytes: 0,
        last_activity: None,
        ..busy.clone()
    };
    vec![busy, idle]
}

fn written(format: Format, rows: Vec<Row>) -> Vec<u8> {
    let mut writer = Writer::begin(format, Vec::new()).unwrap();
    for row in rows {
        writer.write(row).unwrap();
    }
    writer.finish().unwrap()
}

/// A row as every format ought to say it.
fn fields(row: &Row) -> serde_json::Map<String, serde_json::Value> {
    let serde_json::Value::Object(fields) = serde_json::to_value(row).unwrap() else {
        unreachable!("a struct is an object")
    };
    fields
}

#[test]
fn csv() {
    let text = String::from_utf8(written(Format::Csv, rows())).unwrap();
    assert_eq!(
        text,
        "granularity,period_start,key_id,key_uuid,key_name,port,rx_bytes,tx_bytes,rx_packets,tx_packets,\
         connections_opened,max_connections,sessions,last_activity\n\
         day,2026-03-29,0b5e8f3c-6f0e-4d6a-9a57-0f4c1c1f7a01,7d1a4f60-5b0c-4c1e-8f4a-6f2f0f6f2b02,\
         \"Müller, \"\"Bob\"\"\nand sons\",10001,18446744073709551615,38467682,12,34,5,3,2,2026-03-29T23:59:59Z\n\
         day,2026-03-30,0b5e8f3c-6f0e-4d6a-9a57-0f4c1c1f7a01,7d1a4f60-5b0c-4c1e-8f4a-6f2f0f6f2b02,\
         plain,,0,38467682,12,34,5,3,2,\n"
    );
}

#[test]
fn jsonl() {
    let text = String::from_utf8(written(Format::Jsonl, rows())).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"granularity":"day","period_start":"2026-03-29","key_id":"0b5e8f3c-6f0e-4d6a-9a57-0f4c1c1f7a01","#,
            r#""key_uuid":"7d1a4f60-5b0c-4c1e-8f4a-6f2f0f6f2b02","key_name":"Müller, \"Bob\"\nand sons","#,
            r#""port":10001,"rx_bytes":18446744073709551615,"tx_bytes":38467682,"rx_packets":12,"tx_packets":34,"#,
            r#""connections_opened":5,"max_connections":3,"sessions":2,"last_activity":"2026-03-29T23:59:59Z"}"#,
            "\n",
            r#"{"granularity":"day","period_start":"2026-03-30","key_id":"0b5e8f3c-6f0e-4d6a-9a57-0f4c1c1f7a01","#,
            r#""key_uuid":"7d1a4f60-5b0c-4c1e-8f4a-6f2f0f6f2b02","key_name":"plain","#,
            r#""port":null,"rx_bytes":0,"tx_bytes":38467682,"rx_packets":12,"tx_packets":34,"#,
            r#""connections_opened":5,"max_connections":3,"sessions":2,"last_activity":null}"#,
            "\n",
        )
    );
}

#[test]
fn parquet_is_read_back_as_it_was_written() {
    let written = written(Format::Parquet, rows());
    let reader = SerializedFileReader::new(Bytes::from(written)).unwrap();
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    assert!(columns.iter().map(|column| column.name()).eq(COLUMNS));
    let read: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), rows().len());
    for (read, row) in read.iter().zip(rows()) {
        let expected = fields(&row);
        for (name, field) in read.get_column_iter() {
            let shown = match field {
                Field::TimestampMicros(micros) => serde_json::json!(DateTime::<Utc>::from_timestamp_micros(*micros)),
                Field::UShort(port) => serde_json::json!(port),
                Field::ULong(figure) => serde_json::json!(figure),
                Field::Str(text) => serde_json::json!(text),
                Field::Null => serde_json::Value::Null,
                other => panic!("{name} is {other:?}"),
            };
            assert_eq!(shown, expected[name], "{name}");
        }
    }
}

#[test]
fn parquet_has_a_group_for_every_so_many_rows() {
    let many: Vec<Row> = (0..50_001_u64)
        .map(|number| Row {
            rx_bytes: number,
            ..rows().swap_remove(1)
        })
        .collect();
    let reader = SerializedFileReader::new(Bytes::from(written(Format::Parquet, many))).unwrap();
    assert_eq!(reader.num_row_groups(), 2);
    let last = reader.get_row_iter(None).unwrap().last().unwrap().unwrap();
    assert!(
        last.get_column_iter()
            .any(|(name, field)| name == "rx_bytes" && *field == Field::ULong(50_000))
    );
}

#[test]
fn without_rows_there_is_a_valid_file() {
    let header = format!("{}\n", COLUMNS.join(","));
    assert_eq!(written(Format::Csv, Vec::new()), header.as_bytes());
    assert_eq!(written(Format::Jsonl, Vec::new()), b"");
    let reader = SerializedFileReader::new(Bytes::from(written(Format::Parquet, Vec::new()))).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
}

#[test]
fn the_columns_are_the_fields() {
    let line = serde_json::to_string(&rows()[0]).unwrap();
    let positions: Vec<_> = COLUMNS.map(|name| line.find(&format!("\"{name}\":"))).to_vec();
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "{line}");
    assert_eq!(fields(&rows()[0]).len(), COLUMNS.len());
}

/// A sink like a pipe whose reader has gone, or a full disk.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_the_sink_says_comes_through() {
    for format in [Format::Csv, Format::Jsonl, Format::Parquet] {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            // At the end, and on the way, where buffers are full.
            for count in [1, 1_000] {
                let result = Writer::begin(format, Broken(kind)).and_then(|mut writer| {
                    for _ in 0..count {
                        writer.write(rows().swap_remove(0))?;
                    }
                    writer.finish()
                });
                assert_eq!(result.err().map(|error| error.kind()), Some(kind), "{format:?}");
            }
        }
    }
}
