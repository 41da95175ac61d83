//! The checks of programs over made-up facts.

use super::super::Level;
use super::*;
use crate::kernel::inspect::Endings;

const OURS: [u32; 2] = [1, 2];

fn program(name: &str, tag: u64, endings: Option<(bool, bool)>) -> ProgramFacts {
    let endings = endings.map(|(may_drop, may_end_otherwise)| Endings {
        may_drop,
        may_end_otherwise,
    });
    let name = name.to_owned();
    ProgramFacts { name, tag, endings }
}

/// Ours on eth0, among a program that hands on (10), one that drops (11), one that accepts (12) and one that
/// cannot be told (13).
fn facts(ingress: &[u32], egress: &[u32]) -> Facts {
    let attachment = |id: u32, is_ingress| Attachment {
        path: format!("/x/eth0_4_{id}").into(),
        interface_index: 4,
        is_ingress,
        program_id: Ok(id),
    };
    Facts {
        interfaces: vec![Hooks {
            target: Target {
                index: 4,
                name: "eth0".into(),
                has_link_header: true,
                is_loopback: false,
            },
            chain: Ok(Chain {
                ingress: ingress.to_vec(),
                egress: egress.to_vec(),
            }),
            filters: Ok(Filters::default()),
        }],
        attachments: vec![attachment(OURS[0], true), attachment(OURS[1], false)],
        filter_handle: 77,
        loaded: BTreeMap::from([
            (1, program("portmeter_rx", 100, Some((false, false)))),
            (2, program("portmeter_tx", 200, Some((false, false)))),
            (10, program("kind", 7, Some((false, false)))),
            (11, program("dropper", 7, Some((true, false)))),
            (12, program("accepter", 7, Some((false, true)))),
            (13, program("secret", 7, None)),
        ]),
        build_tags: BTreeMap::from([("portmeter_rx".to_owned(), 100), ("portmeter_tx".to_owned(), 200)]),
    }
}

fn levels(facts: &Facts) -> Vec<Level> {
    check(facts).iter().map(|finding| finding.level).collect()
}

#[test]
fn order_is_judged_by_what_the_others_do() {
    use Level::{Error, Ok as Fine, Warning};
    let order = |ingress: &[u32], egress: &[u32]| levels(&facts(ingress, egress))[1];
    assert_eq!(order(&[1], &[2]), Fine);
    assert_eq!(order(&[1, 12], &[2, 12]), Fine);
    assert_eq!(order(&[10, 1], &[10, 2]), Fine);
    assert_eq!(order(&[11, 1], &[2]), Error);
    assert_eq!(order(&[12, 1], &[2]), Error);
    assert_eq!(order(&[13, 1], &[2]), Warning);
    assert_eq!(order(&[1], &[11, 2]), Fine);
    assert_eq!(order(&[1], &[12, 2]), Error);
    let finding = &check(&facts(&[10, 12, 1], &[2]))[1];
    assert!(
        finding.found.contains("accepter (TCX program 12) at ingress"),
        "{}",
        finding.found
    );
    assert!(!finding.found.contains("kind"), "{}", finding.found);
}

#[test]
fn programs_are_attached_both_ways_and_of_this_build() {
    assert_eq!(levels(&facts(&[1], &[])), [Level::Error]);
    assert_eq!(levels(&facts(&[], &[2])), [Level::Error]);
    let mut other = facts(&[1], &[2]);
    other.build_tags.insert("portmeter_tx".to_owned(), 201);
    assert_eq!(levels(&other), [Level::Warning, Level::Ok]);
    other.build_tags.clear();
    assert_eq!(levels(&other), [Level::Ok, Level::Ok]);
}

#[test]
fn filters_run_after_programs_and_are_ours_by_handle() {
    let filter = |priority, handle, kind: &str, program_id| Filter {
        priority,
        handle,
        kind: kind.to_owned(),
        program_id,
    };
    let mut with_filters = facts(&[], &[]);
    let ours = || filter(2, 77, "bpf", Some(1));
    with_filters.interfaces[0].filters = Ok(Filters {
        ingress: vec![ours()],
        egress: vec![ours()],
        ..Filters::default()
    });
    assert_eq!(levels(&with_filters), [Level::Ok, Level::Ok]);
    with_filters.interfaces[0].filters = Ok(Filters {
        ingress: vec![filter(1, 5, "u32", None), ours()],
        egress: vec![ours()],
        ..Filters::default()
    });
    let order = &check(&with_filters)[1];
    assert_eq!(order.level, Level::Warning);
    assert!(order.found.contains("a u32 filter of priority 1"), "{}", order.found);
    with_filters.interfaces[0].chain = Ok(Chain {
        ingress: vec![12],
        egress: Vec::new(),
    });
    assert_eq!(levels(&with_filters)[1], Level::Error);
}

#[test]
fn what_is_left_over_is_named() {
    let mut left = facts(&[1], &[2]);
    left.attachments[0].interface_index = 9;
    let found = check_leftovers(&left).unwrap().found;
    assert!(found.contains("eth0_4_1"), "{found}");
}

#[test]
fn an_xdp_program_runs_ahead_of_all() {
    let mut with_xdp = facts(&[1], &[2]);
    let filters = |id| Filters {
        xdp_program_id: Some(id),
        ..Filters::default()
    };
    with_xdp.interfaces[0].filters = Ok(filters(13));
    let order = &check(&with_xdp)[1];
    assert_eq!(order.level, Level::Warning);
    assert!(
        order.found.contains("secret (XDP program 13) at ingress"),
        "{}",
        order.found
    );
    with_xdp.interfaces[0].filters = Ok(filters(1));
    assert_eq!(levels(&with_xdp), [Level::Ok, Level::Ok]);
}
