//! The traffic: bulk TCP and small UDP by iperf3, and a fixed number of small packets for CPU time.
//!
//! The client sends on the first CPU and the server reads on the second. On veth the sending CPU also does the
//! receiving host's soft interrupt, and so whatever counts there.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::lab::{Lab, SERVER_ADDRESS};
use crate::bench::process::{Running, cpu_time_ns, task_cpu_time_ns, wait_until};
use crate::command;

/// The port of all traffic: the last of a hundred, and a key's.
pub(super) const PORT: u16 = 10_100;

const SENDING_CPU: usize = 0;
const READING_CPU: usize = 1;
/// UDP payload of small packets.
const SMALL_BYTES: usize = 64;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) tcp_megabits_per_second: f64,
    /// As the receiving interface counts them.
    pub(super) udp_packets_per_second: f64,
    pub(super) cost: Cost,
}

/// CPU time of one small packet, on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Sending it and taking it in, up to the socket.
    pub(super) kernel_ns: f64,
    /// In the contender's processes.
    pub(super) processes_ns: f64,
}

/// What is sent, and how much of it.
pub(super) struct Workload<'lab> {
    pub(super) lab: &'lab Lab,
    pub(super) packets: u32,
    seconds: u32,
}

impl<'lab> Workload<'lab> {
    pub(super) fn new(lab: &'lab Lab, seconds: u32, packets: u32) -> Result<Self> {
        ensure!(
            thread::available_parallelism()?.get() > READING_CPU,
            "this bench needs two processors: one sends, one reads"
        );
        Ok(Self { lab, packets, seconds })
    }

    /// One bulk connection from the client to the server.
    pub(super) fn tcp_megabits_per_second(&self) -> Result<f64> {
        let end = self.iperf(&[])?;
        let bits = end["sum_received"]["bits_per_second"].as_f64();
        Ok(bits.context("iperf3 tells no throughput")? / 1e6)
    }

    /// Datagrams of 64 bytes as fast as the client can; those that reached the server's interface.
    pub(super) fn udp_packets_per_second(&self) -> Result<f64> {
        let before = self.lab.server.received_packets()?;
        let end = self.iperf(&["--udp", "--bitrate", "0", "--length", &SMALL_BYTES.to_string()])?;
        let received = self.lab.server.received_packets()? - before;
        let seconds = end["sum"]["seconds"].as_f64().context("iperf3 tells no duration")?;
        Ok(received as f64 / seconds)
    }

    /// A receiver for this one test: one that serves several may not be done with the last.
    fn iperf(&self, extra: &[&str]) -> Result<Value> {
        let _receiver = self.receiver()?;
        let mut sender = self.lab.client.command_on_cpu(SENDING_CPU, "iperf3");
        sender.args(["--client", SERVER_ADDRESS, "--port", &PORT.to_string(), "--json"]);
        sender.args(["--time", &self.seconds.to_string()]).args(extra);
        let mut report: Value = serde_json::from_str(&command::output(&mut sender)?)?;
        ensure!(report["error"].is_null(), "iperf3 failed: {}", report["error"]);
        Ok(report["end"].take())
    }

    fn receiver(&self) -> Result<Running> {
        let server = &self.lab.server;
        let mut receiver = server.command_on_cpu(READING_CPU, "iperf3");
        receiver
            .args(["--server", "--one-off", "--port", &PORT.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let receiver = Running::start(&mut receiver)?;
        let sockets = || command::output(server.command("ss").args(["-Hltn", &format!("sport = :{PORT}")]));
        wait_until("iperf3 listens", || sockets().is_ok_and(|sockets| !sockets.is_empty()))?;
        Ok(receiver)
    }
}

/// CPU time per small packet: `packets` datagrams to a socket of the server that nobody reads, so that what follows the
/// counting is short. The sender's thread is charged for the soft interrupts that its own sending causes; what the
/// kernel hands to the CPU's ksoftirqd instead is added.
pub(super) fn small_packets(lab: &Lab, packets: u32, processes: &[u32]) -> Result<Cost> {
    let sink = lab.server.inside(sink)?;
    let processes_time_ns = || processes.iter().map(|id| cpu_time_ns(*id)).sum::<Result<u64>>();
    let before_ns = processes_time_ns()?;
    let kernel_ns = lab.client.inside(|| send(packets))?;
    let processes_ns = processes_time_ns()?.saturating_sub(before_ns);
    drop(sink);
    let per_packet = |ns: u64| ns as f64 / f64::from(packets);
    Ok(Cost {
        kernel_ns: per_packet(kernel_ns),
        processes_ns: per_packet(processes_ns),
    })
}

fn sink() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((SERVER_ADDRESS, PORT))?;
    setsockopt(&socket, sockopt::RcvBuf, &4096)?;
    Ok(socket)
}

/// Nanoseconds of CPU time that sending took on this CPU.
fn send(packets: u32) -> Result<u64> {
    let mut cpus = CpuSet::new();
    cpus.set(SENDING_CPU)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("staying on one CPU")?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect((SERVER_ADDRESS, PORT))?;
    let datagram = [0; SMALL_BYTES];
    let soft_interrupts = ksoftirqd();
    let time_ns = || -> Result<u64> {
        let own = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let own_ns = own.tv_sec() * 1_000_000_000 + own.tv_nsec();
        let soft_ns = soft_interrupts.as_deref().and_then(task_cpu_time_ns);
        Ok(own_ns.cast_unsigned() + soft_ns.unwrap_or_default())
    };
    let before_ns = time_ns()?;
    for _ in 0..packets {
        socket.send(&datagram)?;
    }
    Ok(time_ns()? - before_ns)
}

/// The sending CPU's thread for soft interrupts that became too many; hidden in some containers.
fn ksoftirqd() -> Option<PathBuf> {
    let name = format!("ksoftirqd/{SENDING_CPU}\n");
    let is_it = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name);
    fs::read_dir("/proc")
        .ok()?
        .find_map(|entry| Some(entry.ok()?.path()).filter(|path| is_it(path)))
}

/// Kernels that account interrupts apart charge nobody's thread with them, and the cost would not be seen.
pub(super) fn check_cpu_accounting() -> Result<()> {
    let release = command::output(Command::new("uname").arg("-r"))?;
    let readings = [
        command::output(Command::new("zcat").arg("/proc/config.gz")),
        command::output(Command::new("cat").arg(format!("/boot/config-{}", release.trim()))),
    ];
    let Some(config) = readings.into_iter().find_map(Result::ok) else {
        println!(
            "the kernel's configuration is not to be had: if it has CONFIG_IRQ_TIME_ACCOUNTING, CPU times are wrong"
        );
        return Ok(());
    };
    ensure!(
        !config.lines().any(|line| line == "CONFIG_IRQ_TIME_ACCOUNTING=y"),
        "this kernel accounts interrupts apart (CONFIG_IRQ_TIME_ACCOUNTING), so CPU time per packet cannot be told: \
         boot with tsc=noirqtime"
    );
    Ok(())
}
