//! What REST shows of the ledger, compared with what passed.
//!
//! A story may run over midnight or the end of a month, so days are added up, and which ones there are is asked.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::count::{self, Count, Counts};
use crate::rest::{Key, Rest};

/// Fails unless every view of the ledger shows what passed.
pub fn ledger_is(rest: &Rest<'_>, keys: &[Key], passed: &Counts) -> Result<()> {
    ledger_is_without(rest, keys, passed, &Counts::new())
}

/// The same where some of it is hidden by resets, which the days of all keys do not know of.
pub fn ledger_is_without(rest: &Rest<'_>, keys: &[Key], passed: &Counts, hidden: &Counts) -> Result<()> {
    let (history, monthly) = (rest.shown("/api/traffic/history")?, rest.shown("/api/traffic/monthly")?);
    let mut sum = Count::default();
    for (position, key) in keys.iter().enumerate() {
        let expected = count::of(passed, key.port).since(&count::of(hidden, key.port));
        sum = sum.and(&expected);
        let expected = (expected.rx_bytes, expected.tx_bytes);
        let one = rest.shown(&format!("/api/keys/{}/traffic/history", key.id))?["data"].clone();
        let month = rest.shown(&format!("/api/keys/{}/traffic/monthly", key.uuid))?["data"].clone();
        let row = &history["data"]["keys"][position];
        ensure!(
            row["key_uuid"] == key.uuid && row["total_traffic"] == one["total_traffic"],
            "{row:#} in the list, {one:#} alone"
        );
        for (view, shown) in [
            ("the total", moved(&one["total_traffic"])?),
            ("its days", moved_on(&one["daily_stats"])?),
            ("its month", moved(&month["monthly_traffic"])?),
            ("its month's days", moved_on(&month["daily_breakdown"])?),
            (
                "its row of the month",
                moved(&monthly["data"]["keys"][position]["monthly_traffic"])?,
            ),
        ] {
            ensure!(
                shown == expected,
                "{view} of {key:?}: {shown:?} instead of {expected:?}"
            );
        }
    }
    for data in [&history["data"], &monthly["data"]] {
        ensure!(
            data["total_keys"] == keys.len()
                && data["total_rx_bytes"] == sum.rx_bytes
                && data["total_tx_bytes"] == sum.tx_bytes
                && data["total_traffic_bytes"] == sum.bytes(),
            "{sum:?} in all, {data:#}"
        );
    }
    let (days, expected) = (
        all_days(rest)?,
        keys.iter().map(|key| count::of(passed, key.port).bytes()).sum::<u64>(),
    );
    ensure!(
        days == expected,
        "the days of all keys have {days} bytes, {expected} passed"
    );
    Ok(())
}

/// What all keys moved on all days that there are.
pub fn all_days(rest: &Rest<'_>) -> Result<u64> {
    let dates = rest.shown("/api/usage/dates")?["dates"].clone();
    let mut sum = 0;
    for date in dates.as_array().context("dates is no list")? {
        let day = rest.shown(&format!(
            "/api/traffic/daily/{}",
            date.as_str().context("a date is no text")?
        ))?["data"]
            .clone();
        ensure!(day["date"] == *date, "{day:#}");
        sum += day["total_bytes"]
            .as_u64()
            .with_context(|| format!("total_bytes in {day}"))?;
    }
    Ok(sum)
}

/// Bytes received and sent; the total must be both.
pub fn moved(figures: &Value) -> Result<(u64, u64)> {
    let figure = |name: &str| figures[name].as_u64().with_context(|| format!("{name} in {figures}"));
    let (rx, tx) = (figure("rx_bytes")?, figure("tx_bytes")?);
    ensure!(
        figure("total_bytes")? == rx + tx,
        "total_bytes is not the sum in {figures}"
    );
    Ok((rx, tx))
}

/// The same over several days.
fn moved_on(days: &Value) -> Result<(u64, u64)> {
    let days = days.as_object().context("days are no map")?;
    days.values().try_fold((0, 0), |(rx, tx), day| {
        let (more_rx, more_tx) = moved(day)?;
        Ok((rx + more_rx, tx + more_tx))
    })
}
