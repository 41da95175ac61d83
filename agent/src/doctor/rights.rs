//! What this process may do, and so what the doctor could see.

use super::Finding;
use crate::rights::MissingRights;

pub(super) fn check(rights: Result<(), MissingRights>) -> Finding {
    match rights {
        Ok(()) => Finding::ok("rights", "BPF programs may be loaded and attached here"),
        Err(missing) => Finding::error(
            "rights",
            missing.to_string(),
            "run `portmeter doctor` as root, or as the agent's user with the agent's capabilities; without them most \
             of the kernel's side cannot be seen",
        ),
    }
}
