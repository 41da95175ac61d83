//! One round: everything starts with nothing, counts the same traffic, is killed and started again, and is asked.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::contender::{Contender, saved_at};
use super::pmacct::Pmacct;
use super::portmeter::PortmeterPeer;
use super::report::Outcome;
use super::traffic;
use super::truth::{Layer, Truth};
use super::vnstat::VnStat;
use crate::bench::lab::{INTERFACE, Lab};
use crate::bench::process::wait_for;
use crate::command;

/// How a round goes.
pub(super) struct Plan {
    /// From the last save to the kill.
    pub(super) after_save: Duration,
    pub(super) vnstat_save_interval: Duration,
}

/// How much later than its interval a save may come.
const SAVE_DELAY_MAX: Duration = Duration::from_secs(30);
/// How long what was sent, or is to be sent within a second, may take to be received.
const TRANSIT_MAX: Duration = Duration::from_secs(5);

/// What was seen around the kill.
struct Gap {
    since_save_bytes: u64,
    while_down_bytes: u64,
    down: Duration,
}

/// Contenders' titles, and how they fared.
pub(super) fn run(lab: &Lab, folder: &Path, plan: &Plan) -> Result<Vec<(&'static str, Outcome)>> {
    silence(lab)?;
    let truth = Truth::start(&lab.server)?;
    let mut contenders: [Box<dyn Contender + '_>; 3] = [
        Box::new(PortmeterPeer::new(&lab.server, folder)),
        Box::new(VnStat::new(&lab.server, folder, plan.vnstat_save_interval)?),
        Box::new(Pmacct::new(&lab.server, folder)?),
    ];
    for contender in &mut contenders {
        contender
            .start()
            .with_context(|| format!("starting {}", contender.title()))?;
    }
    let began = SystemTime::now();
    let (gaps, sent_bytes) = traffic::during(lab, || {
        let contenders = contenders.iter_mut().map(AsMut::as_mut);
        side_by_side(contenders, |contender| kill(contender, &truth, began, plan.after_save))
    })?;
    wait_for("all that was sent is received", TRANSIT_MAX, || {
        Ok((truth.received_bytes(Layer::Packets)? == sent_bytes).then_some(()))
    })?;
    let ended = SystemTime::now();
    let contenders = contenders.iter_mut().map(AsMut::as_mut);
    let shown = side_by_side(contenders, |contender| {
        Ok((contender.title(), contender.layer(), contender.finish(ended)?))
    })?;
    shown
        .into_iter()
        .zip(gaps)
        .map(|((title, layer, shown_bytes), gap)| {
            Ok((title, compare(title, shown_bytes, truth.received_bytes(layer)?, &gap)?))
        })
        .collect()
}

/// Has the cable carry nothing but the traffic: no IPv6, which speaks unasked, and neighbours asked for only once.
fn silence(lab: &Lab) -> Result<()> {
    for host in [&lab.server, &lab.client] {
        let mut sysctl = host.command("sysctl");
        sysctl.args(["-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"]);
        sysctl.arg(format!("net.ipv4.neigh.{INTERFACE}.base_reachable_time_ms=86400000"));
        command::output(&mut sysctl)?;
    }
    Ok(())
}

/// Does `work` with every contender at the same time.
fn side_by_side<'one, 'lab: 'one, T: Send>(
    contenders: impl Iterator<Item = &'one mut (dyn Contender + 'lab)>,
    work: impl Fn(&mut dyn Contender) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let one = |contender: &'one mut (dyn Contender + 'lab)| {
            scope.spawn(move || work(contender).with_context(|| contender.title()))
        };
        let workers: Vec<_> = contenders.map(one).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<T>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().map(join).collect()
    })
}

/// Kills a contender when its last save is as old as wanted, and starts it again.
fn kill(contender: &mut dyn Contender, truth: &Truth<'_>, began: SystemTime, after_save: Duration) -> Result<Gap> {
    let layer = contender.layer();
    let saved_bytes = await_save(contender, truth, began, after_save)?;
    contender.kill()?;
    let (killed, killed_bytes) = (Instant::now(), truth.received_bytes(layer)?);
    contender.start()?;
    let (down, up_bytes) = (killed.elapsed(), truth.received_bytes(layer)?);
    wait_for("there is traffic after the start", TRANSIT_MAX, || {
        Ok((truth.received_bytes(layer)? > up_bytes + traffic::BYTES_PER_SECOND).then_some(()))
    })?;
    Ok(Gap {
        since_save_bytes: killed_bytes - saved_bytes,
        while_down_bytes: up_bytes - killed_bytes,
        down,
    })
}

/// Waits until the last save is `after_save` old, and later than `began`; what had been received when it was seen.
fn await_save(contender: &dyn Contender, truth: &Truth<'_>, began: SystemTime, after_save: Duration) -> Result<u64> {
    let mut last = None;
    let patience = contender.save_interval() + after_save + SAVE_DELAY_MAX;
    wait_for("the last save is old enough", patience, || {
        let Some(saved) = saved_at(contender).filter(|saved| *saved > began) else {
            return Ok(None);
        };
        let bytes = match last {
            Some((last_saved, bytes)) if last_saved == saved => bytes,
            _ => truth.received_bytes(contender.layer())?,
        };
        last = Some((saved, bytes));
        let age = saved.elapsed().unwrap_or_default();
        Ok((age >= after_save).then_some(bytes))
    })
}

fn compare(title: &str, shown_bytes: u64, true_bytes: u64, gap: &Gap) -> Result<Outcome> {
    ensure!(shown_bytes > 0, "{title} counted nothing");
    ensure!(
        shown_bytes <= true_bytes,
        "{title} shows {shown_bytes} bytes, and only {true_bytes} were received"
    );
    Ok(Outcome {
        true_bytes,
        lost_bytes: true_bytes - shown_bytes,
        since_save_bytes: gap.since_save_bytes,
        while_down_bytes: gap.while_down_bytes,
        down: gap.down,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Gap = Gap {
        since_save_bytes: 10,
        while_down_bytes: 2,
        down: Duration::from_secs(1),
    };

    #[test]
    fn what_is_not_shown_is_lost() {
        assert_eq!(compare("it", 88, 100, &GAP).unwrap().lost_bytes, 12);
        assert_eq!(compare("it", 100, 100, &GAP).unwrap().lost_bytes, 0);
    }

    #[test]
    fn nothing_counted_or_too_much_is_an_error() {
        assert!(compare("it", 0, 100, &GAP).is_err());
        assert!(compare("it", 101, 100, &GAP).is_err());
    }
}
