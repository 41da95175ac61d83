//! Runs the machine: no hardware help, no network, its console as its output.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::image::STATUS_MARK;

/// Two processors, so that what two of them may do to each other shows.
const PROCESSORS: &str = "2";
const MEMORY: &str = "2G";

/// `panic=-1`: a machine that cannot go on restarts, which ends it.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1";

/// Boots `kernel` with the initial file system at `image`, prints what it says, and fails unless it says that all
/// went well before `limit` is over.
pub(super) fn run(kernel: &Path, image: &Path, limit: Duration) -> Result<()> {
    let mut machine = Machine::start(kernel, image)?;
    let deadline = Instant::now() + limit;
    let console = machine.0.stdout.take().context("the machine has no console")?;
    let (sender, lines) = mpsc::channel();
    // Ends with the console, and that with the machine.
    thread::spawn(move || read_lines(console, &sender));
    let mut status = None;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(STATUS_MARK) {
                Some(text) => status = Some(text.trim().to_owned()),
                None => println!("{line}"),
            },
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!(
                "the machine was not through after {} s and was stopped; the last lines above say where it was",
                limit.as_secs()
            ),
        }
    }
    let ended = machine.0.wait().context("waiting for qemu")?;
    ensure!(ended.success(), "qemu ended with {ended}");
    match status.as_deref() {
        Some("0") => Ok(()),
        Some(status) => bail!("what ran inside failed (status {status})"),
        None => bail!("the machine ended before its work was done; the last lines above say why"),
    }
}

/// A running qemu, ended when dropped.
struct Machine(Child);

impl Machine {
    fn start(kernel: &Path, image: &Path) -> Result<Self> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", PROCESSORS, "-m", MEMORY])
            .args(["-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"])
            .args(["-serial", "stdio"])
            .args(["-append", KERNEL_COMMAND_LINE])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(image)
            .args([
                "-virtfs",
                "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        qemu.spawn().map(Self).context("starting qemu-system-x86_64")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already when all went well; then both calls fail and that is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Hands on the console's lines as they come, without a terminal's carriage returns.
fn read_lines(console: impl Read, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        if lines.send(line).is_err() {
            return;
        }
    }
}
