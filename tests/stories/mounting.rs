//! A machine where the BPF file system is not mounted.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::traffic::udp;
use portmeter_tests::{count, exactness};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("the_agent_mounts_what_is_missing", the_agent_mounts_what_is_missing)];

/// Takes the BPF file system away from the agent alone: in a mount namespace of its own.
const WITHOUT_BPFFS: [&str; 6] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "bash",
    "-c",
    "if mountpoint -q /sys/fs/bpf; then umount /sys/fs/bpf; fi; exec \"$0\" \"$@\"",
];

fn the_agent_mounts_what_is_missing() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.through(&WITHOUT_BPFFS);
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), key.port),
        &[1, 10, 100],
    )?;
    let truth = count::only(&capture.finish(SERVER_V4.into())?, [key.port]);
    exactness::equal("REST", &agent.rest().counts()?, &truth)?;
    ensure!(
        !agent.pin_folder().exists(),
        "the pins are in the file system that the agent mounted"
    );
    Ok(())
}
