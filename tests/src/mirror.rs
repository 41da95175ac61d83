//! A wire for a link that has none: between two namespaces large packets arrive as they were sent, and nobody cuts
//! them up. A mirror copies them to a cable without offloads, where each becomes the packets that it stands for.

use anyhow::Result;

use crate::namespace::Namespace;
use crate::network::{self, Offloads};

/// Where the copies arrive, as they would be on a wire.
pub const INTERFACE: &str = "mirror1";

/// Copies of what an interface receives and sends.
#[derive(Debug)]
pub struct Mirror {
    /// The namespace that the copies go to.
    pub namespace: Namespace,
}

impl Mirror {
    /// Copies every packet of an interface, in both directions.
    pub fn of(host: &Namespace, interface: &str) -> Result<Self> {
        let namespace = Namespace::new("mirror")?;
        network::cable((host, "mirror0"), (&namespace, INTERFACE))?;
        for (end, interface) in [(host, "mirror0"), (&namespace, INTERFACE)] {
            network::offloads(end, interface, Offloads::Off)?;
            // Without an address of its own nothing else passes there.
            end.run(&format!("ip link set {interface} addrgenmode none up"))?;
        }
        host.run(&format!("tc qdisc add dev {interface} clsact"))?;
        for hook in ["ingress", "egress"] {
            let matching = format!("dev {interface} {hook} u32 match u32 0 0");
            host.run(&format!(
                "tc filter add {matching} action mirred egress mirror dev mirror0"
            ))?;
        }
        Ok(Self { namespace })
    }
}
