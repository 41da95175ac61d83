//! Where the configuration comes from: defaults, a TOML file, the environment. Flags are each program's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Serialized, Toml};
use figment::{Figment, Profile};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::place::{line_at, line_of};
use super::problem::{ConfigError, Invalid, Place, Problem, sentence};

/// Where the configuration file is looked for when none is named; it need not exist there.
pub const DEFAULT_FILE: &str = "/etc/portmeter/portmeter.toml";

/// What variables of settings begin with: `PORTMETER_<SECTION>__<NAME>`.
const PREFIX: &str = "PORTMETER_";

/// A short name for one of them.
const SHORT_NAME: (&str, &str) = ("PORTMETER_LOG", "log.level");

/// What file and environment say.
#[derive(Debug)]
pub struct Sources {
    path: PathBuf,
    file: Option<File>,
    /// By dotted name.
    variables: BTreeMap<String, Variable>,
}

#[derive(Debug)]
struct File {
    text: String,
    table: toml::Table,
}

#[derive(Debug)]
struct Variable {
    name: String,
    value: String,
}

impl Sources {
    /// Reads the file and the environment. `named` is what the command line names and then has to be there; `environment`
    /// is the process's, of which names that no setting can have are passed over.
    pub fn read(
        named: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
        let text = file_text(&path, named.is_some())?;
        let file = text.map(|text| parse(&path, text)).transpose()?;
        Ok(Self {
            path,
            file,
            variables: variables(environment)?,
        })
    }

    /// The settings of a program, or everything that is wrong with them.
    pub fn extract<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut whole = Figment::new();
        if let Some(file) = &self.file {
            whole = whole.merge(Toml::string(&file.text));
        }
        for (setting, variable) in &self.variables {
            whole = whole.merge(one(setting, &variable.value));
        }
        let first = match whole.extract() {
            Ok(settings) => return Ok(settings),
            Err(first) => first,
        };
        // serde stops at the first one; each setting by itself tells the others.
        let alone = self.settings().filter_map(|one| one.extract::<T>().err());
        let mut errors: Vec<figment::Error> = alone.collect();
        if errors.is_empty() {
            errors.push(first);
        }
        Err(self.unreadable(&errors))
    }

    /// Says of values that cannot be meant where they were set.
    pub fn refuse(&self, invalid: Vec<Invalid>) -> ConfigError {
        let problems = invalid.into_iter().map(|Invalid { setting, sentence }| Problem {
            place: self.place(&setting),
            sentence,
        });
        ConfigError::wrong(problems.collect())
    }

    fn unreadable(&self, errors: &[figment::Error]) -> ConfigError {
        let problems = errors.iter().flat_map(figment::Error::clone).map(|error| {
            let (setting, sentence) = sentence(&error);
            Problem {
                place: self.place(&setting),
                sentence,
            }
        });
        ConfigError::wrong(problems.collect())
    }

    /// The source that wins.
    fn place(&self, setting: &str) -> Option<Place> {
        if let Some(variable) = self.variables.get(setting) {
            return Some(Place::Variable(variable.name.clone()));
        }
        // An unknown section has no value of its own.
        let below = format!("{setting}.");
        let within = self.variables.iter().find(|(name, _)| name.starts_with(&below));
        let line = self.file.as_ref().and_then(|file| line_of(&file.text, setting));
        match (line, within) {
            (Some(line), _) => Some(Place::File {
                path: self.path.clone(),
                line: Some(line),
            }),
            (None, Some((_, variable))) => Some(Place::Variable(variable.name.clone())),
            (None, None) => None,
        }
    }

    /// Every setting that is set, each as if it were the only one.
    fn settings(&self) -> impl Iterator<Item = Figment> {
        let sections = self.file.iter().flat_map(|file| &file.table);
        let in_file = sections.flat_map(|(section, value)| match value {
            toml::Value::Table(fields) if !fields.is_empty() => fields
                .iter()
                .filter(|(name, _)| !self.variables.contains_key(&format!("{section}.{name}")))
                .map(|(name, value)| Figment::new().merge(one(&format!("{section}.{name}"), value)))
                .collect::<Vec<_>>(),
            value => vec![Figment::new().merge(one(section, value))],
        });
        let in_environment = self
            .variables
            .iter()
            .map(|(setting, variable)| Figment::new().merge(one(setting, &variable.value)));
        in_file.chain(in_environment)
    }
}

/// The file's text; a file that nobody named need not be there.
fn file_text(path: &Path, is_named: bool) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => Ok(None),
        Err(source) => Err(ConfigError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// What is no TOML is told with its line.
fn parse(path: &Path, text: String) -> Result<File, ConfigError> {
    match toml::from_str(&text) {
        Ok(table) => Ok(File { text, table }),
        Err(error) => {
            let line = error.span().map(|span| line_at(&text, span.start));
            Err(ConfigError::Wrong(vec![Problem {
                place: Some(Place::File {
                    path: path.to_owned(),
                    line,
                }),
                sentence: error.message().replace('\n', ", "),
            }]))
        }
    }
}

/// Settings of the environment by dotted name, for example `http.listen`.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, Variable>, ConfigError> {
    let mut found = BTreeMap::new();
    let mut short = None;
    for (name, value) in environment {
        let Some(name) = name.to_str() else { continue };
        let setting = match name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) {
            Some((section, field)) => format!("{section}.{field}").to_lowercase(),
            None if name == SHORT_NAME.0 => SHORT_NAME.1.to_owned(),
            None => continue,
        };
        let value = value.into_string().map_err(|_| {
            ConfigError::Wrong(vec![Problem {
                place: Some(Place::Variable(name.to_owned())),
                sentence: "it is not valid UTF-8".to_owned(),
            }])
        })?;
        let variable = Variable {
            name: name.to_owned(),
            value,
        };
        match name == SHORT_NAME.0 {
            true => short = Some(variable),
            false => drop(found.insert(setting, variable)),
        }
    }
    if let Some(variable) = short {
        found.entry(SHORT_NAME.1.to_owned()).or_insert(variable);
    }
    Ok(found)
}

/// A value under a dotted name of one part or two.
fn one<T: Serialize>(setting: &str, value: T) -> Serialized<BTreeMap<String, Nested<T>>> {
    let (section, nested) = match setting.split_once('.') {
        Some((section, field)) => (section, Nested::Field(BTreeMap::from([(field.to_owned(), value)]))),
        None => (setting, Nested::Itself(value)),
    };
    Serialized::from(BTreeMap::from([(section.to_owned(), nested)]), Profile::Default)
}

/// What stands under a section's name.
#[derive(Serialize)]
#[serde(untagged)]
enum Nested<T> {
    Field(BTreeMap<String, T>),
    Itself(T),
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::configuration::text;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        http: Http,
        ledger: Ledger,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Http {
        listen: Option<std::net::SocketAddr>,
        #[serde(deserialize_with = "text::list")]
        names: Vec<String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Ledger {
        #[serde(deserialize_with = "text::parsed")]
        days: u32,
    }

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        Sources::read(Some(&path), environment)?.extract()
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = read(
            "[http]\nnames = [\"a\", \"b\"]\n[ledger]\ndays = 7\n",
            &[("PORTMETER_LEDGER__DAYS", "8"), ("PORTMETER_API_KEY", "no setting")],
        )
        .unwrap();
        assert_eq!((settings.http.names.len(), settings.ledger.days), (2, 8));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let text = "[http]\n\nlisten = \"nowhere\"\nport = 1\n[ledgr]\n[ledger]\ndays = \"many\"\n";
        let error = read(text, &[("PORTMETER_HTTP__NAME", "x")]).unwrap_err();
        let sentences = error.sentences();
        let has = |part: &str| sentences.iter().any(|sentence| sentence.contains(part));
        assert!(has("settings.toml, line 3: `http.listen`: "), "{sentences:#?}");
        assert!(
            has("settings.toml, line 4: `http.port`: there is no such setting"),
            "{sentences:#?}"
        );
        assert!(
            has("settings.toml, line 5: `ledgr`: there is no such section; did you mean [ledger]?"),
            "{sentences:#?}"
        );
        assert!(
            has("settings.toml, line 7: `ledger.days`: \"many\" cannot be used"),
            "{sentences:#?}"
        );
        let variable = "environment variable PORTMETER_HTTP__NAME: `http.name`: there is no such setting; did you mean \
                        `http.names`?";
        assert!(has(variable), "{sentences:#?}");
        assert_eq!(sentences.len(), 5, "{sentences:#?}");
        assert!(
            sentences.iter().all(|sentence| !sentence.contains('\n')),
            "{sentences:#?}"
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let error = read("[http]\n\n[ledger\n", &[]).unwrap_err().to_string();
        assert!(error.contains("settings.toml, line 3: "), "{error}");
    }

    #[test]
    fn the_level_has_a_short_name() {
        let named = |environment: &[(&str, &str)]| {
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
            let found = variables(environment).unwrap();
            found["log.level"].value.clone()
        };
        assert_eq!(named(&[("PORTMETER_LOG", "debug")]), "debug");
        let both = [("PORTMETER_LOG", "debug"), ("PORTMETER_LOG__LEVEL", "warn")];
        assert_eq!(named(&both), "warn");
    }
}
