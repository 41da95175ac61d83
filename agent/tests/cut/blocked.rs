//! Where the kernel cannot end connections, they are blocked: the same downloads, with the fallback asked for.

use std::collections::BTreeSet;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use portmeter::config::HookChoice;
use portmeter::cut_off::{CutOff, Means, Outcome};
use portmeter::kernel::inspect::Chain;
use portmeter::kernel::{Dropped, Hook, Kernel, KernelOptions};
use portmeter::network::cut;
use portmeter::network::plan::Target;
use uuid::Uuid;

use crate::download::Download;
use crate::space::{run, states_at};
use crate::{ANY, OTHER_PORT, PORT};

/// Loopback's index in every namespace.
const LOOPBACK: u32 = 1;

pub(crate) fn blocked_by_links() -> Result<()> {
    a_blocked_download_stands_still(HookChoice::Tcx)
}

pub(crate) fn blocked_by_filters() -> Result<()> {
    a_blocked_download_stands_still(HookChoice::Clsact)
}

fn a_blocked_download_stands_still(hook: HookChoice) -> Result<()> {
    let programs = Counting::on_loopback(hook)?;
    let before = running()?;
    let cutting = CutOff::new(Arc::clone(&programs.kernel), Means::Block);
    let mut dropped_before = programs.dropped()?;
    ensure!(
        dropped_before.packets == 0,
        "{dropped_before:?} were dropped before anything was blocked"
    );
    for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let (listener, other) = (TcpListener::bind((ANY, PORT))?, TcpListener::bind((ANY, OTHER_PORT))?);
        let to = |port: u16| SocketAddr::new(address, port);
        let download = Download::start(&listener, to(PORT))?;
        let beside = Download::start(&other, to(OTHER_PORT))?;
        download.flows()?;
        beside.flows()?;
        ensure!(
            cutting.cut_off(PORT)? == Outcome::Blocked(1),
            "at {address}: not blocked"
        );
        ensure!(running()? != before, "nothing blocks");

        // What had arrived is read; then nothing comes while much passes beside it, the same way.
        download.is_read_empty()?;
        let arrived = download.received_bytes();
        beside.flows()?;
        // So does who comes later, as a key that is enabled again.
        let later = Download::start(&listener, to(PORT))?;
        later.flows()?;
        cutting.release()?;
        let there = states_at(PORT)?;
        ensure!(cutting.blocked() == 1, "at {address}: given up, and there is {there:?}");
        beside.flows()?;
        ensure!(
            download.received_bytes() == arrived,
            "at {address}: something has arrived"
        );
        let dropped = programs.dropped()?;
        ensure!(
            dropped.packets > dropped_before.packets
                && dropped.bytes >= 40 * (dropped.packets - dropped_before.packets),
            "at {address}: {dropped:?} were dropped, and {dropped_before:?} before"
        );
        dropped_before = dropped;

        // The server's ends are gone; of the blocked one not even the reset gets through.
        let there = states_at(PORT)?;
        ensure!(cut::destroy(PORT)?.ended == 2, "at {address}: there was {there:?}");
        later.ended()?;
        beside.flows()?;
        ensure!(!download.has_ended(), "at {address}: the client was told");
        cutting.release()?;
        ensure!(cutting.blocked() == 0, "at {address}: still blocked");
        ensure!(running()? == before, "something is left attached");
        beside.stop()?;
        download.stop()?;
    }
    Ok(())
}

/// Filters outlive the agent that made them.
pub(crate) fn the_next_start_removes_filters_that_block() -> Result<()> {
    let killed = Counting::on_loopback(HookChoice::Clsact)?;
    let before = running()?;
    let listener = TcpListener::bind((ANY, PORT))?;
    let download = Download::start(&listener, (Ipv4Addr::LOCALHOST, PORT).into())?;
    download.flows()?;
    CutOff::new(Arc::clone(&killed.kernel), Means::Block).cut_off(PORT)?;
    let blocking = running()?;
    ensure!(blocking != before, "nothing blocks");
    // As an agent that is killed leaves it: nothing is cleaned up.
    mem::forget(Arc::clone(&killed.kernel));
    mem::forget(killed);
    ensure!(running()? == blocking, "this is not how a killed agent leaves it");
    let _next = Counting::on_loopback(HookChoice::Clsact)?;
    ensure!(running()? == before, "filters that block are left");
    download.flows()?;
    download.stop()
}

/// What runs on loopback: filters as `tc` lists them, and how many programs the TCX chains have.
fn running() -> Result<(usize, usize, usize)> {
    let filters = |hook: &str| -> Result<usize> {
        // Without the qdisc there is nothing to list.
        let listed = run(&format!("tc filter show dev lo {hook}")).unwrap_or_default();
        Ok(listed.matches("direct-action").count())
    };
    let chain = Chain::of(LOOPBACK).unwrap_or_default();
    Ok((
        filters("ingress")? + filters("egress")?,
        chain.ingress.len(),
        chain.egress.len(),
    ))
}

/// The programs, counting on loopback; taken out of the kernel at the end.
struct Counting {
    kernel: Arc<Mutex<Kernel>>,
}

impl Counting {
    fn on_loopback(hook: HookChoice) -> Result<Self> {
        let mut kernel = Kernel::open(&KernelOptions {
            instance: &format!("cut-{}-{hook:?}", process::id()),
            hook,
            ports: &BTreeSet::from([PORT, OTHER_PORT]),
            ledger_id: Uuid::new_v4(),
            log: false,
        })?;
        let loopback = Target {
            index: LOOPBACK,
            name: "lo".to_owned(),
            has_link_header: true,
            is_loopback: true,
        };
        let failures = kernel.attach_to(&[loopback]);
        ensure!(failures.is_empty(), "{failures:?}");
        let expected = if hook == HookChoice::Tcx {
            Hook::Tcx
        } else {
            Hook::Clsact
        };
        ensure!(kernel.attached().all(|one| one.hook == expected), "another hook");
        Ok(Self {
            kernel: Arc::new(Mutex::new(kernel)),
        })
    }
}

impl Counting {
    /// What the programs have dropped so far.
    fn dropped(&self) -> Result<Dropped> {
        let kernel = self.kernel.lock().expect("nothing panics while it holds this lock");
        let rows = kernel.dropped()?;
        ensure!(rows.len() == 1 && rows[0].reason == "cut_off", "{rows:?}");
        Ok(rows[0])
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Ok(mut kernel) = self.kernel.lock() {
            kernel.detach_all();
            kernel.remove_pins();
        }
    }
}
