//! The one comparison that matters: what every face of the product shows, and what passed.

use anyhow::{Result, ensure};

use crate::agent::Agent;
use crate::bpftool;
use crate::count::{self, Counts};
use crate::wait;

/// Fails unless REST, gRPC and bpftool show exactly `truth` for `ports`. For ports whose keys are as old as the
/// counters and were never reset.
pub fn all_faces_equal(agent: &Agent<'_>, truth: &Counts, ports: &[u16]) -> Result<()> {
    let ports = || ports.iter().copied();
    let truth = count::only(truth, ports());
    for (face, shown) in [
        ("bpftool", bpftool::counts(agent)?),
        ("gRPC", agent.grpc()?.counts()?),
        ("REST", agent.rest().counts()?),
    ] {
        equal(face, &count::only(&shown, ports()), &truth)?;
    }
    Ok(())
}

/// The same for frames that nobody receives, so that nothing but the count says that they have arrived: waits until as
/// many packets are counted as passed, or more.
pub fn all_faces_become_equal(agent: &Agent<'_>, truth: &Counts, ports: &[u16]) -> Result<()> {
    let packets = |counts: &Counts| {
        let counts = count::only(counts, ports.iter().copied());
        counts
            .values()
            .map(|count| count.rx_packets + count.tx_packets)
            .sum::<u64>()
    };
    let passed = packets(truth);
    let waited = wait::until(&format!("{passed} packets are counted"), || {
        Ok(packets(&bpftool::counts(agent)?) >= passed)
    });
    // What differs says more than what was waited for in vain.
    all_faces_equal(agent, truth, ports).and(waited)
}

/// Fails unless both are the same, naming every port where they differ.
pub fn equal(face: &str, shown: &Counts, truth: &Counts) -> Result<()> {
    let ports = truth.keys().chain(shown.keys()).copied();
    let different: Vec<String> = ports
        .filter(|&port| count::of(shown, port) != count::of(truth, port))
        .map(|port| {
            format!(
                "{port}: shown {:?}, passed {:?}",
                count::of(shown, port),
                count::of(truth, port)
            )
        })
        .collect();
    ensure!(
        different.is_empty(),
        "{face} differs from what passed:\n{}",
        different.join("\n")
    );
    Ok(())
}
