//! The pinned maps: complete, of this boot, namespace and ledger, with room, and what they could not attribute.

use super::Finding;
use super::report::some_of;
use super::store::Ledger;
use crate::config::PortSet;
use crate::kernel::Unattributed;
use crate::kernel::inspect::{Life, MapFacts, PinnedMaps};

/// Unattributed packets are worth a look when they are more than one in this many counted ones.
const WORTH_A_LOOK: u64 = 1_000;

/// The share of slots, in percent, above which new ports may soon find no room.
const NEARLY_FULL_PERCENT: usize = 90;

pub(super) fn check(maps: &PinnedMaps, ledger: &Ledger, configured: &PortSet) -> Vec<Finding> {
    if maps.present.is_empty() {
        return vec![Finding::warning(
            "maps",
            "nothing is pinned for this instance: it has not been started since this machine booted, or was uninstalled",
            "start it with `portmeter run`; name another with --instance",
        )];
    }
    if !maps.missing.is_empty() {
        return vec![Finding::error(
            "maps",
            format!("not pinned any more: {}", some_of(&maps.missing)),
            "restart the agent: it makes a new set, and what was counted since the last booking is lost",
        )];
    }
    let life = match &maps.life {
        Ok(life) => life,
        Err(why) => {
            let remedy = "run `portmeter doctor` as root or as the agent's user; if it does, `portmeter uninstall`";
            return vec![Finding::error("maps", why.clone(), remedy)];
        }
    };
    let mut findings = vec![check_life(life), check_ledger(life, ledger)];
    match &maps.facts {
        Ok(facts) => findings.extend([check_slots(facts, configured), check_unattributed(facts)]),
        Err(why) => findings.push(Finding::error(
            "counters",
            why.clone(),
            "restart the agent; if that does not help, `portmeter uninstall` and start again",
        )),
    }
    findings
}

fn check_life(life: &Life) -> Finding {
    let name = "maps";
    if life.layout_version != life.known_layout_version {
        return Finding::error(
            name,
            format!(
                "their layout is {}, this build reads {}",
                life.layout_version, life.known_layout_version
            ),
            "run the build that made them, or restart the agent with this one",
        );
    }
    if !life.is_of_this_namespace {
        return Finding::error(
            name,
            "they count another network namespace than this one",
            "run `portmeter doctor` where the agent runs (nsenter --net), or choose another --instance",
        );
    }
    if !life.is_of_this_boot {
        return Finding::error(
            name,
            "they say that they were made in an earlier boot, which pins do not outlive",
            "run `portmeter uninstall` and start again: the file system of pins was copied or restored",
        );
    }
    Finding::ok(name, format!("all are pinned; map life {}", life.id))
}

fn check_ledger(life: &Life, ledger: &Ledger) -> Finding {
    let name = "booking";
    let own = match &ledger.facts {
        Ok(Some(facts)) => facts.id,
        // What is wrong with the ledger itself is another finding.
        Err(_) => return Finding::ok(name, "not compared: the ledger cannot be read"),
        Ok(None) => None,
    };
    if own == Some(life.ledger_id) {
        return Finding::ok(name, "the counters are booked by this ledger");
    }
    Finding::error(
        name,
        format!(
            "the counters are booked by ledger {}, not by the one in {}",
            life.ledger_id,
            ledger.folder.display()
        ),
        "give the data folder that the agent works on with --data-dir; a start with another ledger takes the present \
         counters as its zero",
    )
}

fn check_slots(facts: &MapFacts, configured: &PortSet) -> Finding {
    let name = "slots";
    let capacity = facts.slot_capacity as usize;
    let used = facts.tracked.len() + facts.retired.len();
    let has_slot = |port: &u16| facts.tracked.contains(port) || facts.retired.contains(port);
    let new = configured.iter().filter(|port| !has_slot(port)).count();
    let found = format!(
        "{} ports are counted; {used} of {capacity} slots are in use",
        facts.tracked.len()
    );
    let remedy = "run `portmeter uninstall` (it books what was counted) and start again: the new maps fit the ports";
    if used + new > capacity {
        return Finding::error(name, format!("{found}, and {new} more are configured"), remedy);
    }
    if used * 100 > capacity * NEARLY_FULL_PERCENT {
        return Finding::warning(name, format!("{found}: new ports may find no room"), remedy);
    }
    let missing: Vec<u16> = configured.iter().filter(|port| !facts.tracked.contains(port)).collect();
    if !missing.is_empty() {
        return Finding::warning(
            name,
            format!("{found}; configured and not counted yet: {}", some_of(&missing)),
            "restart the agent: it reads the configuration at its start",
        );
    }
    Finding::ok(name, found)
}

fn check_unattributed(facts: &MapFacts) -> Finding {
    let name = "unattributed";
    let counted = facts.counted.rx_packets + facts.counted.tx_packets;
    let notable: Vec<&Unattributed> = facts
        .unattributed
        .iter()
        .filter(|row| is_notable(row, counted))
        .collect();
    let list = |rows: &[&Unattributed]| {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", row.packets, row.reason))
            .collect();
        rows.join(", ")
    };
    if let Some(row) = notable.iter().find(|row| row.reason == "slot_missing") {
        return Finding::error(
            name,
            format!(
                "{} packets of counted ports had no slot: the maps contradict each other",
                row.packets
            ),
            "run `portmeter uninstall` (it books what was counted) and start again",
        );
    }
    if !notable.is_empty() {
        return Finding::warning(
            name,
            format!(
                "packets that belong to no port, beside {counted} counted ones: {}",
                list(&notable)
            ),
            "`forwarded`: other hosts' packets with these port numbers pass through, which is no fault; the others: \
             capture them with tcpdump and see who sends them",
        );
    }
    let all: Vec<&Unattributed> = facts.unattributed.iter().filter(|row| row.packets > 0).collect();
    match all.as_slice() {
        [] => Finding::ok(name, format!("none, beside {counted} counted packets")),
        rows => Finding::ok(name, format!("few, beside {counted} counted packets: {}", list(rows))),
    }
}

/// Forwarded packets are somebody else's: many of them say that this host is a router, or that its addresses are not
/// known. Of the other reasons a few come from the wild.
fn is_notable(row: &Unattributed, counted: u64) -> bool {
    match row.reason {
        "slot_missing" => row.packets > 0,
        "forwarded" => row.packets > counted.max(WORTH_A_LOOK),
        _ => row.packets > 10 && row.packets > counted / WORTH_A_LOOK,
    }
}

#[cfg(test)]
mod tests;
