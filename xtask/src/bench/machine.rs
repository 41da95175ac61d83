//! What a bench runs on, and how busy that is.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use crate::command;

/// Runnable threads in the last minute beyond which figures say little.
const QUIET_LOAD_MAX: f64 = 0.5;

/// Prints the machine and its load, and warns when others use it.
pub(super) fn describe() -> Result<()> {
    let kernel = command::output(Command::new("uname").arg("-sr"))?;
    let cpus = thread::available_parallelism()?;
    let text = fs::read_to_string("/proc/loadavg")?;
    let load: f64 = text
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .context("/proc/loadavg begins with no number")?;
    println!("\n{}, {cpus} processors ({}), load {load}", kernel.trim(), processor()?);
    if load > QUIET_LOAD_MAX {
        println!("other work runs on this machine: take what follows as preliminary");
    }
    Ok(())
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(name.map_or("unknown", |(_, name)| name).to_owned())
}
