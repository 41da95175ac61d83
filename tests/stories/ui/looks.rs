//! How the page looks on a phone and on a desk, in the light and in the dark. Pictures of all of it are kept for a look.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use chrono::{Days, Utc};
use portmeter_tests::agent::Agent;
use portmeter_tests::browser::{Browser, Screen, Tab};
use portmeter_tests::command;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::tcp::{self, Transfer};
use serde_json::{Map, Value, json};

use super::{DESKTOP, PHONE, asked_nobody_else, complained_only_of, go_to, signed_in, width};

const VIEWS: [&str; 4] = ["overview", "keys", "events", "system"];

const NAMES: [&str; 6] = [
    "alice@example.com",
    "Bob Müller",
    "телефон Ольги",
    "office router, second floor",
    "customer-0042",
    "Ελένη Παπαδοπούλου",
];

/// The days that the imported history has, today included.
const DAYS: u64 = 300;

/// Where pictures are kept: beside everything else that is built.
fn pictures() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .context("no target folder")?;
    let folder = target.join("screenshots");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

pub(super) fn every_view_on_every_screen() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?;
    import_history(&agent)?;
    agent.start()?;
    let keys = agent.rest().keys()?;
    ensure!(keys.len() == NAMES.len(), "{keys:?}");
    let transfers = keys
        .iter()
        .zip(1..)
        .map(|(key, factor)| Transfer::new(SERVER_V4, key.port, 40_000 * factor, 900_000 * factor));
    tcp::bulk(&pair.server, &pair.client, &transfers.collect::<Vec<_>>())?;
    let disable = json!({"is_active": false});
    agent
        .rest()
        .patch(&format!("/api/keys/{}", keys[4].id), disable)?
        .expect_success()?;

    let folder = pictures()?;
    for (device, screen) in [("desktop", DESKTOP), ("phone", PHONE)] {
        for (colours, is_dark) in [("light", false), ("dark", true)] {
            let mut browser = Browser::start(&pair.server)?;
            let mut tab = browser.tab()?;
            let screen = Screen { is_dark, ..screen };
            signed_out_looks(
                &mut tab,
                screen,
                &folder.join(format!("{device}-{colours}-sign-in.png")),
            )?;
            signed_in(&mut tab, screen)?;
            for view in VIEWS {
                go_to(&mut tab, view)?;
                looks_right(&mut tab, screen, &folder.join(format!("{device}-{colours}-{view}.png")))?;
            }
            dialogs_look_right(&mut tab, screen, &folder, &format!("{device}-{colours}"))?;
            asked_nobody_else(&mut tab)?;
            complained_only_of(&mut tab, &[])?;
        }
    }
    Ok(())
}

fn signed_out_looks(tab: &mut Tab<'_>, screen: Screen, picture: &Path) -> Result<()> {
    tab.show_on(screen)?;
    tab.open(&format!("{}/ui/", super::origin()))?;
    tab.wait_for_element("#api-key")?;
    looks_right(tab, screen, picture)
}

/// It fits, everything has a name, and its colours are those that were asked for; a picture is kept.
fn looks_right(tab: &mut Tab<'_>, screen: Screen, picture: &Path) -> Result<()> {
    let found = width(tab)?;
    let what = picture.display();
    ensure!(
        found <= u64::from(screen.width),
        "{what}: {found} pixels on a screen of {}",
        screen.width
    );
    let nameless = tab.nameless()?;
    ensure!(nameless.is_empty(), "{what}: {nameless:#?}");
    let scheme = tab.evaluate("getComputedStyle(document.documentElement).colorScheme")?;
    ensure!(
        scheme == if screen.is_dark { "dark" } else { "light" },
        "{what}: {scheme}"
    );
    tab.keep_picture(picture)
}

fn dialogs_look_right(tab: &mut Tab<'_>, screen: Screen, folder: &Path, name: &str) -> Result<()> {
    go_to(tab, "keys")?;
    tab.press("[data-action=link]")?;
    tab.wait_for(
        "the QR code is drawn",
        "document.getElementById('qr')?.naturalWidth > 0",
    )?;
    looks_right(tab, screen, &folder.join(format!("{name}-link.png")))?;
    tab.press("dialog .close")?;
    tab.press("[data-action=manage]")?;
    tab.wait_for(
        "the key's days and counters are drawn",
        "document.querySelectorAll('dialog rect').length > 20
            && document.querySelector('dialog [data-figure=rx_bytes]').textContent !== '–'",
    )?;
    looks_right(tab, screen, &folder.join(format!("{name}-manage.png")))?;
    tab.press("[data-action=delete]")?;
    tab.wait_for_element("[data-action=confirm]")?;
    looks_right(tab, screen, &folder.join(format!("{name}-confirm.png")))?;
    // The same switch as the system's, by hand.
    tab.evaluate("document.querySelectorAll('dialog').forEach((dialog) => dialog.close())")?;
    let other = if screen.is_dark { "light" } else { "dark" };
    tab.choose("#theme", other)?;
    let scheme = tab.evaluate("getComputedStyle(document.documentElement).colorScheme")?;
    ensure!(scheme == other, "{other} was chosen, and it is {scheme}");
    Ok(())
}

/// Brings a history into a ledger that has not begun: as many days as charts show, some of them more than others.
fn import_history(agent: &Agent<'_>) -> Result<()> {
    let today = Utc::now().date_naive();
    let mut keys = Vec::new();
    let mut histories = Map::new();
    for (name, number) in NAMES.iter().zip(1_u64..) {
        let uuid = format!("0000000{number}-0000-4000-8000-00000000000b");
        let created = format!("{}T08:00:00.000000", today - Days::new(DAYS));
        keys.push(json!({
            "id": format!("0000000{number}-0000-4000-8000-00000000000a"), "name": name, "uuid": uuid,
            "created_at": created, "is_active": true, "port": 10_000 + number,
        }));
        histories.insert(uuid, history(name, 10_000 + number, &created, &days_of(today, number)));
    }
    let history = json!({
        "version": "1.0", "created_at": "2020-01-01T00:00:00.000000", "last_update": format!("{today}T00:00:00.000000"),
        "keys_history": histories, "daily_stats": {},
    });
    let folder = agent.home().join("old-server");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("keys.json"), serde_json::to_vec(&keys)?)?;
    fs::write(folder.join("traffic_history.json"), serde_json::to_vec(&history)?)?;
    let mut import: Command = agent.portmeter(&["import", "--time-zone", "UTC"]);
    import.args([folder.join("keys.json"), folder.join("traffic_history.json")]);
    let imported = agent.host().enter(|| command::output_in_time(&mut import))?;
    ensure!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    Ok(())
}

/// Days of one key: a week has its quiet days, a year its busy months.
fn days_of(today: chrono::NaiveDate, number: u64) -> Map<String, Value> {
    let day = |back: u64| {
        let wave = (back * 7 + number * 13) % 11 + (back / 29) % 5 * 3 + 2;
        let rx = wave * number * 37_000_003;
        let figures = json!({
            "total_bytes": rx * 9, "rx_bytes": rx, "tx_bytes": rx * 8, "max_connections": wave, "sessions": wave,
        });
        ((today - Days::new(back)).to_string(), figures)
    };
    (0..DAYS).map(day).collect()
}

fn history(name: &str, port: u64, created: &str, days: &Map<String, Value>) -> Value {
    let sum = |field: &str| days.values().filter_map(|day| day[field].as_u64()).sum::<u64>();
    json!({
        "key_name": name, "port": port, "created_at": created, "last_activity": created, "is_active": false,
        "total_traffic": {
            "total_bytes": sum("total_bytes"), "rx_bytes": sum("rx_bytes"), "tx_bytes": sum("tx_bytes"), "total_connections": 16,
        },
        "daily_traffic": days,
    })
}

/// Whoever may name a key writes nothing into the page but its name, and pushes nothing out of it.
pub(super) fn names_stay_text() -> Result<()> {
    let names = [
        "<img src=x onerror=\"document.title='taken'\">".to_owned(),
        "\"'><script>document.title='taken'</script>".to_owned(),
        "javascript:document.title='taken'".to_owned(),
        "a".repeat(255),
        "\u{202e}reversed\u{202c}".to_owned(),
    ];
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let mut transfers = Vec::new();
    for name in &names {
        let key = agent.rest().create_key(name)?;
        transfers.push(Transfer::new(SERVER_V4, key.port, 1_000, 1_000));
    }
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let mut browser = Browser::start(&pair.server)?;
    let mut tab = browser.tab()?;
    signed_in(&mut tab, PHONE)?;
    for view in VIEWS {
        go_to(&mut tab, view)?;
        fits(&mut tab, view)?;
    }
    go_to(&mut tab, "keys")?;
    for (position, name) in names.iter().enumerate() {
        let row = format!("tbody tr:nth-child({})", position + 1);
        ensure!(
            tab.text_of(&format!("{row} button.name"))?.as_deref() == Some(name.as_str()),
            "{name}"
        );
        for action in ["link", "manage"] {
            tab.press(&format!("{row} [data-action={action}]"))?;
            tab.wait_for_element(if action == "link" { "#qr" } else { "dialog rect" })?;
            fits(&mut tab, name)?;
            tab.press("dialog .close")?;
            tab.wait_for("the dialog is closed", "document.querySelector('dialog') === null")?;
        }
    }
    let found = tab.evaluate("document.querySelectorAll('main img, main script, main b').length")?;
    ensure!(found == 0, "{found} elements were made of names");
    complained_only_of(&mut tab, &[])
}

fn fits(tab: &mut Tab<'_>, what: &str) -> Result<()> {
    let found = width(tab)?;
    ensure!(found <= u64::from(PHONE.width), "{what}: {found} pixels");
    let title = tab.evaluate("document.title")?;
    ensure!(title != "taken", "{what} was obeyed");
    Ok(())
}
