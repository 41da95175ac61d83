//! What is measured: each is set up for one measurement and taken down after it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::pmacct::Pmacct;
use super::tcx_nothing::TcxNothing;
use super::xdp_nothing::XdpNothing;
use crate::bench::lab::Lab;
use crate::bench::nftables::{self, Nftables};
use crate::bench::portmeter::Portmeter;

/// Ports that every contender counts, each way.
pub(super) const PORTS: std::ops::RangeInclusive<u16> = 10_001..=10_100;

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Contender {
    PortmeterTcx,
    TcxNothing,
    PortmeterXdp,
    XdpNothing,
    NftablesSet,
    NftablesRules,
    Pmacct,
}

impl Contender {
    pub(super) const ALL: [Self; 7] = [
        Self::PortmeterTcx,
        Self::TcxNothing,
        Self::PortmeterXdp,
        Self::XdpNothing,
        Self::NftablesSet,
        Self::NftablesRules,
        Self::Pmacct,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::PortmeterTcx => "Portmeter, TCX",
            Self::TcxNothing => "TCX that does nothing",
            Self::PortmeterXdp => "Portmeter, XDP",
            Self::XdpNothing => "XDP that does nothing",
            Self::NftablesSet => "nftables, a set each way",
            Self::NftablesRules => "nftables, 200 rules",
            Self::Pmacct => "pmacct",
        }
    }

    pub(super) fn is_portmeter(self) -> bool {
        matches!(self, Self::PortmeterTcx | Self::PortmeterXdp)
    }
}

/// Makes a key for every port in the ledger that Portmeter starts on. To be done before anything listens: a port that
/// is in use is given to no key.
pub(super) fn make_keys(lab: &Lab, folder: &Path) -> Result<()> {
    Portmeter::start(&lab.server, &data(folder), &[])?.make_keys(PORTS.count())
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// A contender at work; taken down when dropped.
pub(super) enum Active<'lab> {
    Portmeter(Portmeter<'lab>),
    Nftables(Nftables<'lab>),
    Pmacct(Pmacct<'lab>),
    TcxNothing { _attached: TcxNothing },
    XdpNothing { _attached: XdpNothing<'lab> },
}

impl<'lab> Active<'lab> {
    /// Sets the contender up on the server and waits until it counts.
    pub(super) fn start(contender: Contender, lab: &'lab Lab, folder: &Path) -> Result<Self> {
        let host = &lab.server;
        Ok(match contender {
            Contender::PortmeterTcx | Contender::PortmeterXdp => {
                let hook = if contender == Contender::PortmeterXdp {
                    "xdp"
                } else {
                    "tcx"
                };
                let settings = [("PORTMETER_CAPTURE__HOOK", hook)];
                Self::Portmeter(Portmeter::start(host, &data(folder), &settings)?)
            }
            Contender::TcxNothing => Self::TcxNothing {
                _attached: TcxNothing::attach(host)?,
            },
            Contender::XdpNothing => Self::XdpNothing {
                _attached: XdpNothing::attach(host)?,
            },
            Contender::NftablesSet => Self::Nftables(Nftables::load(host, &nftables::set(PORTS))?),
            Contender::NftablesRules => Self::Nftables(Nftables::load(host, &nftables::rules(PORTS))?),
            Contender::Pmacct => Self::Pmacct(Pmacct::start(host, folder, PORTS)?),
        })
    }

    /// Processes whose CPU time is part of the cost.
    pub(super) fn process_ids(&self) -> Vec<u32> {
        match self {
            Self::Portmeter(portmeter) => vec![portmeter.process_id()],
            Self::Nftables(_) | Self::TcxNothing { .. } | Self::XdpNothing { .. } => Vec::new(),
            Self::Pmacct(pmacct) => vec![pmacct.process_id()],
        }
    }

    /// What counts nothing costs nothing: an error unless packets of `port` were counted.
    pub(super) fn check_counted(&self, port: u16) -> Result<()> {
        let packets = match self {
            Self::Portmeter(portmeter) => portmeter.received_packets(port)?,
            Self::Nftables(nftables) => nftables.received(port)?.packets,
            Self::Pmacct(pmacct) => pmacct.received_packets(port)?,
            Self::TcxNothing { .. } | Self::XdpNothing { .. } => return Ok(()),
        };
        ensure!(packets > 0, "the contender did not count port {port}");
        Ok(())
    }
}
