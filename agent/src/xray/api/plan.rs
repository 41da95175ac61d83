//! What has to be done to a core so that it has what is wanted.

use std::collections::{HashMap, HashSet};

use super::super::wanted::{Wanted, WantedInbound, uuid_of_tag};
use super::live::LiveInbound;
use super::mismatch::Mismatch;

/// One thing to do. Indices are those of [`Wanted::inbounds`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Remove the inbound of this tag: its key is gone, or it is added anew by a later step.
    Remove(String),
    /// Add this inbound.
    Add(usize),
    /// Remove this inbound and add it at once, on the port it has.
    Replace(usize, Mismatch),
}

/// The steps, in order, from what the core has to what is wanted; none where they agree.
///
/// Only inbounds with a tag of Portmeter's are touched. All that leave a port do so before any takes one, since the
/// core would listen twice on a port without a word.
pub fn difference(live: &[LiveInbound], wanted: &Wanted) -> Vec<Step> {
    let ours = live.iter().filter(|inbound| uuid_of_tag(&inbound.tag).is_some());
    let ours: HashMap<&str, &LiveInbound> = ours.map(|inbound| (inbound.tag.as_str(), inbound)).collect();
    let tags: Vec<String> = wanted.inbounds.iter().map(WantedInbound::tag).collect();
    let mut removals: Vec<String> = without(&ours, &tags);
    let mut others = Vec::new();
    for (index, (inbound, tag)) in wanted.inbounds.iter().zip(tags).enumerate() {
        let Some(found) = ours.get(tag.as_str()) else {
            others.push(Step::Add(index));
            continue;
        };
        match found.matches(&wanted.settings, inbound) {
            Ok(()) => {}
            Err(mismatch) if found.single_port() == Some(inbound.port) => others.push(Step::Replace(index, mismatch)),
            Err(_) => {
                removals.push(tag);
                others.push(Step::Add(index));
            }
        }
    }
    removals.into_iter().map(Step::Remove).chain(others).collect()
}

/// The tags that are not wanted, in order.
fn without(ours: &HashMap<&str, &LiveInbound>, wanted: &[String]) -> Vec<String> {
    let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    let unwanted = ours.keys().filter(|tag| !wanted.contains(**tag));
    let mut unwanted: Vec<String> = unwanted.map(|tag| (*tag).to_owned()).collect();
    unwanted.sort_unstable();
    unwanted
}

#[cfg(test)]
mod tests;
