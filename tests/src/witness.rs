//! An independent truth for traffic that tcpdump could not keep up with: a program at the client's end of the cable,
//! written in C and sharing nothing with the product, that counts what is exchanged with each port.
//!
//! Like a capture it needs a cable without offloads, so that each packet that arrives is one packet of the wire.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::maps::Array;
use aya::programs::tc::qdisc_add_clsact;
use aya::programs::{SchedClassifier, TcAttachType};

use crate::command;
use crate::count::{Count, Counts};
use crate::namespace::Namespace;
use crate::needs;

/// The program's source, beside this file.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/witness.bpf.c");

/// A witness at work; it ends with this value.
#[derive(Debug)]
pub struct Witness {
    programs: Ebpf,
}

impl Witness {
    /// Counts from now on at `interface` of the client `host`.
    pub fn attach(host: &Namespace, interface: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let object = folder.path().join("witness.o");
        let mut clang = Command::new("clang");
        clang.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-c", SOURCE, "-o"]);
        command::output(clang.arg(&object))?;
        let mut programs = Ebpf::load_file(&object)?;
        for (name, hook) in [
            ("count_to_server", TcAttachType::Egress),
            ("count_to_client", TcAttachType::Ingress),
        ] {
            let program: &mut SchedClassifier = programs.program_mut(name).context(name)?.try_into()?;
            program.load()?;
            host.enter(|| {
                if needs::kernel(6, 6, "TCX").is_err() {
                    // The second one finds it there already, and attaching says so if it is not.
                    let _ = qdisc_add_clsact(interface);
                }
                program.attach(interface, hook)
            })?;
        }
        Ok(Self { programs })
    }

    /// What has passed until now with `ports`; call it when the traffic is over.
    pub fn counts(&self, ports: &[u16]) -> Result<Counts> {
        let passed = Array::<_, [u64; 4]>::try_from(self.programs.map("passed").context("the map")?)?;
        let spoiled = passed.get(&0, 0)?;
        ensure!(
            spoiled == [0; 4],
            "packets longer than the wire's have passed: {spoiled:?}"
        );
        let count = |port: &u16| -> Result<(u16, Count)> {
            let [rx_bytes, rx_packets, tx_bytes, tx_packets] = passed.get(&u32::from(*port), 0)?;
            let count = Count {
                rx_bytes,
                rx_packets,
                tx_bytes,
                tx_packets,
            };
            Ok((*port, count))
        };
        ports.iter().map(count).collect()
    }
}
