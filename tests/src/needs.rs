//! What a story needs and a machine may lack.
//!
//! A story asks first thing. What the running kernel lacks ends it as left out, with the reason, wherever it runs: no
//! installation would help. A run that exists to meet real devices says so, and there a missing one is a failure.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use aya::util::KernelVersion;

use crate::namespace::Namespace;

/// Set where the kernel is known to have every device that stories ask for.
const REQUIRE_DEVICES: &str = "PORTMETER_REQUIRE_DEVICES";

/// Names the executable of an Xray core.
const XRAY: &str = "PORTMETER_XRAY";

/// Names the executable of grpcurl, beside a Python with grpcio.
const GRPCURL: &str = "PORTMETER_GRPCURL";

/// Names the executable of schemathesis.
const SCHEMATHESIS: &str = "PORTMETER_SCHEMATHESIS";

/// Names the Debian package.
const DEB: &str = "PORTMETER_DEB";

/// Names the executable of Prometheus, beside promtool and a Python with its client.
const PROMETHEUS: &str = "PORTMETER_PROMETHEUS";

/// Why a story cannot be told on this machine.
#[derive(Debug)]
pub struct Lacking(String);

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

/// Something that came with kernel `major`.`minor`.
pub fn kernel(major: u8, minor: u8, feature: &str) -> Result<()> {
    if KernelVersion::current()? >= KernelVersion::new(major, minor, 0) {
        return Ok(());
    }
    bail!(Lacking(format!(
        "this kernel has no {feature}, which came with {major}.{minor}"
    )))
}

/// A kind of network device, as `ip link add … type` has it.
pub fn device(kind: &str) -> Result<()> {
    if has_device(kind)? {
        return Ok(());
    }
    let reason = format!("this kernel has no devices of type {kind}");
    if is_set(REQUIRE_DEVICES, "1") {
        bail!("{reason}, and {REQUIRE_DEVICES}=1 says that it has");
    }
    bail!(Lacking(reason))
}

/// A program that only few stories call.
pub fn program(name: &str, package: &str) -> Result<()> {
    if is_on_path(name) {
        return Ok(());
    }
    let reason = format!("it needs {name} (Debian: {package})");
    if may_leave_out() {
        bail!(Lacking(reason));
    }
    bail!("this story must not be left out here, and {reason}")
}

/// A real Xray core: the executable that the environment names.
pub fn xray() -> Result<PathBuf> {
    named("an Xray core", XRAY)
}

/// grpcurl, in the folder of a Python that has grpcio: the executable that the environment names.
pub fn grpcurl() -> Result<PathBuf> {
    named("grpcurl and grpcio", GRPCURL)
}

/// schemathesis: the executable that the environment names.
pub fn schemathesis() -> Result<PathBuf> {
    named("schemathesis", SCHEMATHESIS)
}

/// The Debian package: the file that the environment names.
pub fn package() -> Result<PathBuf> {
    named("the Debian package", DEB)
}

/// Prometheus, in the folder of promtool and of a Python that has its client: the executable that the environment names.
pub fn prometheus() -> Result<PathBuf> {
    named("Prometheus", PROMETHEUS)
}

fn named(what: &str, variable: &str) -> Result<PathBuf> {
    let reason = match env::var_os(variable).map(PathBuf::from) {
        Some(executable) if executable.is_file() => return Ok(executable),
        Some(executable) => format!("{variable} names {}, which is no file", executable.display()),
        None => format!("it needs {what}, which {variable} names: run `cargo xtask test`"),
    };
    if may_leave_out() {
        bail!(Lacking(reason));
    }
    bail!("this story must not be left out here, and {reason}")
}

/// Whether a story may be left out for want of what could be had: rights, programs.
pub fn may_leave_out() -> bool {
    !is_set("CI", "true") && !is_set("PORTMETER_REQUIRE_ROOT", "1")
}

/// Whether a program is on the path.
pub fn is_on_path(program: &str) -> bool {
    // A path of its own is looked up nowhere.
    if program.starts_with('/') {
        return fs::metadata(program).is_ok_and(|metadata| metadata.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| fs::metadata(folder.join(program)).is_ok_and(|metadata| metadata.is_file()))
}

/// Asks the kernel for one in a namespace of its own. It may refuse for what else such a device needs, and then has
/// them; one that it does not know it calls unknown, after it has looked for a module.
fn has_device(kind: &str) -> Result<bool> {
    let namespace = Namespace::new("probe")?;
    let mut add = Command::new("ip");
    add.args(["link", "add", "name", "probe0", "type", kind]);
    let output = namespace.enter(|| add.output())?;
    Ok(output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("Unknown device type"))
}

fn is_set(name: &str, value: &str) -> bool {
    env::var(name).is_ok_and(|found| found == value)
}
