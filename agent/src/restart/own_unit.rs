//! The systemd unit that this agent is, where it is one.
//!
//! A process may be found in the cgroup of a unit that has only started it, cron's for example. So systemd has to say that
//! this very process is the unit's main one, in this very run of it.

use std::time::Duration;

use crate::xray::core::Unit;
use crate::xray::core::unit::{self, UnitState};

/// What systemd gives the processes of a run of a unit.
const INVOCATION_VARIABLE: &str = "INVOCATION_ID";

/// How long systemd may take to say what a unit is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The unit whose main process this is; `None` where systemd does not run it, or cannot be asked.
pub async fn own_unit() -> Option<Unit> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let unit = unit_of(&cgroups)?;
    let invocation = std::env::var(INVOCATION_VARIABLE).ok()?;
    let state = tokio::time::timeout(PATIENCE, unit::look(&unit)).await.ok()?.ok()?;
    is_main(&state, std::process::id(), &invocation).then_some(unit)
}

/// The system's service that a process is in, by `/proc/<pid>/cgroup` (`cgroups(7)`). A user's own services belong to
/// another systemd.
fn unit_of(cgroups: &str) -> Option<Unit> {
    let paths = cgroups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        (controllers.is_empty() || controllers == "name=systemd").then_some(path)
    });
    let mut units = paths.filter_map(|path| {
        let mut parts = path.split('/');
        if parts.clone().any(|part| part.starts_with("user@")) {
            return None;
        }
        parts.rfind(|part| part.ends_with(".service"))?.parse().ok()
    });
    units.next()
}

fn is_main(state: &UnitState, process_id: u32, invocation: &str) -> bool {
    state.process_id == Some(process_id) && !invocation.is_empty() && state.invocation_id == invocation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_where_systemd_puts_its_processes() {
        for (cgroups, expected) in [
            ("0::/system.slice/portmeter.service\n", Some("portmeter.service")),
            (
                "0::/system.slice/system-portmeter.slice/portmeter@a.service",
                Some("portmeter@a.service"),
            ),
            ("0::/system.slice/portmeter.service/sub", Some("portmeter.service")),
            (
                "12:cpu:/x.service\n1:name=systemd:/system.slice/a.service\n0::/",
                Some("a.service"),
            ),
            ("0::/user.slice/user-0.slice/session-1.scope", None),
            (
                "0::/user.slice/user-7.slice/user@7.service/app.slice/portmeter.service",
                None,
            ),
            ("0::/../../system.slice/a b.service", None),
            ("0::/", None),
            ("", None),
            ("garbage", None),
        ] {
            assert_eq!(
                unit_of(cgroups).map(|unit| unit.to_string()).as_deref(),
                expected,
                "{cgroups}"
            );
        }
    }

    #[test]
    fn only_the_main_process_of_this_run_is_the_unit() {
        let state = UnitState {
            process_id: Some(7),
            invocation_id: "5c".to_owned(),
            ..UnitState::default()
        };
        assert!(is_main(&state, 7, "5c"));
        assert!(!is_main(&state, 8, "5c"), "one that the unit has started");
        assert!(!is_main(&state, 7, "5d"), "an earlier run");
        assert!(!is_main(
            &UnitState {
                process_id: Some(7),
                ..UnitState::default()
            },
            7,
            ""
        ));
        assert!(
            !is_main(&UnitState::default(), 7, "5c"),
            "a unit that systemd does not know"
        );
    }
}
