//! Capabilities (`capabilities(7)`): which ones counting takes, and giving up all others.

use caps::{CapSet, Capability, CapsHashSet, has_cap};
use nix::sys::prctl;

/// What counting takes.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// The process lacks what loading BPF programs takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "loading BPF programs is not allowed here (missing {0}): run it as root, for example with sudo, or give its user \
     cap_bpf,cap_net_admin,cap_perfmon by `AmbientCapabilities=` in its systemd unit or by `setcap` on the program"
)]
pub struct MissingRights(String);

/// A capability could be neither read nor given up.
#[derive(Debug, thiserror::Error)]
#[error("the rights that are not needed cannot be given up: {0}")]
pub struct ReduceError(String);

impl ReduceError {
    /// The thread that was to do it has failed.
    pub(crate) fn of_thread() -> Self {
        Self("the thread that was to do it has failed".to_owned())
    }
}

/// What a process keeps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// In force at all times.
    effective: CapsHashSet,
    /// These, and what [`with_low_ports`] puts into force for a moment.
    permitted: CapsHashSet,
}

/// Whether BPF programs can be loaded and attached with the rights in force.
pub fn check() -> Result<(), MissingRights> {
    plan(&read(CapSet::Effective), false).map(drop)
}

/// What this process keeps of its rights.
pub(super) fn plan_here(needs_low_ports: bool) -> Result<Plan, MissingRights> {
    plan(&read(CapSet::Permitted), needs_low_ports)
}

/// CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON where those are not to be had: on kernels before 5.8, and
/// where only it was given.
fn plan(held: &CapsHashSet, needs_low_ports: bool) -> Result<Plan, MissingRights> {
    let is_admin = held.contains(&Capability::CAP_SYS_ADMIN);
    let (mut effective, mut missing) = (CapsHashSet::new(), Vec::new());
    for capability in NEEDED {
        if held.contains(&capability) {
            effective.insert(capability);
        } else if is_admin && capability != Capability::CAP_NET_ADMIN {
            effective.insert(Capability::CAP_SYS_ADMIN);
        } else {
            missing.push(capability.to_string());
        }
    }
    if !missing.is_empty() {
        return Err(MissingRights(missing.join(", ")));
    }
    let mut permitted = effective.clone();
    if needs_low_ports && held.contains(&Capability::CAP_NET_BIND_SERVICE) {
        permitted.insert(Capability::CAP_NET_BIND_SERVICE);
    }
    Ok(Plan { effective, permitted })
}

/// Gives up everything that is not in the plan, for this thread and those it starts. Programs it starts inherit
/// nothing: whoever starts one hands it what it needs.
pub(super) fn reduce(plan: &Plan) -> Result<(), ReduceError> {
    let failed = |error: caps::errors::CapsError| ReduceError(error.to_string());
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    // Leaving the bounding set takes a right that an ordinary user does not have; there the flag below does it.
    if has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        for capability in read(CapSet::Bounding).difference(&plan.permitted) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
        }
    }
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    // In this order: what is in force must be permitted at every step.
    caps::set(None, CapSet::Effective, &plan.effective).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &plan.permitted).map_err(failed)?;
    prctl::set_no_new_privs().map_err(|error| ReduceError(error.desc().to_lowercase()))
}

/// Asks something as this thread will be able to once it has given up the rest.
pub(super) fn with_only<T>(plan: &Plan, ask: impl FnOnce() -> T) -> Result<T, ReduceError> {
    let failed = |error: caps::errors::CapsError| ReduceError(error.to_string());
    let in_force = read(CapSet::Effective);
    caps::set(None, CapSet::Effective, &plan.effective).map_err(failed)?;
    let answer = ask();
    caps::set(None, CapSet::Effective, &in_force).map_err(failed)?;
    Ok(answer)
}

/// Does `bind` with the right to bind a low port in force, where this thread has kept it.
pub fn with_low_ports<T>(bind: impl FnOnce() -> T) -> T {
    let right = Capability::CAP_NET_BIND_SERVICE;
    let is_kept = has_cap(None, CapSet::Permitted, right).unwrap_or(false);
    let raised = is_kept && caps::raise(None, CapSet::Effective, right).is_ok();
    let result = bind();
    if raised && let Err(error) = caps::drop(None, CapSet::Effective, right) {
        tracing::warn!(%error, "the right to bind low ports stays in force");
    }
    result
}

/// Leaves this thread, and the program that it starts, no right but the one to bind low ports, and that only where it
/// is asked for and was kept. There is no way back, so the thread has to be one of its own.
///
/// A program that root starts would have whatever the bounding set has; that it gets no more than this thread has is
/// what the flag is for (`capabilities(7)`, `prctl(2)`).
pub fn leave_for_program(low_ports: bool) -> Result<(), ReduceError> {
    let failed = |error: caps::errors::CapsError| ReduceError(error.to_string());
    let right = Capability::CAP_NET_BIND_SERVICE;
    let is_left = low_ports && read(CapSet::Permitted).contains(&right);
    let left: CapsHashSet = is_left.then_some(right).into_iter().collect();
    prctl::set_no_new_privs().map_err(|error| ReduceError(error.desc().to_lowercase()))?;
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::set(None, CapSet::Inheritable, &left).map_err(failed)?;
    if is_left {
        caps::raise(None, CapSet::Ambient, right).map_err(failed)?;
    }
    caps::set(None, CapSet::Effective, &left).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &left).map_err(failed)
}

/// Has the program that takes this thread's place keep the rights that the thread has. An ordinary user's would be gone
/// otherwise; root's come back as far as the bounding set has them, which is just as far (`capabilities(7)`).
pub fn hand_on() -> Result<(), ReduceError> {
    let failed = |error: caps::errors::CapsError| ReduceError(error.to_string());
    let kept = read(CapSet::Permitted);
    caps::set(None, CapSet::Inheritable, &kept).map_err(failed)?;
    for capability in kept {
        caps::raise(None, CapSet::Ambient, capability).map_err(failed)?;
    }
    Ok(())
}

/// Whether this thread may bind low ports, or has kept the right to.
pub(super) fn may_bind_low_ports() -> bool {
    read(CapSet::Permitted).contains(&Capability::CAP_NET_BIND_SERVICE)
}

/// Whether binding a port takes a right.
pub fn is_low_port(port: u16) -> bool {
    // Port 0 stands for any free one.
    (1..first_unprivileged_port()).contains(&port)
}

/// The lowest port that anybody may bind (`ip(7)`).
pub(super) fn first_unprivileged_port() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// One of this thread's sets; what cannot be read is not there.
fn read(set: CapSet) -> CapsHashSet {
    caps::read(None, set).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(capabilities: &[Capability]) -> CapsHashSet {
        capabilities.iter().copied().collect()
    }

    #[test]
    fn keeps_what_counting_takes_and_nothing_else() {
        let plan = plan(&caps::all(), false).unwrap();
        assert_eq!(plan.effective, set(&NEEDED));
        assert_eq!(plan.permitted, set(&NEEDED));
    }

    #[test]
    fn the_right_to_low_ports_is_kept_in_reserve_where_it_is_needed_and_there() {
        let all = caps::all();
        let with = plan(&all, true).unwrap();
        assert_eq!(with.effective, set(&NEEDED));
        assert!(with.permitted.contains(&Capability::CAP_NET_BIND_SERVICE));
        assert_eq!(plan(&set(&NEEDED), true).unwrap().permitted, set(&NEEDED));
    }

    #[test]
    fn an_administrator_without_the_finer_rights_stays_one() {
        let held = set(&[
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_CHOWN,
        ]);
        let expected = set(&[Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN]);
        assert_eq!(plan(&held, false).unwrap().effective, expected);
    }

    #[test]
    fn names_what_is_missing() {
        let missing = plan(&set(&[Capability::CAP_BPF]), false).unwrap_err();
        assert_eq!(missing, MissingRights("CAP_NET_ADMIN, CAP_PERFMON".to_owned()));
        let missing = plan(&set(&[Capability::CAP_SYS_ADMIN]), false).unwrap_err();
        assert_eq!(missing, MissingRights("CAP_NET_ADMIN".to_owned()));
    }
}
