//! The configuration and what is said of it: names, defaults, examples, and what a reload takes over, held against the types
//! that are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portmeter::config::{Config, Flags, load};
use portmeter_daemon::configuration::reference::{Effect, SETTINGS, Setting, Value, example_file, find};
use portmeter_daemon::configuration::{ConfigError, compare};
use portmeter_gateway::config::GatewaySettings;
use serde_json::Value as Json;

/// The configuration that a file with this text gives, without an environment.
fn read(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), text);
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    load(&flags, [])
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("portmeter.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Every setting's value by dotted name.
fn flat(settings: &impl serde::Serialize) -> BTreeMap<String, Json> {
    let settings = serde_json::to_value(settings).unwrap();
    let sections = settings.as_object().unwrap().iter();
    sections
        .flat_map(|(section, fields)| {
            let fields = fields.as_object().unwrap().iter();
            fields.map(move |(name, value)| (format!("{section}.{name}"), value.clone()))
        })
        .collect()
}

/// A file with these settings alone.
fn file(settings: &[(&str, &str)]) -> String {
    let line = |(path, value): &(&str, &str)| {
        let (section, name) = path.split_once('.').unwrap();
        format!("{section}.{name} = {value}\n")
    };
    settings.iter().map(line).collect()
}

#[test]
fn the_reference_has_every_setting_and_no_other() {
    let declared: BTreeSet<String> = flat(&Config::default()).into_keys().collect();
    let told: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.path.to_owned()).collect();
    assert_eq!(declared, told);
    // What a gateway apart reads is a part of the same.
    let of_gateway: BTreeSet<String> = flat(&GatewaySettings::default()).into_keys().collect();
    assert!(of_gateway.is_subset(&told), "{of_gateway:#?}");
    assert_eq!(
        flat(&GatewaySettings::default())["http.listen"],
        flat(&Config::default())["http.listen"]
    );
}

#[test]
fn every_default_is_the_default() {
    let defaults: Vec<(&str, &str)> = SETTINGS
        .iter()
        .filter(|setting| matches!(setting.value, Value::Default(_)))
        .map(|setting| (setting.path, setting.value.text()))
        .collect();
    assert_eq!(read(&file(&defaults)).unwrap(), Config::default());
    for Setting { path, value, .. } in SETTINGS {
        let is_unset = flat(&Config::default())[*path] == Json::Null;
        assert_eq!(is_unset, matches!(value, Value::Unset { .. }), "{path}");
    }
}

/// The example file with every setting taken in. Certificates contradict TLS that is off, and nothing else does.
fn whole_example() -> Config {
    let file = example_file();
    let lines = file.lines().map(|line| match line.strip_prefix('#') {
        // Text stands behind a space.
        Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => setting,
        _ => line,
    });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    read(&text.replace("tls = \"off\"", "tls = \"files\"")).unwrap()
}

#[test]
fn the_example_file_is_a_configuration() {
    assert_eq!(read(&example_file()).unwrap(), Config::default());
    let config = whole_example();
    let examples = SETTINGS
        .iter()
        .filter(|setting| matches!(setting.value, Value::Unset { .. }));
    for setting in examples {
        assert_ne!(
            flat(&config)[setting.path],
            Json::Null,
            "{} has no example",
            setting.path
        );
    }
}

#[test]
fn what_is_read_can_be_written_and_read_again() {
    let config = whole_example();
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(serde_json::from_value::<Config>(written).unwrap(), config);
}

/// Each setting alone, given another value: taken over or named as waiting, as the reference says, and nothing else with it.
#[test]
fn a_reload_takes_over_what_it_is_said_to() {
    let others = [
        ("agent.data_dir", "\"/other\""),
        ("agent.instance", "\"other\""),
        ("capture.interfaces", "[\"eth0\", \"eth1\"]"),
        ("capture.ports", "\"20000-20009,30000\""),
        ("http.panel_auth", "\"open\""),
        ("ledger.commit_interval_seconds", "7"),
        ("ledger.time_zone", "\"Europe/Berlin\""),
        ("events.count_max", "2000"),
        ("xray.mode", "\"systemd\""),
        ("xray.server_names", "[\"a.example\", \"b.example\"]"),
        ("xray.reality_identity", "\"key\""),
        ("xray.stop_with_agent", "true"),
        ("panel.service", "\"panel.service\""),
        ("log.level", "\"debug\""),
        ("log.format", "\"json\""),
        ("gateway.agent", "\"unix:/a\""),
    ];
    let running = Config::default();
    for (path, value) in others {
        let read = read(&file(&[(path, value)])).unwrap();
        let change = compare(&running, &read).unwrap();
        let (applied, waiting) = (change.applied.clone(), change.waiting.clone());
        match find(path).unwrap().effect {
            Effect::Reload => {
                assert_eq!((applied, waiting), (vec![path.to_owned()], vec![]), "{path}");
                assert_eq!(change.next, read, "{path}");
            }
            Effect::Restart => {
                assert_eq!((applied, waiting), (vec![], vec![path.to_owned()]), "{path}");
                assert_eq!(change.next, running, "{path}");
            }
        }
    }
}

#[test]
fn every_setting_can_be_set_by_its_variable() {
    for setting in SETTINGS {
        let value: toml::Table = toml::from_str(&format!("value = {}", setting.value.text())).unwrap();
        let text = match &value["value"] {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(items) => items
                .iter()
                .filter_map(toml::Value::as_str)
                .collect::<Vec<_>>()
                .join(","),
            other => other.to_string(),
        };
        // Others that a certificate has to have beside it.
        let environment = [
            (setting.variable(), text),
            ("PORTMETER_HTTP__TLS".to_owned(), "files".to_owned()),
            ("PORTMETER_GRPC__TLS".to_owned(), "files".to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        let flags = Flags::default();
        if let Err(error) = load(&flags, environment) {
            // Whatever else is missing, this one was understood.
            let sentences = error.sentences();
            let blamed = format!("{}: `{}`:", setting.variable(), setting.path);
            assert!(
                !sentences.iter().any(|sentence| sentence.contains(&blamed)),
                "{sentences:#?}"
            );
        }
    }
}
