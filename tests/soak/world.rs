//! What all actors of a soak share: the network, the truth, and what may be unable to answer when.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Result;
use portmeter_tests::agent::{API_KEY, REST_ADDRESS};
use portmeter_tests::count::{self, Count};
use portmeter_tests::grpc::Grpc;
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Rest;
use portmeter_tests::witness::Witness;
use portmeter_tests::xray;

use crate::disturbances::Disturbances;
use crate::tally::Tally;

/// The ports that the agent counts.
pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 10_001..=10_100;

/// The world of a soak.
#[derive(Debug)]
pub(crate) struct World<'lab> {
    pub(crate) pair: &'lab Pair,
    /// Counts what passes at the client's end of the cable.
    pub(crate) witness: &'lab Witness,
    /// Whether a core serves the keys.
    pub(crate) has_core: bool,
    /// The agent's unix socket.
    pub(crate) socket: PathBuf,
    /// Decides all choices.
    pub(crate) seed: u64,
    pub(crate) agent: Disturbances,
    pub(crate) core: Disturbances,
    pub(crate) tally: Tally,
    /// Held while a key is made, and while one goes whose port is not quiet: so no key is born to a port that its last
    /// holder's packets still come to, and what belongs to whom is known to the byte.
    pub(crate) edges: Mutex<()>,
}

impl<'lab> World<'lab> {
    /// A REST client of one actor.
    pub(crate) fn rest(&self) -> Rest<'lab> {
        Rest::new(&self.pair.server, REST_ADDRESS, API_KEY)
    }

    /// A connection to the gRPC face.
    pub(crate) fn grpc(&self) -> Result<Grpc> {
        Grpc::over_unix_socket(&self.socket)
    }

    /// What has passed with a port so far.
    pub(crate) fn passed(&self, port: u16) -> Result<Count> {
        Ok(count::of(&self.witness.counts(&[port])?, port))
    }

    /// Waits until no packet of a port is on its way, and says what has passed with it.
    pub(crate) fn passed_until_quiet(&self, port: u16) -> Result<Count> {
        xray::ports_are_quiet(&self.pair.server, &self.pair.client, &[port])?;
        self.passed(port)
    }
}
