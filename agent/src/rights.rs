//! What the agent may do, asked before anything is touched.

use caps::{CapSet, Capability, has_cap};

/// The process lacks what loading BPF programs takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("loading BPF programs is not allowed here (missing {0}): run it as root, for example with sudo")]
pub struct MissingRights(String);

/// Whether BPF programs can be loaded and attached: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or CAP_SYS_ADMIN in
/// place of the first and the last (`capabilities(7)`).
pub fn check() -> Result<(), MissingRights> {
    let has = |capability| has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let is_admin = has(Capability::CAP_SYS_ADMIN);
    let missing: Vec<String> = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON]
        .into_iter()
        .filter(|capability| !has(*capability) && (*capability == Capability::CAP_NET_ADMIN || !is_admin))
        .map(|capability| capability.to_string())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MissingRights(missing.join(", ")))
    }
}
