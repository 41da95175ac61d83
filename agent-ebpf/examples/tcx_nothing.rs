//! Keeps a program that does nothing attached at both ends of an interface's TCX chain until it is ended: what the hook
//! itself costs, for `cargo xtask bench overhead`.
//!
//! Arguments: an object whose program `empty` is a classifier, and the interface.

use std::env;
use std::fs;
use std::thread;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::tc::{SchedClassifier, TcAttachOptions};
use aya::programs::{LinkOrder, TcAttachType};

const PROGRAM: &str = "empty";

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let (object, interface) = arguments
        .next()
        .zip(arguments.next())
        .context("usage: tcx_nothing OBJECT INTERFACE")?;
    let object = fs::read(&object).with_context(|| format!("reading {object}"))?;
    let mut object = Ebpf::load(&object)?;
    let program = object
        .program_mut(PROGRAM)
        .with_context(|| format!("the object has no program {PROGRAM}"))?;
    let program: &mut SchedClassifier = program.try_into()?;
    program.load()?;
    for attach_type in [TcAttachType::Ingress, TcAttachType::Egress] {
        program.attach_with_options(&interface, attach_type, TcAttachOptions::TcxOrder(LinkOrder::default()))?;
    }
    println!("attached");
    loop {
        thread::park();
    }
}
