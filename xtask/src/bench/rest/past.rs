//! A past to serve: the old server's files, with as many keys and days as are wanted, for `portmeter import`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Days of history that each key has; they end today, by the host's clock.
const DAY_COUNT: i64 = 60;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Writes `keys.json` and `traffic_history.json` into `folder`; their paths.
pub(super) fn write(folder: &Path, key_count: usize, now_seconds: i64) -> Result<[PathBuf; 2]> {
    let (mut keys, mut histories) = (Vec::new(), Map::new());
    for number in 0..key_count {
        let uuid = format!("{number:08x}-0000-4000-8000-0000000000bb");
        keys.push(json!({
            "id": format!("{number:08x}-0000-4000-8000-0000000000aa"),
            "uuid": uuid,
            "name": format!("customer{number}@example.com"),
            "created_at": moment(now_seconds - DAY_COUNT * DAY_SECONDS),
            "is_active": true,
            "port": 10_001 + number,
        }));
        histories.insert(uuid, history(number, now_seconds));
    }
    let history = json!({
        "version": "1.0",
        "created_at": moment(now_seconds - DAY_COUNT * DAY_SECONDS),
        "last_update": moment(now_seconds),
        "keys_history": histories,
        "daily_stats": {},
    });
    let paths = ["keys.json", "traffic_history.json"].map(|name| folder.join(name));
    fs::write(&paths[0], serde_json::to_vec(&keys)?)?;
    fs::write(&paths[1], serde_json::to_vec(&history)?)?;
    Ok(paths)
}

/// A key's days. The figures are of any size, so that texts of every unit are written.
fn history(number: usize, now_seconds: i64) -> Value {
    let (mut days, mut all_rx, mut all_tx) = (Map::new(), 0, 0);
    for age_days in 0..DAY_COUNT {
        let (rx_bytes, tx_bytes) = bytes(number as u64 * 61 + age_days as u64);
        all_rx += rx_bytes;
        all_tx += tx_bytes;
        let day = json!({
            "total_bytes": rx_bytes + tx_bytes, "rx_bytes": rx_bytes, "tx_bytes": tx_bytes,
            "max_connections": 1 + number % 40, "sessions": 1 + age_days % 7,
        });
        days.insert(moment(now_seconds - age_days * DAY_SECONDS)[..10].to_owned(), day);
    }
    json!({
        "key_name": format!("customer{number}@example.com"),
        "port": 10_001 + number,
        "created_at": moment(now_seconds - DAY_COUNT * DAY_SECONDS),
        "last_activity": moment(now_seconds - 60),
        "is_active": false,
        "total_traffic": {
            "total_bytes": all_rx + all_tx, "rx_bytes": all_rx, "tx_bytes": all_tx,
            "total_connections": 1 + number % 40,
        },
        "daily_traffic": days,
    })
}

/// Received and sent bytes by a number: a kilobyte to some gigabytes, the same in each run.
fn bytes(seed: u64) -> (u64, u64) {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let magnitude = 10 + (mixed >> 32) % 22;
    let rx_bytes = (1 << magnitude) + mixed % (1 << magnitude);
    (rx_bytes, rx_bytes * (1 + mixed % 9))
}

/// A time as the files have it.
fn moment(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000000",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The date of a day since 1970-01-01: years are counted from March, so that a leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_calendar_s() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000000");
        assert_eq!(moment(1_709_164_800 - 1), "2024-02-28T23:59:59.000000");
        assert_eq!(moment(1_709_164_800), "2024-02-29T00:00:00.000000");
        assert_eq!(moment(1_767_225_600), "2026-01-01T00:00:00.000000");
    }
}
