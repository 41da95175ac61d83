//! A program that does nothing at both ends of the TCX chain: what the hook costs before anything is counted there.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::bench::clang::Clang;
use crate::bench::lab::{Host, INTERFACE};
use crate::bench::process::Running;
use crate::{command, workspace_root};

/// The process that holds it there, ended when dropped.
pub(super) struct TcxNothing {
    _process: Running,
}

impl TcxNothing {
    pub(super) fn attach(host: &Host) -> Result<Self> {
        let object = Clang::find()?.compile("classifier")?;
        let example = ["--package", "portmeter-ebpf", "--example", "tcx_nothing"];
        command::run(command::cargo().args(["build", "--quiet", "--release"]).args(example))?;
        let program = workspace_root().join("target/release/examples/tcx_nothing");
        let mut holder = host.command(&program.to_string_lossy());
        holder.arg(object).arg(INTERFACE).stdout(Stdio::piped());
        let mut process = Running::start(&mut holder)?;
        let mut line = String::new();
        BufReader::new(process.take_stdout()?).read_line(&mut line)?;
        ensure!(
            line.trim() == "attached",
            "the program that does nothing was not attached"
        );
        Ok(Self { _process: process })
    }
}
