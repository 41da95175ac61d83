//! The files of the old server: `keys.json`, `ports.json`, `traffic_history.json`.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::error::ImportError;
use super::fields::{Count, FileName, FilePort, FileTime, SumRounding, moment};
use super::json;
use super::plan::{Figures, ImportPlan, ImportedHistory, ImportedKey, Owner, Skipped};
use super::source::{File, Options};
use crate::calendar::Day;
use crate::xray::reality::Identity;

/// Names the old server's history among the sources of a key. A key's uuid says which of its keys is meant.
const SOURCE: &str = "traffic_history.json";

#[derive(Deserialize)]
struct FileKey {
    id: Option<String>,
    name: FileName,
    uuid: Uuid,
    created_at: Option<FileTime>,
    #[serde(default = "enabled")]
    is_active: bool,
    port: Option<FilePort>,
    short_id: Option<String>,
}

fn enabled() -> bool {
    true
}

/// Adds the keys of `keys.json`.
pub(super) fn read_keys(file: &File<'_>, options: &Options, plan: &mut ImportPlan) -> Result<(), ImportError> {
    let keys: Vec<FileKey> = json::parse(file)?;
    let (mut ids, mut uuids) = (HashSet::new(), HashSet::new());
    for (place, key) in keys.into_iter().enumerate() {
        if !uuids.insert(key.uuid) {
            return Err(ImportError::Broken {
                file: file.name.to_owned(),
                place: format!("at [{place}].uuid"),
                what: format!("{} is the uuid of an earlier key, too", key.uuid),
            });
        }
        let created_at = utc(key.created_at, file, options, || format!("[{place}].created_at"))?;
        let id = key.id.as_deref().and_then(|id| Uuid::parse_str(id).ok());
        let id = id.filter(|id| *id != key.uuid && ids.insert(*id));
        if id.is_none() && key.id.is_some() {
            skip(
                plan,
                file,
                format!("id of {}", key.name.0),
                "it is no uuid of its own: the key gets a new id",
            );
        }
        let short_id = key.short_id.as_deref().map(str::parse);
        if matches!(short_id, Some(Err(_))) {
            skip(
                plan,
                file,
                format!("short_id of {}", key.name.0),
                "it is not pairs of hexadecimal digits, at most 16: hand out its new link",
            );
        }
        let identity = short_id.and_then(Result::ok).map(|short_id| Identity {
            short_id: Some(short_id),
            ..Identity::default()
        });
        plan.keys.push(ImportedKey {
            id,
            uuid: key.uuid,
            name: key.name.0,
            is_active: key.is_active,
            created_at,
            port: key.port.map(|port| port.0),
            shares_port: false,
            identity,
        });
    }
    Ok(())
}

#[derive(Deserialize)]
struct PortsFile {
    port_assignments: BTreeMap<Uuid, Assignment>,
}

#[derive(Deserialize)]
struct Assignment {
    port: FilePort,
    key_name: Option<String>,
}

/// Gives the plan's keys the ports of `ports.json`, which is what the old server goes by.
pub(super) fn read_ports(file: &File<'_>, plan: &mut ImportPlan) -> Result<(), ImportError> {
    let mut assignments = json::parse::<PortsFile>(file)?.port_assignments;
    for key in &mut plan.keys {
        if let Some(assignment) = assignments.remove(&key.uuid) {
            key.port = Some(assignment.port.0);
        }
    }
    for (uuid, assignment) in assignments {
        let whose = assignment.key_name.unwrap_or_else(|| uuid.to_string());
        let what = format!("port {} of {whose}", assignment.port.0);
        skip(plan, file, what, "its key is not among the keys to import");
    }
    Ok(())
}

#[derive(Deserialize)]
struct HistoryFile {
    keys_history: BTreeMap<Uuid, FileHistory>,
    #[serde(default)]
    daily_stats: BTreeMap<FileDay, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct FileHistory {
    #[serde(default)]
    key_name: String,
    last_activity: Option<FileTime>,
    total_traffic: FileTotal,
    #[serde(default)]
    daily_traffic: BTreeMap<FileDay, FileFigures>,
}

#[derive(Deserialize)]
struct FileTotal {
    total_bytes: Count,
    rx_bytes: Count,
    tx_bytes: Count,
    #[serde(default)]
    total_connections: Count,
}

#[derive(Deserialize)]
struct FileFigures {
    total_bytes: Count,
    rx_bytes: Count,
    tx_bytes: Count,
    #[serde(default)]
    max_connections: Count,
    #[serde(default)]
    sessions: Count,
}

/// A date as a name in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FileDay(Day);

impl<'de> Deserialize<'de> for FileDay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unreadable = |error| serde::de::Error::custom(format!("\"{}\" is no date: {error}", text.escape_debug()));
        text.parse().map(Self).map_err(unreadable)
    }
}

/// Adds the histories of `traffic_history.json`.
pub(super) fn read_history(file: &File<'_>, options: &Options, plan: &mut ImportPlan) -> Result<(), ImportError> {
    let HistoryFile {
        keys_history,
        daily_stats,
    } = json::parse(file)?;
    for (uuid, history) in keys_history {
        let history = imported(file, options, uuid, history, plan)?;
        plan.histories.push(history);
    }
    if !daily_stats.is_empty() {
        let what = format!("daily_stats of {} day(s)", daily_stats.len());
        skip(
            plan,
            file,
            what,
            "days of all keys together are the sums of the keys' days",
        );
    }
    Ok(())
}

fn imported(
    file: &File<'_>,
    options: &Options,
    uuid: Uuid,
    history: FileHistory,
    plan: &mut ImportPlan,
) -> Result<ImportedHistory, ImportError> {
    let whose = if history.key_name.is_empty() {
        uuid.to_string()
    } else {
        history.key_name
    };
    let mut days = BTreeMap::new();
    let (mut rx_rounding, mut tx_rounding) = (SumRounding::default(), SumRounding::default());
    for (day, figures) in history.daily_traffic {
        let day_figures = Figures {
            rx_bytes: rx_rounding.next(figures.rx_bytes),
            tx_bytes: tx_rounding.next(figures.tx_bytes),
            max_connections: figures.max_connections.rounded(),
            sessions: figures.sessions.rounded(),
        };
        note_other_total(
            plan,
            file,
            &format!("{} of {whose}", day.0),
            figures.total_bytes,
            &day_figures,
        );
        if day_figures != Figures::default() {
            days.insert(day.0, day_figures);
        }
    }
    let stated = Figures {
        rx_bytes: history.total_traffic.rx_bytes.rounded(),
        tx_bytes: history.total_traffic.tx_bytes.rounded(),
        max_connections: history.total_traffic.total_connections.rounded(),
        sessions: 0,
    };
    note_other_total(
        plan,
        file,
        &format!("total_traffic of {whose}"),
        history.total_traffic.total_bytes,
        &stated,
    );
    let total = stated.at_least(&Figures::sum(days.values()));
    if total.total_bytes() > stated.total_bytes() {
        skip(
            plan,
            file,
            format!("total_traffic of {whose}"),
            "its days add up to more: the total is their sum",
        );
    }
    total.check(file, &format!("keys_history.{uuid}"))?;
    Ok(ImportedHistory {
        owner: Owner::Uuid(uuid),
        name: whose,
        source: SOURCE.to_owned(),
        days,
        months: BTreeMap::new(),
        total,
        last_activity: utc(history.last_activity, file, options, || {
            format!("keys_history.{uuid}.last_activity")
        })?,
    })
}

/// Rounding moves a sum by a byte; more is a total that says something else.
fn note_other_total(plan: &mut ImportPlan, file: &File<'_>, what: &str, stated: Count, figures: &Figures) {
    let (stated, sum) = (stated.rounded(), figures.total_bytes());
    if stated.abs_diff(sum) > 2 {
        let reason = format!("it is {stated}, but rx_bytes and tx_bytes are {sum} together: these are taken");
        skip(plan, file, format!("total_bytes of {what}"), &reason);
    }
}

fn utc(
    time: Option<FileTime>,
    file: &File<'_>,
    options: &Options,
    field: impl Fn() -> String,
) -> Result<Option<DateTime<Utc>>, ImportError> {
    match (time, options.time_zone) {
        (None, _) => Ok(None),
        (Some(FileTime::Zoned(at)), _) => Ok(Some(at)),
        (Some(FileTime::Local(at)), Some(zone)) => Ok(Some(moment(zone, at))),
        (Some(FileTime::Local(at)), None) => Err(ImportError::TimeZoneNeeded {
            file: file.name.to_owned(),
            time: at.format("%Y-%m-%dT%H:%M:%S").to_string(),
            field: field(),
        }),
    }
}

fn skip(plan: &mut ImportPlan, file: &File<'_>, what: impl Into<String>, reason: &str) {
    plan.skipped.push(Skipped {
        file: file.name.to_owned(),
        what: what.into(),
        reason: reason.to_owned(),
    });
}
