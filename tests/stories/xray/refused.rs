//! Clients that are refused: whatever in a link is wrong, and a clock that is.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::xray::{Client, Link, Relay, Site, Supervised};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_link_that_is_wrong_anywhere_is_refused",
        a_link_that_is_wrong_anywhere_is_refused,
    ),
    ("a_clock_that_is_off_is_refused", a_clock_that_is_off_is_refused),
];

fn a_link_that_is_wrong_anywhere_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(2)?;
    let right = agent.link(&keys[0])?;
    let other = agent.link(&keys[1])?;
    // RFC 7748, section 6.1: a key that is one, and somebody else's.
    let public_key = "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo".to_owned();
    let short_id = if right.short_id == "00000000" {
        "11111111"
    } else {
        "00000000"
    };
    let wrong = [
        (
            "flow",
            Link {
                flow: String::new(),
                ..right.clone()
            },
        ),
        (
            "short id",
            Link {
                short_id: short_id.to_owned(),
                ..right.clone()
            },
        ),
        (
            "public key",
            Link {
                public_key,
                ..right.clone()
            },
        ),
        (
            "server name",
            Link {
                server_name: "another.example".to_owned(),
                ..right.clone()
            },
        ),
        (
            "another key's id",
            Link {
                uuid: other.uuid,
                ..right.clone()
            },
        ),
        (
            "a port without a key",
            Link {
                port: other.port + 1,
                ..right.clone()
            },
        ),
    ];
    for (what, link) in wrong {
        let client = Client::start(&pair.client, &link)?;
        ensure!(client.is_refused()?, "accepted: {what}");
    }
    Client::start(&pair.client, &right)?.works()
}

/// A hello that took three seconds is, to the core, one of a clock that is three seconds behind.
fn a_clock_that_is_off_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_XRAY__MAX_TIME_DIFF_SECONDS", "2");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let link = agent.link(&key)?;
    let server = SocketAddr::new(SERVER_V4.into(), key.port);
    let relay = Relay::start(&pair.client, server, Duration::from_secs(3))?;
    let late = Link {
        host: relay.address().ip().to_string(),
        port: relay.address().port(),
        ..link.clone()
    };
    Client::start(&pair.client, &link)?.works()?;
    let client = Client::start(&pair.client, &late)?;
    ensure!(
        client.is_refused()?,
        "a clock that is off by more than is allowed gets in"
    );

    agent.stop()?;
    agent.change_variable("PORTMETER_XRAY__MAX_TIME_DIFF_SECONDS", "600");
    agent.start()?;
    agent.wait_until_synchronized()?;
    client.works().context("off by less than is allowed")
}
