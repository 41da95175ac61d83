//! What the ledger of an agent that has stopped holds, compared with what passed: every byte of every port, of every key
//! that there is and that there was, and of every period.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use portmeter_tests::count::{Count, Counts};
use portmeter_tests::{exactness, ledger_file};
use serde_json::Value;

use crate::customer::Gone;

/// What every table calls what was moved.
const MOVED: &str = "rx_bytes, rx_packets, tx_bytes, tx_packets";
const SUM: &str = "sum(rx_bytes), sum(rx_packets), sum(tx_bytes), sum(tx_packets)";

/// What the ledger should hold.
#[derive(Debug)]
pub(crate) struct Expected {
    /// What passed, by port.
    pub(crate) passed: Counts,
    /// What is each key's that there is.
    pub(crate) keys: BTreeMap<String, Count>,
    /// What was each key's that there was.
    pub(crate) gone: Vec<Gone>,
}

/// Fails unless the ledger of a data folder holds what passed. For an agent that has stopped, when all is quiet.
pub(crate) fn compare(data_folder: &Path, expected: &Expected) -> Result<()> {
    let rows = |sql: &str| ledger_file::query(data_folder, sql);
    let booked_up_to = rows(&format!("SELECT port, {MOVED} FROM checkpoints"))?;
    let booked_up_to: Counts = booked_up_to
        .iter()
        .map(|row| Ok((whole(&row[0])?.try_into()?, count(&row[1..])?)))
        .collect::<Result<_>>()?;
    exactness::equal("the ledger", &booked_up_to, &expected.passed)?;

    let by_key = |table: &str| -> Result<BTreeMap<String, Count>> {
        let rows = rows(&format!("SELECT key_id, {MOVED} FROM {table}"))?;
        let row = |row: &Vec<Value>| Ok((row[0].as_str().context("a key's id")?.to_owned(), count(&row[1..])?));
        rows.iter().map(row).collect()
    };
    let keys = by_key("key_totals")?;
    ensure!(
        keys == expected.keys,
        "the keys have {keys:?}, {:?} is theirs",
        expected.keys
    );
    let gone = by_key("deleted_keys")?;
    ensure!(
        gone.len() == expected.gone.len(),
        "{} keys are gone, the ledger knows {}",
        expected.gone.len(),
        gone.len()
    );
    for key in &expected.gone {
        let booked = gone.get(&key.id).with_context(|| format!("no total of {key:?}"))?;
        ensure!(
            booked.covers(&key.least) && key.most.covers(booked),
            "{booked:?} was booked to {key:?}"
        );
    }

    let sum = |from: &str| count(&rows(&format!("SELECT {SUM} FROM {from}"))?[0]);
    let of_keys = sum("key_totals")?.and(&sum("deleted_key_totals")?);
    let in_all = of_keys.and(&sum("port_totals")?);
    let passed = expected
        .passed
        .values()
        .fold(Count::default(), |sum, count| sum.and(count));
    ensure!(
        in_all == passed,
        "the ledger has {in_all:?} in all, {passed:?} has passed"
    );
    for table in ["minute_rows", "hour_rows", "day_rows", "month_rows"] {
        let in_periods = sum(table)?;
        ensure!(
            in_periods == of_keys,
            "{table} have {in_periods:?}, the keys had {of_keys:?}"
        );
    }
    Ok(())
}

/// A sum over no rows is none.
fn count(figures: &[Value]) -> Result<Count> {
    Ok(Count {
        rx_bytes: whole(&figures[0])?,
        rx_packets: whole(&figures[1])?,
        tx_bytes: whole(&figures[2])?,
        tx_packets: whole(&figures[3])?,
    })
}

fn whole(figure: &Value) -> Result<u64> {
    match figure {
        Value::Null => Ok(0),
        figure => figure.as_u64().with_context(|| format!("{figure} is no whole number")),
    }
}
