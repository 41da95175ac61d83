//! A key's whole life on the page, beside what the REST interface says of it.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::browser::{Browser, Tab};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::wait;
use serde_json::Value;

use super::{DESKTOP, asked_nobody_else, complained_only_of, go_to, origin, sign_in};
use portmeter_tests::agent::API_KEY;

/// What a first load may take, everything that is asked for included.
const FIRST_LOAD_BYTES_MAX: u64 = 300_000;

const REFUSED: &str = "This is not the API key of this server.";

pub(super) fn from_its_making_to_its_end() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let mut browser = Browser::start(&pair.server)?;
    let mut tab = browser.tab()?;
    tab.show_on(DESKTOP)?;
    tab.open(&format!("{}/ui", origin()))?;
    a_wrong_key_is_refused(&mut tab)?;
    sign_in(&mut tab, API_KEY, "overview")?;
    let first_load = tab.received_bytes();
    ensure!(
        (1_000..=FIRST_LOAD_BYTES_MAX).contains(&first_load),
        "the first load takes {first_load} bytes"
    );
    println!("the first load takes {first_load} bytes");

    go_to(&mut tab, "keys")?;
    let key = create(&mut tab, &agent, "Alice & <b>Bob</b>")?;
    its_link_is_shown(&mut tab, &agent, &key)?;
    its_bytes_move(&mut tab, &pair, &agent, &key)?;
    it_is_renamed_and_begun_anew(&mut tab, &agent, &key)?;
    it_is_disabled_and_enabled(&mut tab, &agent, &key)?;
    it_is_deleted(&mut tab, &agent, &key)?;
    signing_out_leaves_nothing(&mut tab)?;
    asked_nobody_else(&mut tab)?;
    complained_only_of(&mut tab, &["status of 401"])
}

fn a_wrong_key_is_refused(tab: &mut Tab<'_>) -> Result<()> {
    for wrong in ["not-the-key-of-this-server", "ключ"] {
        tab.type_into("#api-key", wrong)?;
        tab.press("#sign-in button")?;
        tab.wait_for(
            "the page refuses a wrong key",
            &format!("document.querySelector('.problem').textContent === '{REFUSED}'"),
        )?;
        ensure!(
            tab.evaluate("sessionStorage.length + localStorage.length")? == 0,
            "it is kept"
        );
        tab.evaluate("document.querySelector('.problem').textContent = ''")?;
    }
    Ok(())
}

fn create(tab: &mut Tab<'_>, agent: &Agent<'_>, name: &str) -> Result<Key> {
    tab.press("[data-action=create]")?;
    tab.type_into("#new-name", name)?;
    tab.press("dialog form .main")?;
    tab.wait_for_element("#link-text")?;
    let keys = agent.rest().keys()?;
    ensure!(keys.len() == 1 && keys[0].name == name, "{keys:?}");
    keys.into_iter().next().context("no key")
}

/// The link is that of the REST interface, and so is what a camera reads on the screen.
fn its_link_is_shown(tab: &mut Tab<'_>, agent: &Agent<'_>, key: &Key) -> Result<()> {
    let links = agent.rest().shown(&format!("/api/keys/{}/config", key.id))?;
    ensure!(tab.evaluate("document.getElementById('link-text').value")? == links["vless_url"]);
    let path = links["subscription_path"].as_str().context("no subscription")?;
    let subscription = tab.evaluate("document.getElementById('subscription-text').value")?;
    ensure!(subscription == format!("{}{path}", origin()), "{subscription}");
    tab.wait_for(
        "the QR code is drawn",
        "document.getElementById('qr').complete && document.getElementById('qr').naturalWidth > 0",
    )?;
    let read = read_qr_code(&tab.picture_of("#qr")?)?;
    ensure!(read == links["vless_url"], "{read}");
    tab.press("dialog .close")?;
    tab.wait_for("the dialog is closed", "document.querySelector('dialog') === null")
}

/// The text of the one code in a picture.
fn read_qr_code(picture: &[u8]) -> Result<String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("a picture without an end")?];
    let info = reader.next_frame(&mut pixels)?;
    let (width, height, samples) = (info.width as usize, info.height as usize, info.color_type.samples());
    // Black on white: any of the colours tells.
    let shade = |x, y| pixels[(y * width + x) * samples];
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, shade);
    let codes = picture.detect_grids();
    ensure!(codes.len() == 1, "{} codes are on the screen", codes.len());
    Ok(codes[0].decode()?.1)
}

/// A cell of the key's row.
fn cell(key: &Key, label: &str) -> String {
    format!("tr[data-key='{}'] td[data-label='{label}']", key.id)
}

/// The exact number of bytes that a cell shows.
fn bytes_of(tab: &mut Tab<'_>, key: &Key, label: &str) -> Result<u64> {
    let title = tab.attribute_of(&cell(key, label), "title")?.unwrap_or_default();
    Ok(title
        .strip_suffix(" bytes")
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(0))
}

fn its_bytes_move(tab: &mut Tab<'_>, pair: &Pair, agent: &Agent<'_>, key: &Key) -> Result<()> {
    let address = SocketAddr::new(SERVER_V4.into(), key.port);
    let traffic = Background::tcp(&pair.server, &pair.client, address)?;
    let mut seen = 0;
    for _ in 0..3 {
        wait::until("more bytes are on the page", || Ok(bytes_of(tab, key, "Total")? > seen))?;
        seen = bytes_of(tab, key, "Total")?;
    }
    let rate = cell(key, "Rate");
    wait::until("the page shows a rate", || {
        let text = tab.text_of(&rate)?.unwrap_or_default();
        Ok(text.ends_with("B/s") && text != "0 B/s")
    })?;
    wait::until("the page shows the connection", || {
        Ok(tab.text_of(&cell(key, "Connections"))?.as_deref() == Some("1"))
    })?;
    go_to(tab, "overview")?;
    tab.wait_for(
        "the overview shows what moves, both ways, and whose it is",
        "['rate-rx', 'rate-tx'].every((id) => / [KM]B\\/s$/.test(document.getElementById(id).textContent))
            && document.getElementById('connections').textContent === '1'
            && document.querySelector('#top-keys .name')?.textContent === 'Alice & <b>Bob</b>'",
    )?;
    traffic.stop()?;
    tab.press("#top-keys .name")?;
    tab.wait_for(
        "who moves most is one press away",
        "document.getElementById('key-search')?.value === 'Alice & <b>Bob</b>'
            && document.querySelectorAll('table.keys tbody tr').length === 1",
    )?;
    go_to(tab, "keys")?;
    wait::until("nothing is open any more", || {
        Ok(tab.text_of(&cell(key, "Connections"))?.as_deref() == Some("0"))
    })?;
    let total = total_of(agent, key)?;
    let expected = total["total_bytes"].as_u64().context("no total")?;
    for label in ["Today", "Month", "Total"] {
        wait::until(&format!("{label} is exact"), || {
            Ok(bytes_of(tab, key, label)? == expected)
        })?;
        let text = tab.text_of(&cell(key, label))?;
        ensure!(
            text.as_deref() == total["total_formatted"].as_str(),
            "{label}: {text:?}, {total}"
        );
    }
    Ok(())
}

fn total_of(agent: &Agent<'_>, key: &Key) -> Result<Value> {
    let history = agent.rest().shown(&format!("/api/keys/{}/traffic/history", key.id))?;
    Ok(history["data"]["total_traffic"].clone())
}

fn it_is_renamed_and_begun_anew(tab: &mut Tab<'_>, agent: &Agent<'_>, key: &Key) -> Result<()> {
    let name = format!("tr[data-key='{}'] button.name", key.id);
    tab.press(&name)?;
    tab.type_into("#rename", "Carol")?;
    tab.press("dialog form .main")?;
    wait::until("the new name is on the page", || {
        Ok(tab.text_of(&name)?.as_deref() == Some("Carol"))
    })?;
    ensure!(agent.rest().keys()?[0].name == "Carol", "not for the others");

    let counted = agent.rest().count_of(&key.id)?;
    ensure!(counted.bytes() > 0, "nothing was counted");
    let received = "dialog [data-figure=rx_bytes]";
    wait::until("the counters are on the page", || {
        Ok(tab
            .attribute_of(received, "title")?
            .is_some_and(|title| title != "0 bytes"))
    })?;
    tab.press("[data-action=reset-counters]")?;
    tab.press("[data-action=confirm]")?;
    wait::until("the counters begin anew", || {
        Ok(tab.text_of(received)?.as_deref() == Some("0 B"))
    })?;
    ensure!(agent.rest().count_of(&key.id)?.bytes() == 0, "the page says so alone");
    ensure!(total_of(agent, key)?["total_bytes"] != 0, "the history is gone too");

    tab.press("[data-action=reset-history]")?;
    tab.press("[data-action=confirm]")?;
    wait::until("the history begins anew", || {
        Ok(total_of(agent, key)?["total_bytes"] == 0)
    })?;
    wait::until("the page shows that", || {
        Ok(tab.attribute_of(&cell(key, "Total"), "title")?.as_deref() == Some("0 bytes"))
    })?;
    tab.press("dialog .close")
}

fn it_is_disabled_and_enabled(tab: &mut Tab<'_>, agent: &Agent<'_>, key: &Key) -> Result<()> {
    let switch = format!("tr[data-key='{}'] .switch", key.id);
    for expected in [false, true] {
        tab.press(&switch)?;
        wait::until("the switch has moved", || {
            Ok(tab.attribute_of(&switch, "aria-checked")? == Some(expected.to_string()))
        })?;
        let shown = agent.rest().shown(&format!("/api/keys/{}", key.id))?;
        ensure!(shown["is_active"] == expected, "{shown}");
    }
    Ok(())
}

fn it_is_deleted(tab: &mut Tab<'_>, agent: &Agent<'_>, key: &Key) -> Result<()> {
    let row = format!("document.querySelector(\"tr[data-key='{}']\") === null", key.id);
    tab.press(&format!("tr[data-key='{}'] button.name", key.id))?;
    tab.press("[data-action=delete]")?;
    // Escape takes back the question, and nothing else.
    tab.wait_for_element("[data-action=confirm]")?;
    tab.press_key("Escape", 27)?;
    tab.wait_for(
        "the question is gone",
        "document.querySelectorAll('dialog').length === 1",
    )?;
    ensure!(agent.rest().keys()?.len() == 1, "deleted without a yes");
    tab.press("[data-action=delete]")?;
    tab.press("[data-action=confirm]")?;
    tab.wait_for("the key is gone from the page", &row)?;
    tab.wait_for("every dialog is closed", "document.querySelector('dialog') === null")?;
    ensure!(agent.rest().keys()?.is_empty(), "it is still there");
    let text = tab.text()?;
    ensure!(text.contains("There are no keys yet."), "{text}");
    Ok(())
}

fn signing_out_leaves_nothing(tab: &mut Tab<'_>) -> Result<()> {
    ensure!(tab.evaluate("sessionStorage.length")? == 1 && tab.evaluate("localStorage.length")? == 0);
    ensure!(tab.evaluate("document.cookie")? == "", "a cookie");
    tab.press("#sign-out")?;
    tab.wait_for_element("#api-key")?;
    ensure!(
        tab.evaluate("sessionStorage.length + localStorage.length")? == 0,
        "something is kept"
    );
    ensure!(tab.evaluate("document.getElementById('api-key').value")? == "");
    Ok(())
}
