//! The programs on each interface: attached both ways, of this build, and nobody ahead of them who ends the chain.

mod order;

use std::collections::BTreeMap;

use super::Finding;
use super::report::some_of;
use crate::kernel::inspect::{self, Attachment, Chain, PinnedMaps, ProgramFacts};
use crate::network::filters::{self, Filter, Filters};
use crate::network::plan::Target;
use order::check_order;

/// What could be learnt about the programs on the planned interfaces.
#[derive(Default)]
pub(super) struct Facts {
    interfaces: Vec<Hooks>,
    attachments: Vec<Attachment>,
    filter_handle: u32,
    loaded: BTreeMap<u32, ProgramFacts>,
    /// Empty where they cannot be told.
    build_tags: BTreeMap<String, u64>,
}

/// Everything that runs on one interface.
struct Hooks {
    target: Target,
    chain: Result<Chain, String>,
    filters: Result<Filters, String>,
}

/// One program or filter among those that a packet passes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    label: String,
    program_id: Option<u32>,
    is_ours: bool,
}

/// Looks at every interface in `targets`. Where nothing is pinned, or pinned for another namespace, nothing is to be
/// found here. `build_tags` are the tags of this build's programs.
pub(super) async fn gather(
    instance: &str,
    targets: Vec<Target>,
    attachments: Vec<Attachment>,
    maps: &PinnedMaps,
    build_tags: BTreeMap<String, u64>,
) -> Facts {
    if !maps.life.as_ref().is_ok_and(|life| life.is_of_this_namespace) {
        return Facts::default();
    }
    let indexes: Vec<u32> = targets.iter().map(|target| target.index).collect();
    let mut all_filters = match filters::read(&indexes).await {
        Ok(filters) => filters.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error.to_string()); targets.len()],
    };
    let interfaces = targets.into_iter().zip(all_filters.drain(..));
    let interfaces = interfaces.map(|(target, filters)| Hooks {
        chain: chain(target.index),
        target,
        filters,
    });
    Facts {
        interfaces: interfaces.collect(),
        attachments,
        filter_handle: inspect::filter_handle(instance),
        loaded: inspect::loaded(),
        build_tags,
    }
}

/// A kernel that has no TCX says that the question is invalid: there is no chain.
fn chain(index: u32) -> Result<Chain, String> {
    match Chain::of(index) {
        Ok(chain) => Ok(chain),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(Chain::default()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .interfaces
        .iter()
        .flat_map(|hooks| check_interface(facts, hooks))
        .collect();
    findings.extend(check_leftovers(facts));
    findings
}

fn check_interface(facts: &Facts, hooks: &Hooks) -> Vec<Finding> {
    let interface = &hooks.target.name;
    let (chain, filters) = match (&hooks.chain, &hooks.filters) {
        (Ok(chain), Ok(filters)) => (chain, filters),
        (Err(why), _) | (_, Err(why)) => {
            return vec![Finding::error(
                format!("programs {interface}"),
                format!("what is attached cannot be read: {why}"),
                "run `portmeter doctor` as root or as the agent's user",
            )];
        }
    };
    let mut ingress: Vec<Step> = xdp_step(facts, hooks, filters).into_iter().collect();
    ingress.extend(steps(facts, hooks, true, &chain.ingress, &filters.ingress));
    let egress = steps(facts, hooks, false, &chain.egress, &filters.egress);
    let ours = |steps: &[Step]| steps.iter().position(|step| step.is_ours);
    match (ours(&ingress), ours(&egress)) {
        (Some(first), Some(last)) => vec![
            check_build(facts, interface, [&ingress[first], &egress[last]]),
            check_order(facts, interface, &ingress[..first], egress.split_at(last)),
        ],
        (at_ingress, at_egress) => {
            let missing: Vec<&str> = [(at_ingress, "ingress"), (at_egress, "egress")]
                .into_iter()
                .filter_map(|(found, hook)| found.is_none().then_some(hook))
                .collect();
            vec![Finding::error(
                format!("programs {interface}"),
                format!(
                    "nothing is counted at {}: no program of this instance is attached there",
                    missing.join(" and ")
                ),
                "start the agent; one that runs attaches within a second, and its log says why it could not",
            )]
        }
    }
}

/// Everything that a packet passes in one direction, in this order: TCX programs, then filters.
fn steps(facts: &Facts, hooks: &Hooks, is_ingress: bool, chain: &[u32], filters: &[Filter]) -> Vec<Step> {
    let programs = chain.iter().map(|id| Step {
        label: label(facts, &format!("TCX program {id}"), *id),
        program_id: Some(*id),
        is_ours: is_our_link(facts, hooks, is_ingress, *id),
    });
    let filters = filters.iter().map(|filter| Step {
        label: match filter.program_id {
            Some(id) => label(
                facts,
                &format!("filter of priority {}, program {id}", filter.priority),
                id,
            ),
            None => format!("a {} filter of priority {}", filter.kind, filter.priority),
        },
        program_id: filter.program_id,
        is_ours: filter.kind == "bpf" && filter.handle == facts.filter_handle,
    });
    programs.chain(filters).collect()
}

/// An XDP program runs ahead of all others at ingress; it is ours where that was asked for.
fn xdp_step(facts: &Facts, hooks: &Hooks, filters: &Filters) -> Option<Step> {
    let id = filters.xdp_program_id?;
    Some(Step {
        label: label(facts, &format!("XDP program {id}"), id),
        program_id: Some(id),
        is_ours: is_our_link(facts, hooks, true, id),
    })
}

fn is_our_link(facts: &Facts, hooks: &Hooks, is_ingress: bool, id: u32) -> bool {
    facts.attachments.iter().any(|link| {
        link.interface_index == hooks.target.index && link.is_ingress == is_ingress && link.program_id == Ok(id)
    })
}

/// The program's name, if it may be known, and what else tells it from others.
fn label(facts: &Facts, place: &str, id: u32) -> String {
    match facts.loaded.get(&id) {
        Some(program) if !program.name.is_empty() => format!("{} ({place})", program.name),
        _ => place.to_owned(),
    }
}

fn check_build(facts: &Facts, interface: &str, ours: [&Step; 2]) -> Finding {
    let name = format!("programs {interface}");
    let is_other = |step: &&Step| {
        let program = step.program_id.and_then(|id| facts.loaded.get(&id));
        program.is_some_and(|program| !facts.build_tags.is_empty() && !is_of_this_build(facts, program))
    };
    let others: Vec<&str> = ours
        .iter()
        .filter(|step| is_other(step))
        .map(|step| step.label.as_str())
        .collect();
    if others.is_empty() {
        let labels: Vec<&str> = ours.iter().map(|step| step.label.as_str()).collect();
        let is_known = |step: &&Step| step.program_id.is_some_and(|id| facts.loaded.contains_key(&id));
        let build = match !facts.build_tags.is_empty() && ours.iter().all(is_known) {
            true => ", of this build",
            false => "",
        };
        return Finding::ok(name, format!("attached{build}: {}", labels.join(", ")));
    }
    Finding::warning(
        name,
        format!("attached, but of another build: {}", others.join(", ")),
        "restart the agent: it replaces them in place, and no packet is missed",
    )
}

fn is_of_this_build(facts: &Facts, program: &ProgramFacts) -> bool {
    facts.build_tags.get(&program.name) == Some(&program.tag)
}

/// Links of interfaces that should not be counted, or are gone.
fn check_leftovers(facts: &Facts) -> Option<Finding> {
    let is_planned = |index: u32| facts.interfaces.iter().any(|hooks| hooks.target.index == index);
    let file_name = |link: &Attachment| link.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let left = facts
        .attachments
        .iter()
        .filter(|link| !is_planned(link.interface_index));
    let left: Vec<String> = left.filter_map(file_name).collect();
    (!left.is_empty()).then(|| {
        Finding::warning(
            "links",
            format!(
                "pinned for interfaces that are gone or not to be counted: {}",
                some_of(&left)
            ),
            "start the agent with this configuration: it removes them",
        )
    })
}

#[cfg(test)]
mod tests;
