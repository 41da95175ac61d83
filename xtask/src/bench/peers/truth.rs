//! The truth: what the kernel itself counts, by nftables for the port and in the interface's statistics.

use anyhow::Result;

use super::traffic::PORT;
use crate::bench::lab::Host;
use crate::bench::nftables::{self, Nftables};

/// What bytes are counted of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// IP packets to the port.
    Packets,
    /// Everything that the interface receives, link headers included.
    Frames,
}

/// Counters of the kernel's, since they were made.
pub(super) struct Truth<'lab> {
    server: &'lab Host,
    port: Nftables<'lab>,
    frame_bytes_before: u64,
}

impl<'lab> Truth<'lab> {
    pub(super) fn start(server: &'lab Host) -> Result<Self> {
        Ok(Self {
            server,
            port: Nftables::load(server, &nftables::rules(PORT..=PORT))?,
            frame_bytes_before: server.received_bytes()?,
        })
    }

    /// What has been received until now.
    pub(super) fn received_bytes(&self, layer: Layer) -> Result<u64> {
        match layer {
            Layer::Packets => Ok(self.port.received(PORT)?.bytes),
            Layer::Frames => Ok(self.server.received_bytes()? - self.frame_bytes_before),
        }
    }
}
