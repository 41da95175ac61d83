//! Who runs ahead of ours, and whether packets get past them.

use super::super::Finding;
use super::super::report::some_of;
use super::{Facts, Step, is_of_this_build};

/// How far what runs ahead of ours is to be feared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fear {
    /// It hands every packet on.
    None,
    /// It cannot be told whether it does.
    Unknown,
    /// It does not.
    Ends,
}

/// At egress a packet that is dropped ahead of ours was not sent, and is rightly not counted.
fn fear(facts: &Facts, step: &Step, is_ingress: bool) -> Fear {
    let Some(program) = step.program_id.and_then(|id| facts.loaded.get(&id)) else {
        return Fear::Unknown;
    };
    match program.endings {
        _ if is_of_this_build(facts, program) => Fear::None,
        None => Fear::Unknown,
        Some(endings) if endings.may_end_otherwise || (is_ingress && endings.may_drop) => Fear::Ends,
        Some(_) => Fear::None,
    }
}

/// `egress` is what runs ahead of ours there, and what runs from ours on.
pub(super) fn check_order(facts: &Facts, interface: &str, ingress: &[Step], egress: (&[Step], &[Step])) -> Finding {
    let name = format!("order {interface}");
    let (before, ours_and_after) = egress;
    let ahead: Vec<(&Step, bool)> = ingress
        .iter()
        .map(|step| (step, true))
        .chain(before.iter().map(|step| (step, false)))
        .collect();
    let feared = |level: Fear| -> Vec<String> {
        let at = |is_ingress: bool| if is_ingress { "ingress" } else { "egress" };
        ahead
            .iter()
            .filter(|(step, is_ingress)| fear(facts, step, *is_ingress) == level)
            .map(|(step, is_ingress)| format!("{} at {}", step.label, at(*is_ingress)))
            .collect()
    };
    let remedy = "see that it hands on what belongs to tracked ports (TCX_NEXT or TC_ACT_UNSPEC, −1; XDP_PASS), or \
                  attach it later in the chain; `portmeter uninstall` and a start put ours in their place anew";
    let (ending, unknown) = (feared(Fear::Ends), feared(Fear::Unknown));
    if !ending.is_empty() {
        let found = format!("ahead of ours, and may keep packets from it: {}", some_of(&ending));
        return Finding::error(name, found, remedy);
    }
    if !unknown.is_empty() {
        let found = format!(
            "ahead of ours, and whether packets always go on cannot be told: {}",
            some_of(&unknown)
        );
        return Finding::warning(name, found, remedy);
    }
    let after: Vec<&str> = ours_and_after.iter().skip(1).map(|step| step.label.as_str()).collect();
    let mut found = match ahead.len() {
        0 => "first at ingress".to_owned(),
        _ => format!(
            "all ahead of ours hand every packet on: {}",
            some_of(&feared(Fear::None))
        ),
    };
    found += &match after.as_slice() {
        [] => ", last at egress".to_owned(),
        after => format!(
            "; after ours at egress, where what is dropped has been counted: {}",
            some_of(after)
        ),
    };
    Finding::ok(name, found)
}
