//! Ledgers of earlier schemas: brought up to date with every figure kept, and booked on from where they stood.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use portmeter::counters::{Counter, CounterReader, MapLifeId};
use portmeter::store::{LifeOrigin, OpenStore, PortProbe};
use rusqlite::Connection;
use uuid::{Uuid, uuid};

/// The steps to every schema before the present one.
const EARLIER: [&str; 5] = [
    include_str!("../src/store/migrations/001_keys_and_checkpoints.sql"),
    include_str!("../src/store/migrations/002_connections.sql"),
    include_str!("../src/store/migrations/003_history.sql"),
    include_str!("../src/store/migrations/004_imports.sql"),
    include_str!("../src/store/migrations/005_xray.sql"),
];

const PORT: u16 = 10_001;
const LEDGER: Uuid = uuid!("0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a");
const LIFE: Uuid = uuid!("1b1b1b1b-1b1b-4b1b-8b1b-1b1b1b1b1b1b");
const BOOT: Uuid = uuid!("2c2c2c2c-2c2c-4c2c-8c2c-2c2c2c2c2c2c");
const KEY: Uuid = uuid!("3d3d3d3d-3d3d-4d3d-8d3d-3d3d3d3d3d3d");

/// What is in the first schema's columns.
const ROWS: &str = "
    INSERT INTO ledger VALUES ('0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a', 1000000);
    INSERT INTO port_table VALUES (1, 1000000, 2000000);
    INSERT INTO map_lives VALUES ('1b1b1b1b-1b1b-4b1b-8b1b-1b1b1b1b1b1b', '2c2c2c2c-2c2c-4c2c-8c2c-2c2c2c2c2c2c');
    INSERT INTO keys (id, uuid, name, is_active, created_at_micros) VALUES
        ('3d3d3d3d-3d3d-4d3d-8d3d-3d3d3d3d3d3d', '4e4e4e4e-4e4e-4e4e-8e4e-4e4e4e4e4e4e', 'old', 1, 1000000);
    INSERT INTO port_assignments VALUES (10001, '3d3d3d3d-3d3d-4d3d-8d3d-3d3d3d3d3d3d', 1000000);
    INSERT INTO checkpoints (map_life, port, rx_bytes, rx_packets, tx_bytes, tx_packets) VALUES
        ('1b1b1b1b-1b1b-4b1b-8b1b-1b1b1b1b1b1b', 10001, 1000, 10, 2000, 20);
    INSERT INTO key_totals (key_id, rx_bytes, rx_packets, tx_bytes, tx_packets) VALUES
        ('3d3d3d3d-3d3d-4d3d-8d3d-3d3d3d3d3d3d', 700, 7, 1400, 14);
    INSERT INTO key_baselines (key_id, rx_bytes, rx_packets, tx_bytes, tx_packets) VALUES
        ('3d3d3d3d-3d3d-4d3d-8d3d-3d3d3d3d3d3d', 300, 3, 600, 6);
    INSERT INTO port_totals (port, rx_bytes, rx_packets, tx_bytes, tx_packets) VALUES (10001, 300, 3, 600, 6);
    UPDATE deleted_key_totals SET rx_bytes = 50, rx_packets = 5, tx_bytes = 60, tx_packets = 6;";

/// A kernel that counted 11 bytes, 1 packet and 4 connections since the checkpoint in [`ROWS`].
struct Kernel;

impl CounterReader for Kernel {
    fn map_life(&self) -> MapLifeId {
        MapLifeId(LIFE)
    }

    fn ports(&self) -> &[u16] {
        &[PORT]
    }

    fn read(&self, _: u16) -> Counter {
        Counter {
            rx_bytes: 1_011,
            rx_packets: 11,
            tx_bytes: 2_000,
            tx_packets: 20,
            connections_opened: 4,
        }
    }

    fn active_connections(&self, _: u16) -> Option<u64> {
        None
    }
}

struct NothingHeld;

impl PortProbe for NothingHeld {
    fn held_ports(&mut self) -> std::io::Result<BTreeSet<u16>> {
        Ok(BTreeSet::new())
    }
}

#[tokio::test]
async fn every_earlier_schema_is_brought_up_with_its_figures() {
    for version in 1..=EARLIER.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        write_ledger(&path, version);
        let open = OpenStore::open(folder.path()).unwrap();
        assert_eq!(open.ledger_id(), LEDGER, "schema {version}");
        let origin = LifeOrigin {
            ledger_id: LEDGER,
            boot_id: BOOT,
        };
        let store = open
            .start(Arc::new(Kernel), &origin, vec![PORT], Box::new(NothingHeld))
            .unwrap();
        let snapshot = store.snapshot();
        let entry = snapshot.find(KEY).unwrap();
        assert_eq!((entry.key.name.as_str(), entry.key.port), ("old", Some(PORT)));
        let shown = Counter {
            rx_bytes: 700 - 300 + 11,
            rx_packets: 7 - 3 + 1,
            tx_bytes: 1400 - 600,
            tx_packets: 14 - 6,
            connections_opened: 4,
        };
        assert_eq!(entry.shown(&Kernel), shown, "schema {version}");
        store.close().await.unwrap();

        let ledger = Connection::open(&path).unwrap();
        let schema: u32 = ledger
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(schema as usize, EARLIER.len() + 1, "a step is missing in `EARLIER`");
        let row = |sql: &str| -> [i64; 5] {
            let figures =
                |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]);
            ledger.query_row(sql, [], figures).unwrap()
        };
        let figures = "rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened";
        assert_eq!(row(&format!("SELECT {figures} FROM port_totals")), [300, 3, 600, 6, 0]);
        assert_eq!(
            row(&format!("SELECT {figures} FROM deleted_key_totals")),
            [50, 5, 60, 6, 0]
        );
        assert_eq!(row(&format!("SELECT {figures} FROM key_totals")), [711, 8, 1400, 14, 4]);
        assert_eq!(
            row(&format!("SELECT {figures} FROM key_baselines")),
            [300, 3, 600, 6, 0]
        );
        assert_eq!(
            row(&format!("SELECT {figures} FROM checkpoints")),
            [1011, 11, 2000, 20, 4]
        );
        // What there was before there was a history is booked to the day of the step, so that days add up to totals.
        for table in ["day_rows", "month_rows"] {
            let sums = "sum(rx_bytes), sum(rx_packets), sum(tx_bytes), sum(tx_packets), sum(connections_opened)";
            assert_eq!(
                row(&format!("SELECT {sums} FROM {table}")),
                [711, 8, 1400, 14, 4],
                "{table}"
            );
        }
    }
}

/// A ledger as a build of this schema left it.
fn write_ledger(path: &Path, version: usize) {
    let ledger = Connection::open(path).unwrap();
    // The third step takes up what earlier builds had booked, so it comes after that.
    let (before, after) = EARLIER[..version].split_at(version.min(2));
    for step in before.iter().chain([&ROWS]).chain(after) {
        ledger.execute_batch(step).unwrap();
    }
    ledger
        .execute_batch(&format!("PRAGMA user_version = {version}"))
        .unwrap();
}
