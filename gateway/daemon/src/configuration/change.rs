//! What a configuration that was read again changes: some of it at once, the rest with the next start.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::reference::{self, Effect};

/// What comes of reading a configuration again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<T> {
    /// What is in force from now on: what ran, with everything new that can be taken over while it runs.
    pub next: T,
    /// The settings that differ and are in force from now on.
    pub applied: Vec<String>,
    /// Those that differ and take a restart.
    pub waiting: Vec<String>,
}

impl<T> Change<T> {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.waiting.is_empty()
    }
}

/// Compares what runs with what was read. [`reference`] knows which settings can change while a program runs.
///
/// Fails where a value has no text form, such as a path that is no UTF-8.
pub fn compare<T: Serialize + DeserializeOwned>(running: &T, read: &T) -> Result<Change<T>, serde_json::Error> {
    let (mut next, read) = (serde_json::to_value(running)?, serde_json::to_value(read)?);
    let (mut applied, mut waiting) = (Vec::new(), Vec::new());
    for (section, fields) in sections(&read) {
        for (name, value) in fields {
            let Some(present) = next.get_mut(section).and_then(|fields| fields.get_mut(name)) else {
                continue;
            };
            if present == value {
                continue;
            }
            let path = format!("{section}.{name}");
            match reference::find(&path).map(|known| known.effect) {
                Some(Effect::Reload) => {
                    present.clone_from(value);
                    applied.push(path);
                }
                _ => waiting.push(path),
            }
        }
    }
    Ok(Change {
        next: serde_json::from_value(next)?,
        applied,
        waiting,
    })
}

fn sections(settings: &Value) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let sections = settings.as_object().into_iter().flatten();
    sections.filter_map(|(section, fields)| Some((section, fields.as_object()?)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::log::LogConfig;

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Settings {
        log: LogConfig,
        agent: Agent,
    }

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Agent {
        instance: String,
    }

    #[test]
    fn some_of_it_is_taken_over_and_the_rest_waits() {
        let running = Settings::default();
        assert!(compare(&running, &running).unwrap().is_empty());
        let read = Settings {
            log: LogConfig {
                level: "debug".parse().unwrap(),
                ..LogConfig::default()
            },
            agent: Agent {
                instance: "other".to_owned(),
            },
        };
        let change = compare(&running, &read).unwrap();
        assert_eq!(change.applied, ["log.level"]);
        assert_eq!(change.waiting, ["agent.instance"]);
        assert_eq!(change.next.log, read.log);
        assert_eq!(change.next.agent, running.agent);
    }
}
