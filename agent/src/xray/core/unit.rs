//! Units of systemd, asked for through `systemctl`: the core's, the panel's front end's, the agent's own.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::CoreError;
use super::binary::find;
use super::command::run;
use super::text::reason;

/// A restart takes as long as the unit takes to stop: 90 s where nothing else is said, and then it is killed.
const DEADLINE: Duration = Duration::from_secs(120);

/// What is asked of a unit. When a service started is asked of its process.
const PROPERTIES: &str = "ActiveState,MainPID,NRestarts,InvocationID";

/// The name of a unit that may be given to `systemctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit(String);

/// The text is no name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`xray.service` is \"{0}\"; use the name of a systemd service, for example \"xray.service\"")]
pub struct InvalidUnit(String);

/// Why systemd did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemctlError {
    /// There is no systemd on this host, or not for this process.
    #[error("there is no systemctl here")]
    NotHere,
    /// It was asked and refused, or could not be asked; one sentence.
    #[error("{0}")]
    Failed(String),
}

impl From<SystemctlError> for CoreError {
    fn from(error: SystemctlError) -> Self {
        Self::Systemd(match error {
            SystemctlError::NotHere => {
                "there is no systemctl here: set `xray.mode` to \"supervised\" or \"none\"".to_owned()
            }
            SystemctlError::Failed(sentence) => sentence,
        })
    }
}

impl std::str::FromStr for Unit {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@-".contains(&byte);
        let name = text.strip_suffix(".service").unwrap_or_default();
        let is_name = !name.is_empty() && name.bytes().all(is_of_name);
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUnit(reason(text)))
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// systemd's word: `active`, `inactive`, `failed` and some more.
    pub active: String,
    /// Its main process.
    pub process_id: Option<u32>,
    /// How many times systemd has started it again.
    pub restart_count: u64,
    /// Names this run of it.
    pub invocation_id: String,
}

impl UnitState {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        ["active", "reloading"].contains(&self.active.as_str())
    }
}

/// Reads the answer of `systemctl show`.
fn parse(text: &str) -> UnitState {
    let mut state = UnitState::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "ActiveState" => state.active = value.trim().to_owned(),
            // 0 stands for none.
            "MainPID" => state.process_id = value.trim().parse().ok().filter(|id| *id != 0),
            "InvocationID" => value.trim().clone_into(&mut state.invocation_id),
            "NRestarts" => state.restart_count = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    state
}

/// What `systemctl` is called with.
fn arguments(words: &[&str], unit: &Unit) -> Vec<OsString> {
    let end = ["--", &unit.0];
    words.iter().chain(&end).map(OsString::from).collect()
}

/// How a unit is. One that systemd does not know is `inactive`.
pub async fn look(unit: &Unit) -> Result<UnitState, SystemctlError> {
    Ok(parse(&systemctl(&["show", "-p", PROPERTIES], unit).await?))
}

/// Has systemd do something with a unit and waits for it; what `systemctl` says.
pub async fn systemctl(words: &[&str], unit: &Unit) -> Result<String, SystemctlError> {
    let program = find(Path::new("systemctl")).map_err(|_| SystemctlError::NotHere)?;
    let output = run(&program, arguments(words, unit), Path::new("/"), DEADLINE).await;
    let output = output.map_err(|error| SystemctlError::Failed(error.to_string()))?;
    if output.status.success() {
        return Ok(output.text);
    }
    let said = reason(&output.text);
    Err(SystemctlError::Failed(format!(
        "systemctl {} {unit} has failed: {said}",
        words[0]
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_name_of_a_service_and_no_option() {
        for name in ["xray.service", "xray@main.service", "a:b_c.d-1.service"] {
            assert_eq!(name.parse::<Unit>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "xray",
            ".service",
            "xray.socket",
            "x y.service",
            "x;y.service",
            "../x.service",
            "ü.service",
        ] {
            let error = name.parse::<Unit>().unwrap_err().to_string();
            assert!(error.starts_with("`xray.service` is \""), "{error}");
        }
    }

    #[test]
    fn the_unit_stands_behind_all_options() {
        let unit: Unit = "-x.service".parse().unwrap();
        assert_eq!(arguments(&["restart"], &unit), ["restart", "--", "-x.service"]);
        assert_eq!(
            arguments(&["show", "-p", PROPERTIES], &unit),
            ["show", "-p", PROPERTIES, "--", "-x.service"]
        );
    }

    #[test]
    fn reads_what_systemd_says() {
        let state = parse("MainPID=812\nNRestarts=3\nActiveState=active\nOther=a=b\nInvocationID=5c\n");
        assert_eq!(
            state,
            UnitState {
                active: "active".to_owned(),
                process_id: Some(812),
                restart_count: 3,
                invocation_id: "5c".to_owned(),
            }
        );
        assert!(state.is_running());
        let state = parse("MainPID=0\nNRestarts=[not set]\nActiveState=failed\n");
        assert_eq!(
            (state.process_id, state.restart_count, state.is_running()),
            (None, 0, false)
        );
        assert!(!parse("").is_running());
        assert!(!parse("ActiveState=activating").is_running());
    }
}
