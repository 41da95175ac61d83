//! What the page tells of a server that is gone, of a key that holds no more, of the system; and that it rests while nobody
//! looks.

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::browser::Browser;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::Pair;
use portmeter_tests::wait;

use super::{DESKTOP, asked_nobody_else, complained_only_of, go_to, sign_in, signed_in};

/// A key that the server is given later.
const OTHER_KEY: &str = "another-key-for-the-stories";

pub(super) fn what_goes_wrong_is_told() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    agent.rest().create_key("customer")?;
    let mut browser = Browser::start(&pair.server)?;
    let mut tab = browser.tab()?;
    signed_in(&mut tab, DESKTOP)?;
    go_to(&mut tab, "keys")?;
    tab.wait_for("the key is there", "document.querySelector('tr[data-key]') !== null")?;

    agent.kill()?;
    tab.wait_for(
        "the page says that nobody answers, and keeps what it knew",
        "document.getElementById('contact').textContent.startsWith('no answer since')
            && [...document.querySelectorAll('.problem')].some((place) => place.textContent.endsWith('The server cannot be reached.'))
            && document.querySelector('tr[data-key]') !== null
            && document.querySelector(\"td[data-label='Rate']\").textContent === '–'
            && document.querySelector(\"td[data-label='Connections']\").textContent === '–'",
    )?;
    tab.press("tr[data-key] .switch")?;
    tab.wait_for(
        "what was pressed says why it did nothing",
        "document.body.innerText.includes('The key was not disabled. The server cannot be reached.')",
    )?;
    agent.start()?;
    tab.wait_for(
        "the page goes on by itself",
        "document.getElementById('contact').textContent === 'connected'
            && [...document.querySelectorAll('.problem')].filter((place) => place.textContent !== '').length <= 1",
    )?;
    ensure!(
        tab.attribute_of("tr[data-key] .switch", "aria-checked")?.as_deref() == Some("true"),
        "the switch has moved and the key has not"
    );

    agent.stop()?;
    agent.change_variable("PORTMETER_API_KEY", OTHER_KEY);
    agent.start()?;
    tab.wait_for_element("#api-key")?;
    let text = tab.text()?;
    ensure!(
        text.contains("The server does not accept this API key any more; sign in again."),
        "{text}"
    );
    ensure!(tab.evaluate("sessionStorage.length")? == 0, "the old key is kept");
    // Where the page was is where it goes on.
    sign_in(&mut tab, OTHER_KEY, "keys").context("with the new key")?;
    go_to(&mut tab, "overview")?;
    // Loading the page again keeps who is signed in; the key is this tab's.
    tab.evaluate("location.reload()")?;
    tab.wait_for("the page is open again", "document.getElementById('rate-rx') !== null")?;
    asked_nobody_else(&mut tab)?;
    complained_only_of(
        &mut tab,
        &[
            "status of 401",
            "status of 503",
            "ERR_CONNECTION",
            "ERR_EMPTY_RESPONSE",
            "ERR_SOCKET_NOT_CONNECTED",
        ],
    )
}

/// How long nothing may be asked: several times as long as the shortest pause between two questions.
const QUIET_SECONDS: i64 = 8;

pub(super) fn nobody_looks_and_nothing_is_asked() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let mut browser = Browser::start(&host)?;
    let mut tab = browser.tab()?;
    signed_in(&mut tab, DESKTOP)?;
    let hide = |is_hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }});
            document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    tab.evaluate(&hide(true))?;
    // What was under way is answered within a sample or two; from then on nothing may come.
    samples_later(&agent, 2)?;
    let before = tab.requests().len();
    samples_later(&agent, QUIET_SECONDS)?;
    let asked = tab.requests()[before..].to_vec();
    ensure!(asked.is_empty(), "while nobody looks: {asked:#?}");
    tab.evaluate(&hide(false))?;
    wait::until("the page goes on", || Ok(tab.requests().len() > before))?;
    complained_only_of(&mut tab, &[])
}

/// Waits until the agent has counted for so many seconds more.
fn samples_later(agent: &Agent<'_>, seconds: i64) -> Result<()> {
    let newest = || -> Result<i64> {
        let series = agent.rest().shown("/api/live/series?period=10&granularity=1")?;
        let newest = series["series"]
            .as_array()
            .and_then(|points| points.last()?["ts"].as_str().map(str::to_owned));
        let newest = newest.context("an empty series")?;
        Ok(chrono::DateTime::parse_from_rfc3339(&newest)?.timestamp())
    };
    let wanted = newest()? + seconds;
    wait::until(&format!("{seconds} more samples"), || Ok(newest()? >= wanted))
}

pub(super) fn the_system_is_looked_after() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let mut browser = Browser::start(&pair.server)?;
    let mut tab = browser.tab()?;
    signed_in(&mut tab, DESKTOP)?;
    go_to(&mut tab, "system")?;
    let version = format!("Portmeter {}", env!("CARGO_PKG_VERSION"));
    ensure!(tab.text_of("#version")? == Some(version), "another version");

    for (word, is_enabled) in [("paused", false), ("running", true)] {
        tab.press("[data-action=collector-toggle]")?;
        wait::until(&format!("the page says {word}"), || {
            Ok(tab.text_of("#collector .badge")?.as_deref() == Some(word))
        })?;
        let shown = agent.rest().shown("/api/collector/status")?;
        ensure!(shown["enabled"] == is_enabled, "{shown}");
        go_to(&mut tab, "overview")?;
        tab.wait_for(
            "the first view says so where it is not as it should be, and nothing else",
            &format!(
                "document.getElementById('attention').textContent.startsWith('The collector is paused') === {}
                    && document.querySelectorAll('#attention li').length === {}",
                !is_enabled,
                u8::from(!is_enabled)
            ),
        )?;
        go_to(&mut tab, "system")?;
    }
    tab.press("[data-action=collector-run]")?;
    tab.wait_for(
        "a run is told",
        "document.body.innerText.includes(' bytes were booked.')",
    )?;

    tab.press("[data-action=run-checks]")?;
    tab.wait_for(
        "the checks have run",
        "document.querySelectorAll('#checks .output').length > 5",
    )?;
    let listed = agent.rest().shown("/api/tests/list")?;
    let listed = listed["tests"].as_array().context("no checks")?.len();
    ensure!(
        tab.evaluate("document.querySelectorAll('#checks li').length")? == listed,
        "{listed} checks"
    );
    ensure!(tab.text_of("#checks-last time")?.is_some(), "no last run");

    tab.press("[data-action=synchronize]")?;
    tab.wait_for(
        "a synchronization is told",
        "document.body.innerText.includes('synchronized successfully.')",
    )?;

    go_to(&mut tab, "events")?;
    tab.choose("#event-type", "COLLECTOR")?;
    tab.wait_for(
        "only what is asked for is listed",
        "(() => {
            const rows = [...document.querySelectorAll('table.events tbody strong')];
            return rows.length >= 2 && rows.every((row) => row.textContent.startsWith('collector'));
        })()",
    )?;
    tab.choose("#event-severity", "ERROR")?;
    tab.wait_for(
        "nothing was wrong",
        "document.body.innerText.includes('Nothing of this kind has happened.')",
    )?;
    asked_nobody_else(&mut tab)?;
    complained_only_of(&mut tab, &[])
}
