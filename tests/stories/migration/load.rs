//! What goes on while maps are changed, and the comparison when it is over.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Connections};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::settle;
use portmeter_tests::wait;

use super::{equal, successors};

/// When to kill a start that moves to new maps.
pub(super) enum Moment {
    /// The folder of the new maps is there.
    FolderMade,
    /// The map that describes them is there.
    SuccessorsDescribed,
    /// The folder is there, and so much has passed since.
    AfterBytes(u64),
}

/// Traffic on the first four keys: a stream, datagrams, connections that come and go, and some that stay.
pub(super) struct Load<'lab> {
    pair: &'lab Pair,
    keys: &'lab [Key],
    capture: Capture<'lab>,
    stream: Background,
    flood: Background,
    turnover: Background,
    held: HeldConnections,
}

impl<'lab> Load<'lab> {
    const HELD: usize = 50;

    pub(super) fn start(pair: &'lab Pair, keys: &'lab [Key]) -> Result<Self> {
        let (server, client) = (&pair.server, &pair.client);
        let address = |at: usize, address: IpAddr| SocketAddr::new(address, keys[at].port);
        Ok(Self {
            pair,
            keys,
            capture: Capture::start(client, "eth0", &SERVER_ADDRESSES)?,
            stream: Background::tcp(server, client, address(0, SERVER_V4.into()))?,
            flood: Background::flood(client, address(1, SERVER_V6.into()))?,
            turnover: Background::turnover(server, client, address(2, SERVER_V6.into()))?,
            held: HeldConnections::open(server, client, address(3, SERVER_V4.into()), Self::HELD)?,
        })
    }

    /// Lets enough pass that missing it would show.
    pub(super) fn wait(&self) -> Result<()> {
        self.stream.wait_for(300_000)?;
        self.flood.wait_for(100)?;
        self.turnover.wait_for(100)
    }

    pub(super) fn wait_until(&self, agent: &Agent<'_>, moment: Moment) -> Result<()> {
        let folder = successors(agent);
        let is_there = |path: PathBuf| wait::until("the move begins", || Ok(path.exists()));
        match moment {
            Moment::FolderMade => is_there(folder),
            Moment::SuccessorsDescribed => is_there(folder.join("map_life")),
            Moment::AfterBytes(bytes) => {
                is_there(folder)?;
                self.stream.wait_for(bytes)
            }
        }
    }

    /// The same where connections were not counted when these began.
    pub(super) fn finish_where_none_was_opened(self, agent: &Agent<'_>) -> Result<()> {
        let active = Self::HELD as u64;
        let shown = agent.rest().connections_of(&self.keys[3].id)?;
        ensure!(shown == Connections { opened: 0, active }, "{shown:?}");
        self.stop_and_compare_traffic(agent).map(drop)
    }

    /// Stops and compares.
    pub(super) fn finish(self, agent: &Agent<'_>) -> Result<()> {
        let keys = self.keys;
        let held = Connections {
            opened: Self::HELD as u64,
            active: Self::HELD as u64,
        };
        let shown = agent.rest().connections_of(&keys[3].id)?;
        ensure!(shown == held, "{shown:?} of {held:?} that stayed open");
        let made = self.stop_and_compare_traffic(agent)?;
        for (key, opened) in keys.iter().zip([1, 0, made, held.opened]) {
            let truth = Connections { opened, active: 0 };
            for shown in [
                agent.rest().connections_of(&key.id)?,
                agent.grpc()?.connections_of(&key.id)?,
            ] {
                ensure!(shown == truth, "port {}: {shown:?}, there were {truth:?}", key.port);
            }
        }
        Ok(())
    }

    /// Gives how many connections came and went.
    fn stop_and_compare_traffic(self, agent: &Agent<'_>) -> Result<u64> {
        self.stream.stop()?;
        self.flood.stop()?;
        let made = self.turnover.stop()?;
        drop(self.held);
        settle::tcp_is_over(&self.pair.server, &self.pair.client)?;
        let ports = self.keys.iter().map(|key| key.port);
        equal(agent, &count::only(&self.capture.finish(SERVER_V4.into())?, ports))?;
        Ok(made)
    }
}
