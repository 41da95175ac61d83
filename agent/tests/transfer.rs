//! Import and export over the real ledger: what files say is what the ledger shows, twice is once, and what goes out is
//! what is there.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use portmeter::calendar::{Day, Month};
use portmeter::ledger::Tally;
use portmeter::store::{Granularity, ImportFailure, Key, LedgerExport, Range, Store, preview_import};
use portmeter::transfer::export::{Format, Row, Writer};
use portmeter::transfer::import::{Decision, DecisionError, File, ImportPlan, Options, Ports, read};
use serde_json::Value;
use uuid::Uuid;

use support::{Lab, create, traffic};

const KEYS: &[u8] = include_bytes!("fixtures/keys.json");
const PORTS: &[u8] = include_bytes!("fixtures/ports.json");
const HISTORY: &[u8] = include_bytes!("fixtures/traffic_history.json");
const VNSTAT: &[u8] = include_bytes!("fixtures/vnstat.json");

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

/// A laboratory with the ports that the old server had.
fn lab() -> Lab {
    Lab {
        kernel: support::FakeKernel::with_ports((10_001..=10_010).collect()),
        ..Lab::new()
    }
}

fn plan(files: &[&[u8]], key: Option<Uuid>) -> ImportPlan {
    let options = Options {
        time_zone: Some(chrono_tz::Europe::Berlin),
        key,
    };
    let files: Vec<_> = files.iter().map(|bytes| File { name: "file", bytes }).collect();
    read(&files, &options).unwrap()
}

fn old_server() -> ImportPlan {
    plan(&[HISTORY, KEYS, PORTS], None)
}

async fn import(store: &Store, plan: ImportPlan) -> Decision {
    store.import(plan, |_, _| {}).await.unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn rounded(figure: &Value) -> u64 {
    figure.as_f64().unwrap().round() as u64
}

/// What the key shows: its total, its days and its months.
async fn shown(store: &Arc<Store>, key: &Key) -> (Tally, BTreeMap<i64, Tally>, BTreeMap<i64, Tally>) {
    let total = store.state().key_history(key.id).unwrap().total;
    let days = store.key_periods(key.id, Granularity::Day, EVER, 10_000).await.unwrap();
    let months = store
        .key_periods(key.id, Granularity::Month, EVER, 10_000)
        .await
        .unwrap();
    (
        total,
        days.rows.into_iter().collect(),
        months.rows.into_iter().collect(),
    )
}

fn key(store: &Store, name: &str) -> Key {
    let snapshot = store.snapshot();
    let entry = snapshot.entries.iter().find(|entry| entry.key.name == name).unwrap();
    (*entry.key).clone()
}

fn bytes(tally: &Tally) -> [u64; 2] {
    [tally.traffic.rx_bytes, tally.traffic.tx_bytes]
}

fn sum<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> [u64; 2] {
    bytes(&Tally::sum(tallies))
}

/// Everything that the ledger holds, as another program reads it.
fn dump(folder: &Path) -> Vec<String> {
    let ledger = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let mut statement = ledger.prepare(names).unwrap();
    let tables: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut lines = Vec::new();
    // Lives of maps and the time of reading change with each start.
    for table in tables
        .iter()
        .filter(|name| !["map_lives", "ledger", "checkpoints"].contains(&name.as_str()))
    {
        let mut statement = ledger.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<_> = (0..columns)
                .map(|column| format!("{:?}", row.get_ref(column).unwrap()))
                .collect();
            lines.push(format!("{table}: {}", cells.join(", ")));
        }
    }
    lines
}

/// A folder's files with what is in them.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn the_old_servers_keys_and_history_are_shown_as_its_files_have_them() {
    let lab = lab();
    let store = Arc::new(lab.start());
    let decision = import(&store, old_server()).await;
    assert_eq!((decision.new_keys.len(), decision.bookings.len()), (5, 3));

    let snapshot = store.snapshot();
    let histories = &json(HISTORY)["keys_history"];
    for (entry, listed) in snapshot.entries.iter().zip(json(KEYS).as_array().unwrap()) {
        let key = &entry.key;
        assert_eq!(key.uuid.to_string(), listed["uuid"]);
        assert_eq!(key.id.0.to_string(), listed["id"]);
        assert_eq!(
            (key.name.as_str(), key.is_active),
            (listed["name"].as_str().unwrap(), listed["is_active"] == true)
        );
        // The one without a port gets the lowest that is free.
        let port = listed["port"].as_u64().unwrap_or(10_002);
        assert_eq!(key.port.map(u64::from), Some(port));
        // Imported bytes are history, not current traffic.
        assert_eq!(bytes_of_current(&lab, &store, key), 0);

        let history = &histories[key.uuid.to_string()];
        if history.is_null() {
            continue;
        }
        let (total, days, months) = shown(&store, key).await;
        let stated = &history["total_traffic"];
        assert_eq!(
            bytes(&total),
            [rounded(&stated["rx_bytes"]), rounded(&stated["tx_bytes"])],
            "{}",
            key.name
        );
        assert_eq!(total.max_connections, stated["total_connections"].as_u64().unwrap());
        let listed = history["daily_traffic"].as_object().unwrap();
        assert_eq!(days.len(), listed.len());
        for (date, figures) in listed {
            let day = days[&i64::from(date.parse::<Day>().unwrap().0)];
            // Fractions add up to the rounded total, so a day may be the next whole number.
            for (figure, field) in bytes(&day).into_iter().zip(["rx_bytes", "tx_bytes"]) {
                assert!(
                    (figure as f64 - figures[field].as_f64().unwrap()).abs() < 1.0,
                    "{date} {field}"
                );
            }
            assert_eq!(day.sessions, figures["sessions"].as_u64().unwrap());
            assert_eq!(day.max_connections, figures["max_connections"].as_u64().unwrap());
        }
        // What was before the old server's days were cleaned up is in the total alone.
        let older = if key.name == "Bob Müller" {
            [5_000_000, 70_000_000]
        } else {
            [0, 0]
        };
        let older: Vec<_> = older
            .iter()
            .zip(sum(days.values()))
            .map(|(older, days)| older + days)
            .collect();
        assert_eq!(bytes(&total).to_vec(), older);
        assert_eq!(sum(months.values()), sum(days.values()));
    }
    let alice = store.state().key_history(key(&store, "alice@example.com").id).unwrap();
    assert_eq!(
        alice.total.last_activity.unwrap().to_rfc3339(),
        "2025-10-01T21:59:58.250+00:00"
    );
}

fn bytes_of_current(lab: &Lab, store: &Store, key: &Key) -> u64 {
    lab.shown(store, key).total_bytes()
}

#[tokio::test]
async fn twice_is_once_and_outlives_a_restart() {
    let lab = lab();
    let store = lab.start();
    import(&store, old_server()).await;
    store.close().await.unwrap();
    let once = dump(lab.folder.path());

    let store = Arc::new(lab.start());
    let again = import(&store, old_server()).await;
    assert!(again.changes_nothing(), "{again:?}");
    assert_eq!((again.matched_keys.len(), again.unchanged_histories), (5, 4));
    store.close().await.unwrap();
    assert_eq!(dump(lab.folder.path()), once);

    // What is shown after a restart comes from the tables.
    let store = Arc::new(lab.start());
    let bob = key(&store, "Bob Müller");
    let stated = &json(HISTORY)["keys_history"][bob.uuid.to_string()]["total_traffic"];
    let (total, _, _) = shown(&store, &bob).await;
    assert_eq!(
        bytes(&total),
        [rounded(&stated["rx_bytes"]), rounded(&stated["tx_bytes"])]
    );
    assert_eq!(bytes_of_current(&lab, &store, &bob), 0);
}

#[tokio::test]
async fn the_old_server_went_on_and_is_imported_again() {
    let lab = lab();
    let store = Arc::new(lab.start());
    import(&store, old_server()).await;
    let bob = key(&store, "Bob Müller");
    // Meanwhile the key moves bytes of its own, on a day that the file has too.
    lab.clock.set("2025-09-20T12:00:00Z");
    lab.kernel.pass(bob.port.unwrap(), 1_000);
    store.book().await.unwrap();
    let (before, days_before, _) = shown(&store, &bob).await;

    let mut later = json(HISTORY);
    let history = &mut later["keys_history"][bob.uuid.to_string()];
    for place in ["/total_traffic", "/daily_traffic/2025-09-20"] {
        let figures = history.pointer_mut(place).unwrap();
        for (field, more) in [("rx_bytes", 7), ("tx_bytes", 9), ("total_bytes", 16)] {
            figures[field] = (rounded(&figures[field]) + more).into();
        }
    }
    let decision = import(&store, plan(&[later.to_string().as_bytes()], None)).await;
    assert_eq!(decision.bookings.len(), 1);
    let (after, days, months) = shown(&store, &bob).await;
    let [rx, tx] = bytes(&before);
    assert_eq!(bytes(&after), [rx + 7, tx + 9]);
    let day = i64::from("2025-09-20".parse::<Day>().unwrap().0);
    let [rx, tx] = bytes(&days_before[&day]);
    assert_eq!(bytes(&days[&day]), [rx + 7, tx + 9]);
    assert_eq!(sum(months.values()), sum(days.values()));
    assert_eq!(lab.shown(&store, &bob), traffic(1_000));

    // And once more as it was first: the days are what the file says now.
    import(&store, old_server()).await;
    let (_, days, months) = shown(&store, &bob).await;
    assert_eq!(bytes(&days[&day]), bytes(&days_before[&day]));
    assert_eq!(sum(months.values()), sum(days.values()));
}

#[tokio::test]
async fn vnstat_goes_to_the_key_that_is_named() {
    let lab = lab();
    let store = Arc::new(lab.start());
    let bystander = create(&store, "bystander").await;
    let named = create(&store, "named").await;
    for key in [named.uuid, named.id.0] {
        import(&store, plan(&[VNSTAT], Some(key))).await;
    }
    let listed = json(VNSTAT);
    let listed = &listed["interfaces"][0]["traffic"];
    let (total, days, months) = shown(&store, &named).await;
    let figures = |entry: &Value| [entry["rx"].as_u64().unwrap(), entry["tx"].as_u64().unwrap()];
    assert_eq!(bytes(&total), figures(&listed["total"]));
    for (name, rows) in [("day", &days), ("month", &months)] {
        let entries = listed[name].as_array().unwrap();
        assert_eq!(rows.len(), entries.len());
        for (row, entry) in rows.values().zip(entries) {
            assert_eq!(bytes(row), figures(entry), "{name} {entry}");
        }
    }
    assert!(shown(&store, &bystander).await.1.is_empty());
    let unknown = store.import(plan(&[VNSTAT], Some(Uuid::nil())), |_, _| {}).await;
    let expected = DecisionError::NoSuchKey(Uuid::nil());
    assert!(matches!(unknown, Err(ImportFailure::Decision(error)) if error == expected));
}

#[tokio::test]
async fn a_history_reset_hides_what_was_imported_and_importing_again_does_not_bring_it_back() {
    let lab = lab();
    let store = Arc::new(lab.start());
    let named = create(&store, "named").await;
    import(&store, plan(&[VNSTAT], Some(named.uuid))).await;
    store.reset_history(named.id).await.unwrap();
    let again = import(&store, plan(&[VNSTAT], Some(named.uuid))).await;
    assert!(again.changes_nothing());
    let mut lower = json(VNSTAT);
    for place in ["total", "day/61", "month/5"] {
        lower.pointer_mut(&format!("/interfaces/0/traffic/{place}")).unwrap()["rx"] = 1.into();
    }
    import(&store, plan(&[lower.to_string().as_bytes()], Some(named.uuid))).await;
    let (total, days, months) = shown(&store, &named).await;
    assert_eq!((bytes(&total), days.len(), months.len()), ([0, 0], 0, 0));
    // Nor is anything taken from what the key moves from now on.
    lab.kernel.pass(named.port.unwrap(), 1_000);
    store.book().await.unwrap();
    let (total, days, months) = shown(&store, &named).await;
    assert_eq!(total.traffic, traffic(1_000));
    assert_eq!(
        (sum(days.values()), sum(months.values())),
        (bytes(&total), bytes(&total))
    );
}

#[tokio::test]
async fn a_deleted_key_is_imported_anew() {
    let lab = lab();
    let store = Arc::new(lab.start());
    import(&store, old_server()).await;
    let bob = key(&store, "Bob Müller");
    lab.kernel.pass(bob.port.unwrap(), 1_000);
    let (before, ..) = shown(&store, &bob).await;
    let together = all_keys(&store).await;
    store.delete_key(bob.id).await.unwrap();
    assert_eq!(all_keys(&store).await, together);
    let decision = import(&store, old_server()).await;
    assert_eq!((decision.new_keys.len(), decision.bookings.len()), (1, 1));
    let (after, ..) = shown(&store, &key(&store, "Bob Müller")).await;
    // What Portmeter itself has counted stays with the deleted key.
    let [rx, tx] = bytes(&before);
    assert_eq!(bytes(&after), [rx - 1_000, tx - 2_000]);
    assert_eq!(all_keys(&store).await, together);
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let sum = "SELECT rx_bytes, tx_bytes FROM deleted_key_totals";
    let deleted = ledger
        .query_row(sum, [], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?]))
        .unwrap();
    assert_eq!(deleted, [1_000, 2_000]);
    assert!(import(&store, old_server()).await.changes_nothing());
    // It has the id of before, and can go and come once more.
    store.delete_key(bob.id).await.unwrap();
    assert_eq!(import(&store, old_server()).await.new_keys.len(), 1);
    assert_eq!(all_keys(&store).await, together);
}

/// Bytes and sessions of all keys together, deleted ones included, by day and by month.
async fn all_keys(store: &Arc<Store>) -> Vec<(i64, [u64; 2], u64)> {
    let mut all = Vec::new();
    for granularity in [Granularity::Day, Granularity::Month] {
        let periods = store.all_periods(granularity, EVER, 10_000).await.unwrap();
        let rows = periods.rows.into_iter();
        all.extend(rows.map(|(period, together)| (period, bytes(&together.tally), together.tally.sessions)));
    }
    all
}

/// A port's bytes from before the import are not the new key's.
#[tokio::test]
async fn an_imported_key_begins_at_the_counter_of_this_moment() {
    let lab = lab();
    let store = lab.start();
    lab.kernel.pass(10_001, 500);
    import(&store, plan(&[KEYS], None)).await;
    lab.kernel.pass(10_001, 3);
    store.close().await.unwrap();
    let store = Arc::new(lab.start());
    let alice = key(&store, "alice@example.com");
    assert_eq!(alice.port, Some(10_001));
    assert_eq!(lab.shown(&store, &alice), traffic(3));
    assert_eq!(shown(&store, &alice).await.0.traffic, traffic(3));
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_touches_nothing() {
    let lab = lab();
    let ports = Ports {
        configured: (10_001..=10_010).collect(),
        ..Ports::default()
    };
    // Without a ledger, of one at rest, and beside one at work.
    let fresh = preview_import(lab.folder.path(), old_server(), &ports).unwrap();
    assert_eq!((fresh.new_keys.len(), fresh.bookings.len()), (5, 3));
    assert!(files(lab.folder.path()).is_empty());
    let store = lab.start();
    create(&store, "present").await;
    store.close().await.unwrap();
    let before = files(lab.folder.path());
    let at_rest = preview_import(lab.folder.path(), old_server(), &ports).unwrap();
    assert!(files(lab.folder.path()) == before, "a dry run changed a file");

    let store = lab.start();
    let before = dump(lab.folder.path());
    let beside = preview_import(lab.folder.path(), old_server(), &ports).unwrap();
    assert_eq!(dump(lab.folder.path()), before);
    assert_eq!(at_rest, beside);
    assert_eq!(import(&store, old_server()).await, beside);
    let again = preview_import(lab.folder.path(), old_server(), &ports).unwrap();
    assert!(again.changes_nothing());
}

#[tokio::test]
async fn an_import_that_cannot_be_carried_out_changes_nothing() {
    let lab = Lab::new();
    let store = lab.start();
    create(&store, "present").await;
    store.close().await.unwrap();
    let before = dump(lab.folder.path());
    let store = lab.start();
    // Four ports, one key there, five to come.
    let failed = store.import(old_server(), |_, _| {}).await;
    assert!(
        matches!(failed, Err(ImportFailure::Decision(DecisionError::TooManyKeys { .. }))),
        "{failed:?}"
    );
    store.close().await.unwrap();
    assert_eq!(dump(lab.folder.path()), before);
}

/// In the middle of the transaction something fails that nobody has foreseen.
#[tokio::test]
async fn an_import_is_booked_as_a_whole_or_not_at_all() {
    let lab = lab();
    let store = lab.start();
    store.close().await.unwrap();
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON import_rows WHEN NEW.granularity = 'total'
                   BEGIN SELECT raise(ABORT, 'refused'); END";
    ledger.execute_batch(trigger).unwrap();
    drop(ledger);
    let before = dump(lab.folder.path());
    let store = lab.start();
    let failed = store.import(old_server(), |_, _| {}).await;
    assert!(matches!(failed, Err(ImportFailure::Store(_))), "{failed:?}");
    assert!(store.snapshot().entries.is_empty());
    store.close().await.unwrap();
    assert_eq!(dump(lab.folder.path()), before);
}

fn exported(folder: &Path, granularity: Granularity, range: Range) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut expected = 0;
    let each = |row| {
        rows.push(row);
        Ok(())
    };
    let mut ledger = LedgerExport::open(folder).unwrap();
    ledger.rows(granularity, range, |count| expected = count, each).unwrap();
    assert!(rows.len() as u64 <= expected);
    rows
}

#[tokio::test]
async fn every_format_holds_what_the_store_shows() {
    let lab = lab();
    let store = Arc::new(lab.start());
    import(&store, old_server()).await;
    let bob = key(&store, "Bob Müller");
    lab.clock.set("2026-03-28T23:59:30Z");
    lab.kernel.hold(10_003, 2);
    lab.kernel.pass(10_003, 1_000);
    store.book().await.unwrap();
    lab.clock.set("2026-03-29T00:00:30Z");
    lab.kernel.pass(10_003, 50);
    store.book().await.unwrap();
    let gone = create(&store, "gone").await;
    lab.kernel.pass(gone.port.unwrap(), 5);
    store.delete_key(gone.id).await.unwrap();

    for granularity in Granularity::ALL {
        let rows = exported(lab.folder.path(), granularity, EVER);
        let (shown, _) = store.each_key_periods(granularity, EVER, None, 100_000).await.unwrap();
        assert_eq!(rows.len(), shown.len(), "{granularity:?}");
        for (row, (period, id, tally)) in rows.iter().zip(&shown) {
            let start = match granularity {
                Granularity::Minute => portmeter::calendar::Minute(*period).to_string(),
                Granularity::Hour => portmeter::calendar::Hour(*period).to_string(),
                Granularity::Day => Day(*period as i32).to_string(),
                Granularity::Month => Month(*period as i32).to_string(),
            };
            assert_eq!((&row.period_start, &row.key_id), (&start, &id.0.to_string()));
            assert_eq!([row.rx_bytes, row.tx_bytes], bytes(tally));
            assert_eq!(
                [row.rx_packets, row.tx_packets],
                [tally.traffic.rx_packets, tally.traffic.tx_packets]
            );
            assert_eq!(row.connections_opened, tally.traffic.connections_opened);
            assert_eq!(
                (row.max_connections, row.sessions),
                (tally.max_connections, tally.sessions)
            );
            assert_eq!(row.last_activity, tally.last_activity);
        }
        parsed_back(rows);
    }
    let day = i64::from("2026-03-29".parse::<Day>().unwrap().0);
    let one = exported(lab.folder.path(), Granularity::Day, Range { first: day, last: day });
    let [row] = &one[..] else { panic!("{one:?}") };
    assert_eq!((row.key_name.as_str(), row.port), (bob.name.as_str(), bob.port));
    assert_eq!(
        (row.rx_bytes, row.tx_bytes, row.period_start.as_str()),
        (50, 100, "2026-03-29")
    );
}

/// Written as CSV and JSON lines and read by their libraries, the rows are the same.
fn parsed_back(rows: Vec<Row>) {
    let written = |format| {
        let mut writer = Writer::begin(format, Vec::new()).unwrap();
        for row in &rows {
            writer.write(row.clone()).unwrap();
        }
        writer.finish().unwrap()
    };
    let expected: Vec<Value> = rows.iter().map(|row| serde_json::to_value(row).unwrap()).collect();
    let lines = String::from_utf8(written(Format::Jsonl)).unwrap();
    let parsed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed, expected);
    let csv = written(Format::Csv);
    let mut reader = csv::Reader::from_reader(&csv[..]);
    let names = reader.headers().unwrap().clone();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows.len());
    for (record, expected) in records.iter().zip(&expected) {
        for (name, cell) in names.iter().zip(record) {
            let text = match &expected[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(cell, text, "{name}");
        }
    }
}

#[tokio::test]
async fn an_export_leaves_the_folder_as_it_was() {
    let lab = lab();
    let store = lab.start();
    import(&store, old_server()).await;
    let beside = exported(lab.folder.path(), Granularity::Day, EVER);
    store.close().await.unwrap();
    let before = files(lab.folder.path());
    assert_eq!(exported(lab.folder.path(), Granularity::Day, EVER), beside);
    assert!(files(lab.folder.path()) == before, "an export changed a file");
    let empty = tempfile::tempdir().unwrap();
    let error = LedgerExport::open(empty.path()).err().unwrap().to_string();
    assert!(error.starts_with("there is no ledger in "), "{error}");
}
