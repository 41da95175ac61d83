//! What a key is for: from an empty machine to a customer's first bytes, and every one of them counted.

use anyhow::{Result, ensure};
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::exactness;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::xray::{Client, Site, Supervised, ports_are_quiet};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("two_keys_carry_what_is_asked_for", two_keys_carry_what_is_asked_for),
    ("a_link_without_a_flow_works_too", a_link_without_a_flow_works_too),
];

const BODIES: [u64; 2] = [1_000_000, 100_000_000];

/// The bodies are equal, the bytes are those of the wire, and a key's port shows nothing before it is used.
fn two_keys_carry_what_is_asked_for() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(2)?;
    let ports = [keys[0].port, keys[1].port];
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    for (number, key) in keys.iter().enumerate() {
        let client = Client::start(&pair.client, &agent.link(key)?)?;
        for length in BODIES {
            client.fetch(length)?;
        }
        drop(client);
        ports_are_quiet(&pair.server, &pair.client, &ports)?;
        let truth = capture.counts(SERVER_V4.into())?;
        let passed = count::of(&truth, key.port);
        ensure!(
            passed.tx_bytes > BODIES.iter().sum(),
            "the bodies did not come over the cable: {passed:?}"
        );
        for unused in &keys[number + 1..] {
            let passed = count::of(&truth, unused.port);
            ensure!(passed == Count::default(), "an unused port carried {passed:?}");
        }
        exactness::all_faces_equal(&agent, &truth, &ports)?;
    }
    capture.finish(SERVER_V4.into())?;
    Ok(())
}

/// One setting, in link and inbound alike.
fn a_link_without_a_flow_works_too() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_XRAY__FLOW", "");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let text = agent.link_text(&key)?;
    ensure!(!text.contains("flow="), "{text}");
    Client::start(&pair.client, &agent.link(&key)?)?.fetch(BODIES[0])
}
