//! Which file is what, and all of them together as one plan.

use std::fmt;

use chrono_tz::Tz;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::error::ImportError;
use super::json;
use super::old_server;
use super::plan::ImportPlan;
use super::{vnstat, xray_config};

/// A file that was read.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its name, for people.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// What the files do not say themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The zone of times that have none.
    pub time_zone: Option<Tz>,
    /// The key, by id or uuid, that vnStat's figures belong to.
    pub key: Option<Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Keys,
    Ports,
    History,
    Vnstat,
    Xray,
}

/// A file's kind, by what is at its top: keys are a list, everything else is an object.
struct Shape(Option<Kind>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor).map(Self)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Option<Kind>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Kind>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Kind::Keys))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Option<Kind>, A::Error> {
        let mut kind = None;
        while let Some((name, _)) = object.next_entry::<String, IgnoredAny>()? {
            kind = kind.or(match name.as_str() {
                "keys_history" => Some(Kind::History),
                "port_assignments" => Some(Kind::Ports),
                "vnstatversion" => Some(Kind::Vnstat),
                "inbounds" => Some(Kind::Xray),
                _ => None,
            });
        }
        Ok(kind)
    }
}

fn kind(file: &File<'_>) -> Result<Kind, ImportError> {
    json::parse::<Shape>(file)?.0.ok_or_else(|| ImportError::UnknownKind {
        file: file.name.to_owned(),
    })
}

/// Reads files, each recognised by what is in it.
pub fn read(files: &[File<'_>], options: &Options) -> Result<ImportPlan, ImportError> {
    let mut plan = ImportPlan::default();
    let (mut keys, mut ports, mut history, mut xray) = (None, None, None, None);
    let mut uses_key = false;
    for file in files {
        match kind(file)? {
            Kind::Keys => once(&mut keys, file, "keys.json")?,
            Kind::Ports => once(&mut ports, file, "ports.json")?,
            Kind::History => once(&mut history, file, "traffic_history.json")?,
            Kind::Xray => once(&mut xray, file, "Xray configurations")?,
            Kind::Vnstat => {
                vnstat::read(file, options, &mut plan)?;
                uses_key = true;
            }
        }
    }
    if options.key.is_some() && !uses_key {
        return Err(ImportError::KeyUnused);
    }
    if let Some(file) = keys {
        old_server::read_keys(&file, options, &mut plan)?;
    }
    if let Some(file) = ports {
        old_server::read_ports(&file, &mut plan)?;
    }
    if let Some(file) = xray {
        xray_config::read(&file, &mut plan)?;
    }
    if let Some(file) = keys {
        xray_config::note_lone_short_ids(&file, &mut plan);
    }
    if let Some(file) = history {
        old_server::read_history(&file, options, &mut plan)?;
    }
    Ok(plan)
}

fn once<'a>(place: &mut Option<File<'a>>, file: &File<'a>, kind: &'static str) -> Result<(), ImportError> {
    match place.replace(*file) {
        None => Ok(()),
        Some(first) => Err(ImportError::Twice {
            first: first.name.to_owned(),
            second: file.name.to_owned(),
            kind,
        }),
    }
}
