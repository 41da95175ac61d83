//! pmacctd with its memory plugin, as an operator would have it count ports: two tables, one by destination port for
//! what comes in and one by source port for what goes out.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::bench::lab::{Host, INTERFACE};
use crate::bench::process::{Running, wait_until};
use crate::command;

/// A running pmacctd, stopped when dropped.
pub(super) struct Pmacct<'lab> {
    process: Running,
    /// Where the table of what comes in is asked.
    received: PathBuf,
    _host: &'lab Host,
}

impl<'lab> Pmacct<'lab> {
    pub(super) fn start(host: &'lab Host, folder: &Path, ports: RangeInclusive<u16>) -> Result<Self> {
        let (received, sent) = (folder.join("pmacct-received"), folder.join("pmacct-sent"));
        for pipe in [&received, &sent] {
            let _ = fs::remove_file(pipe);
        }
        let file = folder.join("pmacctd.conf");
        fs::write(&file, configuration(&ports, &received, &sent))?;
        let mut pmacctd = host.command("pmacctd");
        pmacctd
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("pmacctd.log"))?);
        let pmacct = Self {
            process: Running::start(&mut pmacctd)?,
            received,
            _host: host,
        };
        let listens = || {
            let sockets = command::output(host.command("cat").arg("/proc/net/packet"));
            sockets.is_ok_and(|sockets| sockets.lines().count() > 1) && pmacct.received.exists() && sent.exists()
        };
        wait_until("pmacctd listens", listens).context("see target/bench-overhead/pmacctd.log")?;
        Ok(pmacct)
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Of the table by destination port, in pmacct's own JSON.
    pub(super) fn received_packets(&self, port: u16) -> Result<u64> {
        let mut pmacct = Command::new("pmacct");
        let printed = command::output(pmacct.args(["-s", "-O", "json", "-p"]).arg(&self.received))?;
        let rows = printed
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let of_port = rows.filter(|row| row["port_dst"] == port);
        Ok(of_port.filter_map(|row| row["packets"].as_u64()).sum())
    }
}

fn configuration(ports: &RangeInclusive<u16>, received: &Path, sent: &Path) -> String {
    let range = format!("portrange {}-{}", ports.start(), ports.end());
    format!(
        "daemonize: false\n\
         pcap_interface: {INTERFACE}\n\
         promisc: false\n\
         plugins: memory[received], memory[sent]\n\
         aggregate[received]: dst_port\n\
         aggregate_filter[received]: dst {range}\n\
         imt_path[received]: {}\n\
         aggregate[sent]: src_port\n\
         aggregate_filter[sent]: src {range}\n\
         imt_path[sent]: {}\n",
        received.display(),
        sent.display()
    )
}
