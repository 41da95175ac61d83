//! The page's plain functions, where they run: sizes as the REST interface writes them, ends of scales, rates.

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::browser::{Browser, Tab};
use portmeter_tests::namespace::Namespace;
use serde_json::json;

use super::{DESKTOP, complained_only_of, origin};

pub(super) fn figures_are_what_was_counted() -> Result<()> {
    let host = Namespace::new("server")?;
    let _agent = Agent::started(&host)?;
    let mut browser = Browser::start(&host)?;
    let mut tab = browser.tab()?;
    tab.show_on(DESKTOP)?;
    tab.open(&format!("{}/ui", origin()))?;
    tab.wait_for_element("#api-key")?;
    sizes_are_as_elsewhere(&mut tab)?;
    scales_hold_what_they_show(&mut tab)?;
    rates_come_from_what_was_read(&mut tab)?;
    complained_only_of(&mut tab, &[])
}

/// The unit is chosen before rounding, and ties go to the even neighbour.
fn sizes_are_as_elsewhere(tab: &mut Tab<'_>) -> Result<()> {
    let (bytes, expected): (Vec<u64>, Vec<&str>) = [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.00 KB"),
        (38_467_682, "36.69 MB"),
        (1_048_575, "1024.00 KB"),
        (1_048_576, "1.00 MB"),
        (1_024 + 128, "1.12 KB"),
        (1_024 + 384, "1.38 KB"),
        (5 << 40, "5.00 TB"),
        (5 << 50, "5120.00 TB"),
    ]
    .into_iter()
    .unzip();
    let written = tab.apply(
        "async (sizes) => { const { formatBytes } = await import('/ui/format.js'); return sizes.map(formatBytes); }",
        &json!(bytes),
    )?;
    ensure!(written == json!(expected), "{written}");
    Ok(())
}

/// A scale ends above what it shows, at most twice as high.
fn scales_hold_what_they_show(tab: &mut Tab<'_>) -> Result<()> {
    let bytes: Vec<u64> = (0..45)
        .flat_map(|exponent| [1_u64 << exponent, (1 << exponent) + 1, (3 << exponent) / 2])
        .collect();
    let ends = tab.apply(
        "async (sizes) => { const { scaleEnd } = await import('/ui/format.js'); return sizes.map(scaleEnd); }",
        &json!(bytes),
    )?;
    for (position, bytes) in bytes.into_iter().enumerate() {
        let end = ends[position].as_f64().unwrap_or_default();
        let bytes = bytes as f64;
        ensure!((bytes..=2.0 * bytes).contains(&end), "{bytes} on a scale of {end}");
    }
    Ok(())
}

fn rates_come_from_what_was_read(tab: &mut Tab<'_>) -> Result<()> {
    let row = |uuid: &str, rx: u64, tx: u64| json!({"uuid": uuid, "rx_bytes": rx, "tx_bytes": tx});
    let known = |rx: u64, tx: u64| json!([rx, tx, {"rx": rx, "tx": tx}]);
    let unknown = json!([null, null, null]);
    let steps = [
        // A first reading has none to be compared with.
        (json!([row("a", 0, 0)]), 1_000, unknown.clone()),
        (json!([row("a", 2_000, 1_000)]), 3_000, known(1_000, 500)),
        // Too soon after the last one to say anything.
        (json!([row("a", 9_000, 9_000)]), 3_200, known(1_000, 500)),
        // It began anew in between.
        (json!([row("a", 100, 0)]), 5_000, json!([0, 0, null])),
        // Another key that is new takes no part yet.
        (json!([row("a", 150, 10), row("b", 7_000, 7_000)]), 6_000, known(50, 10)),
        // Nobody was looking for longer than a rate holds.
        (json!([row("a", 9_000, 9_000)]), 100_000, unknown),
    ];
    let readings: Vec<_> = steps
        .iter()
        .map(|(rows, milliseconds, _)| json!([rows, milliseconds]))
        .collect();
    let expected: Vec<_> = steps.iter().map(|(.., rates)| rates).collect();
    let found = tab.apply(
        "async (readings) => {
            const { Rates } = await import('/ui/rates.js');
            const rates = new Rates();
            return readings.map(([rows, milliseconds]) => {
                rates.take(rows, milliseconds);
                return [rates.rx, rates.tx, rates.of('a')];
            });
        }",
        &json!(readings),
    )?;
    ensure!(found == json!(expected), "{found}");
    Ok(())
}
