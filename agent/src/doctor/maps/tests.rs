//! The checks of the maps over made-up facts.

use std::path::PathBuf;

use uuid::Uuid;

use super::super::Level;
use super::*;
use crate::counters::Counter;
use crate::store::LedgerFacts;

fn ledger(id: u128) -> Ledger {
    Ledger {
        folder: PathBuf::from("/d"),
        facts: Ok(Some(LedgerFacts {
            id: Some(Uuid::from_u128(id)),
            schema_version: 1,
            known_schema_version: 1,
            last_written_at: None,
            key_ports: Vec::new(),
        })),
        is_folder_writable: Ok(()),
        free_bytes: None,
    }
}

fn maps(change: impl FnOnce(&mut Life, &mut MapFacts)) -> PinnedMaps {
    let mut life = Life {
        id: Uuid::from_u128(1),
        ledger_id: Uuid::from_u128(2),
        created_at_unix_seconds: 0,
        layout_version: 2,
        known_layout_version: 2,
        is_of_this_boot: true,
        is_of_this_namespace: true,
    };
    let mut facts = MapFacts {
        slot_capacity: 10,
        tracked: vec![1, 2],
        retired: Vec::new(),
        counted: Counter {
            rx_packets: 100_000,
            ..Counter::default()
        },
        unattributed: Vec::new(),
    };
    change(&mut life, &mut facts);
    PinnedMaps {
        present: vec!["port_slots"],
        missing: Vec::new(),
        life: Ok(life),
        facts: Ok(facts),
    }
}

fn bad(maps: &PinnedMaps, ledger: &Ledger) -> Vec<(String, Level)> {
    let findings = check(maps, ledger, &"1-2".parse().unwrap());
    let bad = findings.into_iter().filter(|finding| finding.level != Level::Ok);
    bad.map(|finding| (finding.name, finding.level)).collect()
}

fn one(change: impl FnOnce(&mut Life, &mut MapFacts)) -> Vec<(String, Level)> {
    bad(&maps(change), &ledger(2))
}

fn row(reason: &'static str, packets: u64) -> Unattributed {
    Unattributed {
        reason,
        packets,
        bytes: 0,
    }
}

#[test]
fn a_whole_set_is_well() {
    assert_eq!(one(|_, _| {}), []);
    assert_eq!(
        bad(&maps(|_, _| {}), &ledger(3)),
        [("booking".to_owned(), Level::Error)]
    );
}

#[test]
fn an_incomplete_set_is_wrong_and_none_at_all_is_not() {
    let mut set = maps(|_, _| {});
    set.missing = vec!["map_life"];
    assert_eq!(bad(&set, &ledger(2)), [("maps".to_owned(), Level::Error)]);
    set.present.clear();
    assert_eq!(bad(&set, &ledger(2)), [("maps".to_owned(), Level::Warning)]);
}

#[test]
fn a_life_must_be_of_this_boot_namespace_and_layout() {
    let wrong = [("maps".to_owned(), Level::Error)];
    assert_eq!(one(|life, _| life.is_of_this_boot = false), wrong);
    assert_eq!(one(|life, _| life.is_of_this_namespace = false), wrong);
    assert_eq!(one(|life, _| life.layout_version = 1), wrong);
}

#[test]
fn slots_must_suffice() {
    let level = |level| [("slots".to_owned(), level)];
    assert_eq!(
        one(|_, facts| facts.retired = (3..=10).collect()),
        level(Level::Warning)
    );
    let full = |_: &mut Life, facts: &mut MapFacts| {
        facts.slot_capacity = 2;
        facts.tracked = vec![1, 5];
    };
    assert_eq!(one(full), level(Level::Error));
    assert_eq!(one(|_, facts| facts.tracked = vec![1]), level(Level::Warning));
}

#[test]
fn unattributed_packets_are_weighed() {
    let level = |level| [("unattributed".to_owned(), level)];
    assert_eq!(
        one(|_, facts| facts.unattributed = vec![row("slot_missing", 1)]),
        level(Level::Error)
    );
    assert_eq!(
        one(|_, facts| facts.unattributed = vec![row("malformed", 101)]),
        level(Level::Warning)
    );
    assert_eq!(one(|_, facts| facts.unattributed = vec![row("malformed", 99)]), []);
    assert_eq!(one(|_, facts| facts.unattributed = vec![row("forwarded", 90_000)]), []);
    assert_eq!(
        one(|_, facts| facts.unattributed = vec![row("forwarded", 110_000)]),
        level(Level::Warning)
    );
}
