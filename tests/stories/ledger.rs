//! The ledger of a running agent: where a day ends under steady traffic, and a collector that follows the bookings.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use portmeter_proto::v1::{Tally, WatchBookingsResponse};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::settle;
use portmeter_tests::{needs, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_day_ends_under_traffic", a_day_ends_under_traffic),
    (
        "a_collector_resumes_after_kills_and_a_delete",
        a_collector_resumes_after_kills_and_a_delete,
    ),
];

/// The second at which 2026-03-29 begins in Berlin; it has 23 hours.
const MIDNIGHT: f64 = 1_774_738_800.0;
/// What the agent's clock shows when it starts: ten seconds before.
const START: &str = "@2026-03-28 22:59:50";
/// Longer than from one sample to the next: a second, and what a busy machine adds.
const SAMPLE_SECONDS: f64 = 1.5;

/// A day's bytes are those up to midnight, to one sample; and none is lost or in both.
fn a_day_ends_under_traffic() -> Result<()> {
    needs::program("faketime", "faketime")?;
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_LEDGER__TIME_ZONE", "Europe/Berlin");
    let clock = [format!("LD_PRELOAD={}", clock_library()?), format!("FAKETIME={START}")];
    agent.change_wrapper(&["env", "TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", &clock[0], &clock[1]]);
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let flood = Background::flood(&pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;

    // What the kernel shows and when, by the agent's own clock, until well into the next day.
    let mut shown: Vec<(f64, u64)> = Vec::new();
    wait::until("the next day has begun", || {
        let traffic = agent.rest().shown("/api/traffic/simple")?;
        let time = traffic["data"]["timestamp"].as_f64().context("no timestamp")?;
        let bytes = traffic["data"]["total_bytes"].as_u64().context("no bytes")?;
        shown.push((time, bytes));
        Ok(time > MIDNIGHT + 2.0 * SAMPLE_SECONDS)
    })?;
    flood.stop()?;
    let truth = count::of(&capture.finish(SERVER_V4.into())?, key.port);

    let history = agent.rest().shown(&format!("/api/keys/{}/traffic/history", key.id))?;
    let day = |date: &str| history["data"]["daily_stats"][date]["total_bytes"].as_u64();
    let first = day("2026-03-28").context("no first day")?;
    let second = day("2026-03-29").context("no second day")?;
    ensure!(
        first + second == truth.bytes(),
        "{first} and {second} bytes in two days, {} on the wire",
        truth.bytes()
    );
    let until = |time: f64| shown.iter().rev().find(|(at, _)| *at <= time).map(|(_, bytes)| *bytes);
    let after = |time: f64| shown.iter().find(|(at, _)| *at >= time).map(|(_, bytes)| *bytes);
    let least = until(MIDNIGHT - SAMPLE_SECONDS).context("the agent came too late for this")?;
    let most = after(MIDNIGHT).context("nothing was shown after midnight")?;
    ensure!(
        (least..=most).contains(&first) && least > 0,
        "the first day has {first} bytes, of which there were {least} before the last sample and {most} at midnight"
    );
    Ok(())
}

/// Where Debian's package has it, on every kind of machine.
fn clock_library() -> Result<String> {
    let folders = std::fs::read_dir("/usr/lib")?;
    let mut libraries = folders.filter_map(|folder| {
        let library = folder.ok()?.path().join("faketime/libfaketimeMT.so.1");
        library.exists().then(|| library.display().to_string())
    });
    libraries.next().context("faketime is there without its library")
}

/// What an outside collector knows: it writes over what it has, and remembers the number with it.
#[derive(Default)]
struct Collector {
    sequence: u64,
    totals: BTreeMap<String, Tally>,
    minutes: BTreeMap<(String, u64, i64), Tally>,
}

impl Collector {
    fn take(&mut self, message: WatchBookingsResponse) {
        for key in message.keys {
            for minute in key.minutes {
                let start = minute.start.map_or(0, |start| start.seconds);
                let place = (key.key_id.clone(), minute.history_id, start);
                self.minutes.insert(place, minute.tally.unwrap_or_default());
            }
            self.totals.insert(key.key_id, key.total.unwrap_or_default());
        }
        self.sequence = message.sequence;
    }

    /// Follows, from where it stands, until it has what is booked now.
    fn catch_up(&mut self, agent: &Agent<'_>) -> Result<()> {
        let grpc = agent.grpc()?;
        let now = grpc.booking_snapshot()?.sequence;
        if now == self.sequence {
            return Ok(());
        }
        let messages = grpc.bookings(self.sequence, now)?;
        for message in messages.map_err(|code| anyhow::anyhow!("refused with {code:?}"))? {
            self.take(message);
        }
        Ok(())
    }

    fn total(&self, key: &str) -> Count {
        self.totals.get(key).map(of_tally).unwrap_or_default()
    }

    fn sum_of_minutes(&self, key: &str) -> Count {
        let minutes = self.minutes.iter().filter(|((id, ..), _)| id == key);
        minutes.fold(Count::default(), |sum, (_, tally)| sum.and(&of_tally(tally)))
    }
}

fn of_tally(tally: &Tally) -> Count {
    Count {
        rx_bytes: tally.rx_bytes,
        rx_packets: tally.rx_packets,
        tx_bytes: tally.tx_bytes,
        tx_packets: tally.tx_packets,
    }
}

fn a_collector_resumes_after_kills_and_a_delete() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", "1");
    agent.start()?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let address = |port| SocketAddr::new(SERVER_V4.into(), port);
    let stream = Background::tcp(&pair.server, &pair.client, address(keys[0].port))?;
    let flood = Background::flood(&pair.client, address(keys[1].port))?;
    let mut collector = Collector::default();
    for kills in 1..=3 {
        stream.wait_for(kills * 700_000)?;
        collector.catch_up(&agent)?;
        stream.wait_for(kills * 700_000 + 300_000)?;
        agent.kill()?;
        agent.start()?;
    }
    let reset = format!("/api/keys/{}/traffic/history/reset", keys[0].id);
    agent.rest().post(&reset, None)?.expect_success()?;
    stream.stop()?;
    flood.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    let truth = capture.finish(SERVER_V4.into())?;
    // Deleting books the key's last bytes.
    agent.rest().delete_key(&keys[1].id)?;
    wait::until("everything is booked", || {
        collector.catch_up(&agent)?;
        Ok(collector.total(&keys[0].id).bytes() >= count::of(&truth, keys[0].port).bytes())
    })?;
    for key in &keys {
        let (total, minutes) = (collector.total(&key.id), collector.sum_of_minutes(&key.id));
        let wire = count::of(&truth, key.port);
        ensure!(
            total == wire && minutes == wire,
            "port {}: {wire:?} on the wire, {total:?} in the total, {minutes:?} in the minutes",
            key.port
        );
    }
    let ahead = agent.grpc()?.bookings(collector.sequence + 1_000, 0)?;
    ensure!(ahead.is_err(), "a position that was never reached can be followed");
    Ok(())
}
