//! Histories as people and programs read them. JSON has the words of `HistoryService`.

use chrono::SecondsFormat;
use portmeter_proto::v1::{Key, KeyHistory, ListHistoriesResponse, Period, Tally};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::{Shown, Span};
use crate::cli::figures::{bytes, count, full_name};
use crate::cli::moment::moment;
use crate::cli::table::{Layout, Table};

/// Every key's totals, and their sum.
pub(super) fn totals(histories: &[KeyHistory], width: Option<u16>) -> String {
    let mut table = Table::new(&[
        ("PORT", Layout::Right),
        ("RX", Layout::Right),
        ("TX", Layout::Right),
        ("TOTAL", Layout::Right),
        ("OPENED", Layout::Right),
        ("DAYS", Layout::Right),
        ("LAST ACTIVITY", Layout::Left),
        ("NAME", Layout::Text),
    ]);
    for history in histories {
        let (key, tally) = (key_of(history), history.total.unwrap_or_default());
        let days = history.activity.as_ref().map_or(0, |activity| activity.active_days);
        let last_activity = match history.is_connected {
            true => "connected".to_owned(),
            false => minute(tally.last_activity),
        };
        table.row([
            key.port.map_or_else(|| "-".to_owned(), |port| port.to_string()),
            bytes(tally.rx_bytes),
            bytes(tally.tx_bytes),
            bytes(total(&tally)),
            count(tally.connections_opened),
            days.to_string(),
            last_activity,
            full_name(&key.name, &key.alias),
        ]);
    }
    let sum = sum(histories.iter().filter_map(|history| history.total.as_ref()));
    table.row([
        String::new(),
        bytes(sum.rx_bytes),
        bytes(sum.tx_bytes),
        bytes(total(&sum)),
        count(sum.connections_opened),
        String::new(),
        String::new(),
        "all of them".to_owned(),
    ]);
    table.text(width)
}

/// Periods of one key or of all together, and their sum.
pub(super) fn periods(shown: &Shown, width: Option<u16>) -> String {
    let heading = match shown.span {
        Span::Days(_) => "DAY",
        Span::Months(_) => "MONTH",
    };
    let mut table = Table::new(&[
        (heading, Layout::Left),
        ("RX", Layout::Right),
        ("TX", Layout::Right),
        ("TOTAL", Layout::Right),
        ("OPENED", Layout::Right),
        ("MOST", Layout::Right),
        ("SESSIONS", Layout::Right),
        ("LAST ACTIVITY", Layout::Left),
    ]);
    let row = |name: String, tally: &Tally| {
        [
            name,
            bytes(tally.rx_bytes),
            bytes(tally.tx_bytes),
            bytes(total(tally)),
            count(tally.connections_opened),
            count(tally.max_connections),
            count(tally.sessions),
            minute(tally.last_activity),
        ]
    };
    for period in &shown.periods {
        table.row(row(period.start.clone(), &period.tally.unwrap_or_default()));
    }
    table.row(row("sum".to_owned(), &sum_of(&shown.periods)));
    let mut text = String::new();
    if let Some(history) = &shown.history {
        let (key, all) = (key_of(history), history.total.unwrap_or_default());
        let name = full_name(&key.name, &key.alias);
        let port = key.port.map_or_else(String::new, |port| format!(", port {port}"));
        text = format!("{name}{port}: {} since it was made or reset\n\n", bytes(total(&all)));
    }
    text + &table.text(width)
}

/// What [`totals`] shows, exact.
pub(super) fn totals_as_json(answer: &ListHistoriesResponse) -> String {
    let histories = answer.histories.iter().map(|history| {
        let mut value = history_value(history);
        if let Some(activity) = &history.activity {
            value["activity"] = json!({
                "active_days": activity.active_days,
                "first_active_day": activity.first_active_day,
            });
        }
        value
    });
    let value = json!({
        "histories": Value::from_iter(histories),
        "read_at": time(answer.read_at),
        "today": answer.today,
    });
    format!("{value}\n")
}

/// What [`periods`] shows, exact.
pub(super) fn periods_as_json(shown: &Shown) -> String {
    let granularity = match shown.span {
        Span::Days(_) => "day",
        Span::Months(_) => "month",
    };
    let periods = shown.periods.iter().map(|period| {
        let mut value = json!({
            "start": period.start,
            "tally": tally_value(&period.tally.unwrap_or_default()),
        });
        if shown.history.is_none() {
            value["active_keys"] = period.active_keys.into();
        }
        value
    });
    let value = json!({
        "history": shown.history.as_ref().map(history_value),
        "granularity": granularity,
        "first": shown.first,
        "last": shown.last,
        "periods": Value::from_iter(periods),
        "sum": tally_value(&sum_of(&shown.periods)),
    });
    format!("{value}\n")
}

fn history_value(history: &KeyHistory) -> Value {
    let key = key_of(history);
    json!({
        // Without the uuid, which lets in whoever has it.
        "key": {
            "id": key.id,
            "name": key.name,
            "alias": key.alias,
            "port": key.port,
            "is_active": key.is_active,
        },
        "total": tally_value(&history.total.unwrap_or_default()),
        "is_connected": history.is_connected,
    })
}

fn tally_value(tally: &Tally) -> Value {
    json!({
        "rx_bytes": tally.rx_bytes,
        "tx_bytes": tally.tx_bytes,
        "rx_packets": tally.rx_packets,
        "tx_packets": tally.tx_packets,
        "connections_opened": tally.connections_opened,
        "max_connections": tally.max_connections,
        "sessions": tally.sessions,
        "last_activity": time(tally.last_activity),
    })
}

fn key_of(history: &KeyHistory) -> Key {
    history.key.clone().unwrap_or_default()
}

fn total(tally: &Tally) -> u64 {
    tally.rx_bytes.saturating_add(tally.tx_bytes)
}

fn sum_of(periods: &[Period]) -> Tally {
    sum(periods.iter().filter_map(|period| period.tally.as_ref()))
}

/// What was moved in several times together; the most connections are the most of any of them.
fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |sum, tally| Tally {
        rx_bytes: sum.rx_bytes.saturating_add(tally.rx_bytes),
        tx_bytes: sum.tx_bytes.saturating_add(tally.tx_bytes),
        rx_packets: sum.rx_packets.saturating_add(tally.rx_packets),
        tx_packets: sum.tx_packets.saturating_add(tally.tx_packets),
        connections_opened: sum.connections_opened.saturating_add(tally.connections_opened),
        max_connections: sum.max_connections.max(tally.max_connections),
        sessions: sum.sessions.saturating_add(tally.sessions),
        last_activity: later(sum.last_activity, tally.last_activity),
    })
}

fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other]
        .into_iter()
        .flatten()
        .max_by_key(|at| (at.seconds, at.nanos))
}

fn minute(at: Option<Timestamp>) -> String {
    let at = at.and_then(moment);
    at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

fn time(at: Option<Timestamp>) -> Option<String> {
    Some(moment(at?)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::KeyActivity;

    use super::*;

    fn tally(rx_bytes: u64, max_connections: u64, seconds: i64) -> Tally {
        Tally {
            rx_bytes,
            tx_bytes: 2 * rx_bytes,
            rx_packets: 3,
            tx_packets: 4,
            connections_opened: 1_500,
            max_connections,
            sessions: 2,
            last_activity: (seconds > 0).then_some(Timestamp { seconds, nanos: 9_000 }),
        }
    }

    fn history() -> KeyHistory {
        KeyHistory {
            key: Some(Key {
                id: "an id".to_owned(),
                uuid: "a secret".to_owned(),
                name: "alice".to_owned(),
                port: Some(10_001),
                is_active: true,
                ..Key::default()
            }),
            total: Some(tally(1_000_000, 7, 1_754_395_200)),
            is_connected: false,
            activity: Some(KeyActivity {
                active_days: 3,
                first_active_day: "2025-08-01".to_owned(),
            }),
        }
    }

    fn shown() -> Shown {
        let period = |start: &str, tally| Period {
            start: start.to_owned(),
            tally: Some(tally),
            ..Period::default()
        };
        Shown {
            history: Some(history()),
            span: Span::Days(30),
            first: "2025-07-07".to_owned(),
            last: "2025-08-05".to_owned(),
            periods: vec![
                period("2025-08-04", tally(1_000, 5, 1_754_308_800)),
                period("2025-08-05", tally(500, 7, 1_754_395_200)),
            ],
        }
    }

    #[test]
    fn totals_are_a_table_with_their_sum_below() {
        let connected = KeyHistory {
            is_connected: true,
            ..history()
        };
        assert_eq!(
            totals(&[history(), connected], None),
            " PORT       RX       TX    TOTAL  OPENED  DAYS  LAST ACTIVITY         NAME\n\
             10001  1.00 MB  2.00 MB  3.00 MB   1,500     3  2025-08-05 12:00 UTC  alice\n\
             10001  1.00 MB  2.00 MB  3.00 MB   1,500     3  connected             alice\n\
             \u{20}      2.00 MB  4.00 MB  6.00 MB   3,000                              all of them\n"
        );
    }

    #[test]
    fn periods_are_a_table_with_their_sum_below() {
        assert_eq!(
            periods(&shown(), None),
            "alice, port 10001: 3.00 MB since it was made or reset\n\n\
             DAY              RX       TX    TOTAL  OPENED  MOST  SESSIONS  LAST ACTIVITY\n\
             2025-08-04  1.00 kB  2.00 kB  3.00 kB   1,500     5         2  2025-08-04 12:00 UTC\n\
             2025-08-05    500 B  1.00 kB  1.50 kB   1,500     7         2  2025-08-05 12:00 UTC\n\
             sum         1.50 kB  3.00 kB  4.50 kB   3,000     7         4  2025-08-05 12:00 UTC\n"
        );
    }

    #[test]
    fn json_is_exact_and_holds_no_secret() {
        let text = periods_as_json(&shown());
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["history"]["key"]["port"], 10_001);
        assert_eq!(value["periods"][1]["start"], "2025-08-05");
        assert_eq!(
            value["periods"][1]["tally"]["last_activity"],
            "2025-08-05T12:00:00.000009Z"
        );
        assert_eq!(value["sum"]["rx_bytes"], 1_500);
        assert_eq!(value["sum"]["max_connections"], 7);
        assert!(value["periods"][0].get("active_keys").is_none());
        let totals = totals_as_json(&ListHistoriesResponse {
            histories: vec![history()],
            read_at: None,
            today: "2025-08-05".to_owned(),
        });
        let value: Value = serde_json::from_str(&totals).unwrap();
        assert_eq!(value["histories"][0]["activity"]["active_days"], 3);
        assert_eq!(value["histories"][0]["total"]["tx_bytes"], 2_000_000);
        for text in [text, totals] {
            assert!(!text.contains("a secret") && text.lines().count() == 1, "{text}");
        }
    }
}
