//! What `vnstat --json` prints: an interface's totals, months and days, of which all go to one key.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ImportError;
use super::fields::Count;
use super::json;
use super::plan::{Figures, ImportPlan, ImportedHistory, Owner, Skipped};
use super::source::{File, Options};
use crate::calendar::{Day, Month};

/// The format of vnStat 2; the one of vnStat 1 counts in KiB.
const JSON_VERSION: &str = "2";

#[derive(Deserialize)]
struct Export {
    jsonversion: String,
    #[serde(default)]
    interfaces: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Whole {
    interfaces: Vec<Interface>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    created: Option<Created>,
    traffic: Traffic,
}

#[derive(Deserialize)]
struct Created {
    date: Date,
}

#[derive(Deserialize)]
struct Traffic {
    total: Bytes,
    #[serde(default)]
    day: Vec<Entry>,
    #[serde(default)]
    month: Vec<Entry>,
    #[serde(default)]
    fiveminute: Vec<IgnoredAny>,
    #[serde(default)]
    hour: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Bytes {
    rx: Count,
    tx: Count,
}

#[derive(Deserialize)]
struct Entry {
    date: Date,
    rx: Count,
    tx: Count,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Date {
    year: i32,
    month: u32,
    #[serde(default = "first")]
    day: u32,
}

fn first() -> u32 {
    1
}

/// Adds the interface of a file.
pub(super) fn read(file: &File<'_>, options: &Options, plan: &mut ImportPlan) -> Result<(), ImportError> {
    let interface = only_interface(file)?;
    let Some(key) = options.key else {
        return Err(ImportError::KeyNeeded {
            file: file.name.to_owned(),
            interface: interface.name,
        });
    };
    let mut days = BTreeMap::new();
    let mut months = BTreeMap::new();
    let mut day_sums = BTreeMap::<Month, Figures>::new();
    for (place, entry) in interface.traffic.day.iter().enumerate() {
        let field = format!("interfaces[0].traffic.day[{place}].date");
        let day = Day::of(date(file, &field, entry.date)?);
        insert(file, &field, &mut days, day, figures(entry.rx, entry.tx))?;
        day_sums
            .entry(day.month())
            .or_default()
            .add(&figures(entry.rx, entry.tx));
    }
    for (place, entry) in interface.traffic.month.iter().enumerate() {
        let field = format!("interfaces[0].traffic.month[{place}].date");
        let month = Month::of(date(file, &field, entry.date)?);
        insert(file, &field, &mut months, month, figures(entry.rx, entry.tx))?;
    }
    // vnStat writes days and months in one step, but a database can be edited and a file cut: a whole is never less than
    // its parts.
    for (month, sum) in day_sums {
        let figures = months.entry(month).or_default();
        *figures = figures.at_least(&sum);
    }
    let stated = figures(interface.traffic.total.rx, interface.traffic.total.tx);
    let total = stated.at_least(&Figures::sum(months.values()));
    total.check(file, "interfaces[0].traffic")?;

    days.retain(|_, figures| *figures != Figures::default());
    months.retain(|_, figures| *figures != Figures::default());
    let n_fine = interface.traffic.hour.len() + interface.traffic.fiveminute.len();
    if n_fine > 0 {
        plan.skipped.push(Skipped {
            file: file.name.to_owned(),
            what: format!("{n_fine} hours and five minutes of {}", interface.name),
            reason: "only days, months and the total are imported".to_owned(),
        });
    }
    plan.histories.push(ImportedHistory {
        owner: Owner::Named(key),
        name: interface.name.clone(),
        source: source(file, &interface)?,
        days,
        months,
        total,
        last_activity: None,
    });
    Ok(())
}

/// Names a database of vnStat: made anew, an interface counts other bytes than before.
fn source(file: &File<'_>, interface: &Interface) -> Result<String, ImportError> {
    let name = &interface.name;
    match &interface.created {
        None => Ok(format!("vnstat {name}")),
        Some(created) => {
            let since = date(file, "interfaces[0].created.date", created.date)?;
            Ok(format!("vnstat {name} since {since}"))
        }
    }
}

fn only_interface(file: &File<'_>) -> Result<Interface, ImportError> {
    let export: Export = json::parse(file)?;
    let broken = |place: &str, what: String| ImportError::Broken {
        file: file.name.to_owned(),
        place: format!("at {place}"),
        what,
    };
    if export.jsonversion != JSON_VERSION {
        let what = format!(
            "version {} of the format is not known, only {JSON_VERSION}, which vnStat 2 writes",
            export.jsonversion.escape_debug()
        );
        return Err(broken("jsonversion", what));
    }
    if export.interfaces.len() != 1 {
        let names = export.interfaces.iter().map(|one| one["name"].as_str().unwrap_or("?"));
        let names: Vec<_> = names.collect();
        let what = format!(
            "there are {} interfaces ({}), and one key gets one: choose with `vnstat -i NAME --json`",
            names.len(),
            names.join(", ").escape_debug()
        );
        return Err(broken("interfaces", what));
    }
    let whole: Whole = json::parse(file)?;
    let interface = whole.interfaces.into_iter().next();
    interface.ok_or_else(|| broken("interfaces", "there is none".to_owned()))
}

fn figures(rx: Count, tx: Count) -> Figures {
    Figures {
        rx_bytes: rx.rounded(),
        tx_bytes: tx.rounded(),
        ..Figures::default()
    }
}

fn date(file: &File<'_>, field: &str, date: Date) -> Result<NaiveDate, ImportError> {
    let Date { year, month, day } = date;
    let found = NaiveDate::from_ymd_opt(year, month, day).filter(|_| (1970..=9999).contains(&year));
    found.ok_or_else(|| ImportError::Broken {
        file: file.name.to_owned(),
        place: format!("at {field}"),
        what: format!("year {year}, month {month}, day {day} is no date between 1970 and 9999"),
    })
}

fn insert<T: Ord + Copy + std::fmt::Display>(
    file: &File<'_>,
    field: &str,
    periods: &mut BTreeMap<T, Figures>,
    period: T,
    figures: Figures,
) -> Result<(), ImportError> {
    match periods.insert(period, figures) {
        None => Ok(()),
        Some(_) => Err(ImportError::Broken {
            file: file.name.to_owned(),
            place: format!("at {field}"),
            what: format!("{period} is there twice"),
        }),
    }
}
