//! The page at `/ui` in a real browser: what a person does there, and what the page must never do.

mod figures;
mod key;
mod looks;
mod told;

use anyhow::{Result, ensure};
use portmeter_tests::agent::{API_KEY, REST_ADDRESS};
use portmeter_tests::browser::{Screen, Tab};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_key_from_its_making_to_its_end", key::from_its_making_to_its_end),
    ("every_view_on_every_screen", looks::every_view_on_every_screen),
    ("figures_are_what_was_counted", figures::figures_are_what_was_counted),
    ("names_stay_text", looks::names_stay_text),
    ("what_goes_wrong_is_told", told::what_goes_wrong_is_told),
    (
        "nobody_looks_and_nothing_is_asked",
        told::nobody_looks_and_nothing_is_asked,
    ),
    ("the_system_is_looked_after", told::the_system_is_looked_after),
];

const DESKTOP: Screen = Screen {
    width: 1280,
    height: 900,
    is_phone: false,
    is_dark: false,
};

const PHONE: Screen = Screen {
    width: 360,
    height: 740,
    is_phone: true,
    is_dark: false,
};

fn origin() -> String {
    format!("http://{REST_ADDRESS}")
}

/// Opens the page and signs in.
fn signed_in(tab: &mut Tab<'_>, screen: Screen) -> Result<()> {
    tab.show_on(screen)?;
    tab.open(&format!("{}/ui", origin()))?;
    sign_in(tab, API_KEY, "overview")
}

/// Signs in at the page that is open, and waits for the first figures of `view`.
fn sign_in(tab: &mut Tab<'_>, api_key: &str, view: &str) -> Result<()> {
    tab.type_into("#api-key", api_key)?;
    tab.press("#sign-in button")?;
    is_drawn(tab, view)
}

/// Goes to a view by its link.
fn go_to(tab: &mut Tab<'_>, view: &str) -> Result<()> {
    tab.press(&format!("#views a[href='#/{view}']"))?;
    is_drawn(tab, view)
}

/// Waits until a view shows what it asks for.
fn is_drawn(tab: &mut Tab<'_>, view: &str) -> Result<()> {
    let drawn = match view {
        "overview" => "['rate-rx', 'today-bytes', 'month-bytes'].every((id) => /[0-9]/.test(document.getElementById(id)?.textContent))
            && document.querySelectorAll('svg').length === 3
            && [...document.querySelectorAll('svg')].every((svg) => svg.childElementCount > 2)
            && document.querySelector('#top-keys li') !== null",
        "keys" => "/^[0-9]/.test(document.getElementById('key-count')?.textContent)",
        "events" => "document.querySelector('table.events tbody tr') !== null",
        "system" => "document.querySelector('#checks li') !== null && document.querySelector('#host-cpu .number').textContent !== '–'
            && document.querySelectorAll('ul.lines .badge').length >= 6",
        other => anyhow::bail!("there is no view {other}"),
    };
    tab.wait_for(&format!("{view} is drawn"), drawn)
}

/// Nothing was asked of anybody but this server.
fn asked_nobody_else(tab: &mut Tab<'_>) -> Result<()> {
    let own = [
        origin() + "/",
        format!("blob:{}/", origin()),
        "data:".to_owned(),
        "about:blank".to_owned(),
    ];
    let requests = tab.requests();
    ensure!(!requests.is_empty(), "nothing was asked at all");
    let others: Vec<&String> = requests
        .iter()
        .filter(|request| !own.iter().any(|own| request.starts_with(own.as_str())))
        .collect();
    ensure!(others.is_empty(), "{others:#?}");
    Ok(())
}

/// Nothing was wrong but what these words are in.
fn complained_only_of(tab: &mut Tab<'_>, words: &[&str]) -> Result<()> {
    let others: Vec<&String> = tab
        .complaints()
        .iter()
        .filter(|complaint| !words.iter().any(|word| complaint.contains(word)))
        .collect();
    ensure!(others.is_empty(), "{others:#?}");
    Ok(())
}

/// How wide the page is, in CSS pixels.
fn width(tab: &mut Tab<'_>) -> Result<u64> {
    let width = tab.evaluate("document.scrollingElement.scrollWidth")?;
    Ok(width.as_u64().unwrap_or(u64::MAX))
}
