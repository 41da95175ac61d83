//! What was sampled since the last booking, shared by the sampler, the writer and whoever answers.
//!
//! The sampler adds to it every second, so that each byte belongs to the minute in which it was seen, however long the
//! disk takes. The writer takes what there is, books it, and settles; until then it stays visible, so that an answer is
//! always what is booked and what is not, each byte once. The sequence number of the last commit ties the two together:
//! an answer whose parts are of different commits is put together anew.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};

use super::pending::{Pending, PortPending};
use super::recent::{Moment, Recent};
use super::tally::Tally;
use crate::calendar::Minute;
use crate::counters::{Counter, CounterReader};

/// Readings further apart than this leave a gap: what passed in it is booked to the minute of the later one, and that
/// is worth telling.
pub(super) const GAP_MIN: TimeDelta = TimeDelta::seconds(10);

/// A time in which nobody read the counters although something passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last reading before.
    pub from: DateTime<Utc>,
    /// The first one after.
    pub to: DateTime<Utc>,
    /// What passed, both directions.
    pub total_bytes: u64,
    /// Ports on which it did.
    pub ports: usize,
}

/// A port's part of what the writer books.
#[derive(Debug, Clone)]
pub struct TakenPort {
    /// The port.
    pub port: u16,
    /// The counter that this brings the ledger to.
    pub checkpoint: Counter,
    /// Whether connections were open at the last sample; `None` where nobody knows.
    pub is_connected: Option<bool>,
    /// What is to be booked.
    pub pending: Pending,
}

/// What the writer books.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// The ports with something new.
    pub ports: Vec<TakenPort>,
    /// The most connections and connected keys at one sample, by minute.
    pub peaks: Vec<(Minute, Peak)>,
    /// The gap before the first sample in this, if there was one.
    pub gap: Option<Gap>,
}

impl Taken {
    /// The bytes in it, of all ports.
    pub fn total_bytes(&self) -> u64 {
        let bytes = |port: &TakenPort| port.pending.sum().traffic.total_bytes();
        self.ports.iter().map(bytes).sum()
    }
}

/// The highest of all keys together at one sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peak {
    /// Connections.
    pub connections: u64,
    /// Keys with a connection.
    pub online_keys: u64,
}

/// What an answer adds to what is booked.
#[derive(Debug, Clone, Default)]
pub struct Unbooked {
    /// By port, in the order asked for: the minutes not booked, this moment's reading included, and whether connections
    /// are open now.
    pub ports: Vec<(Pending, bool)>,
    /// The peaks not booked.
    pub peaks: Vec<(Minute, Peak)>,
}

/// See the file's header. One lock; the longest anyone holds it is one pass over all ports.
pub struct Samples {
    state: Mutex<State>,
}

struct State {
    sequence: u64,
    /// Ascending, as the reader has them; the two below are in this order.
    numbers: Vec<u16>,
    ports: Vec<Port>,
    read_at: Option<DateTime<Utc>>,
    peaks: Vec<(Minute, Peak)>,
    taken_peaks: Vec<(Minute, Peak)>,
    gap: Option<Gap>,
    taken_gap: Option<Gap>,
    recent: Recent,
    /// Bytes of keys seen by others than the sampler since its last pass.
    unseen_bytes: u64,
    /// Whether nobody but the writer reads the counters for the ledger.
    is_paused: bool,
}

#[derive(Default)]
struct Port {
    open: PortPending,
    taken: Pending,
    /// Whether a key has it.
    is_assigned: bool,
    /// As the ledger has it, or will have it when what was taken is booked.
    was_connected: bool,
    /// As the ledger has it until then.
    was_connected_before: bool,
}

/// Where a port stands when the ledger is taken up.
#[derive(Debug, Clone, Copy, Default)]
pub struct PortStart {
    /// The counter up to which it is booked.
    pub checkpoint: Counter,
    /// Whether connections were open then.
    pub is_connected: bool,
    /// Whether a key has it.
    pub is_assigned: bool,
}

impl Samples {
    /// The samples of a ledger whose last commit is `sequence`, last read at `read_at`.
    pub fn new(
        sequence: u64,
        read_at: Option<DateTime<Utc>>,
        numbers: &[u16],
        start: impl Fn(u16) -> PortStart,
    ) -> Self {
        let port = |number: &u16| {
            let start = start(*number);
            Port {
                open: PortPending {
                    counter: start.checkpoint,
                    connections: u64::from(start.is_connected),
                    pending: Pending::default(),
                },
                is_assigned: start.is_assigned,
                was_connected: start.is_connected,
                was_connected_before: start.is_connected,
                taken: Pending::default(),
            }
        };
        Self {
            state: Mutex::new(State {
                sequence,
                numbers: numbers.to_vec(),
                ports: numbers.iter().map(port).collect(),
                read_at,
                peaks: Vec::new(),
                taken_peaks: Vec::new(),
                gap: None,
                taken_gap: None,
                recent: Recent::default(),
                unseen_bytes: 0,
                is_paused: false,
            }),
        }
    }

    /// From now on only the writer reads the counters, or the sampler and answers do again. What the kernel counts
    /// meanwhile is there when the writer reads.
    pub fn set_paused(&self, is_paused: bool) {
        self.lock().is_paused = is_paused;
    }

    /// When all ports were last read.
    pub fn read_at(&self) -> Option<DateTime<Utc>> {
        self.lock().read_at
    }

    /// The sampler's pass over all ports; none while it is paused.
    pub fn sample(&self, at: DateTime<Utc>, reader: &dyn CounterReader, connections: &dyn Fn(u16) -> Option<u64>) {
        let mut state = self.lock();
        if state.is_paused {
            return;
        }
        let minute = Minute::of(at);
        let (mut peak, mut key_bytes) = (Peak::default(), 0);
        state.pass(at, reader, connections, |port, step| {
            if port.is_assigned {
                key_bytes += step.map_or(0, |tally| tally.traffic.total_bytes());
                peak.connections += port.open.connections;
                peak.online_keys += u64::from(port.open.connections > 0);
            }
        });
        add_peak(&mut state.peaks, minute, peak);
        let total_bytes = key_bytes + std::mem::take(&mut state.unseen_bytes);
        state.recent.push(Moment {
            at,
            total_bytes,
            connections: peak.connections,
            online_keys: peak.online_keys,
        });
    }

    /// For the writer: reads every port and hands over what is new, which is settled or put back later.
    pub fn take_all(&self, at: DateTime<Utc>, reader: &dyn CounterReader) -> Taken {
        let mut state = self.lock();
        let mut key_bytes = 0;
        let connections = |port| reader.active_connections(port);
        state.pass(at, reader, &connections, |port, step| {
            if port.is_assigned {
                key_bytes += step.map_or(0, |tally| tally.traffic.total_bytes());
            }
        });
        state.unseen_bytes += key_bytes;
        state.taken_gap = state.gap.take();
        state.taken_peaks = std::mem::take(&mut state.peaks);
        Taken {
            gap: state.taken_gap,
            peaks: state.taken_peaks.clone(),
            ports: (0..state.ports.len()).filter_map(|at| state.take_port(at)).collect(),
        }
    }

    /// The same for some ports only.
    pub fn take(&self, at: DateTime<Utc>, reader: &dyn CounterReader, ports: &[u16]) -> Taken {
        let mut state = self.lock();
        let mut taken = Taken::default();
        for number in ports {
            if let Some(index) = state.sample_port(*number, at, reader) {
                taken.ports.extend(state.take_port(index));
            }
        }
        taken
    }

    /// What was taken is booked by the commit `sequence`. `publish` makes the state after it visible in the same step.
    pub fn settle(&self, sequence: u64, publish: impl FnOnce()) {
        let mut state = self.lock();
        state.sequence = sequence;
        state.taken_peaks.clear();
        state.taken_gap = None;
        for port in &mut state.ports {
            port.taken.clear();
            port.was_connected_before = port.was_connected;
        }
        publish();
    }

    /// What was taken could not be booked: it is pending again.
    pub fn put_back(&self) {
        let mut state = self.lock();
        let peaks = std::mem::take(&mut state.taken_peaks);
        for (minute, peak) in peaks {
            add_peak(&mut state.peaks, minute, peak);
        }
        // The earlier gap is the one that matters; a later one is inside it.
        state.gap = state.taken_gap.take().or(state.gap);
        for port in &mut state.ports {
            port.was_connected = port.was_connected_before;
            if !port.taken.is_empty() {
                let mut whole = std::mem::take(&mut port.taken);
                whole.add_all(&port.open.pending);
                port.open.pending = whole;
            }
        }
    }

    /// Notes which ports keys have. A port that has changed hands begins without a connection, so that those that are
    /// open are a session of its new key.
    pub fn set_assigned(&self, assigned: &BTreeSet<u16>, changed: &BTreeSet<u16>) {
        let mut state = self.lock();
        let State { numbers, ports, .. } = &mut *state;
        for (number, port) in numbers.iter().zip(ports) {
            port.is_assigned = assigned.contains(number);
            if changed.contains(number) {
                port.open.connections = 0;
                port.was_connected = false;
            }
        }
    }

    /// What an answer of this moment adds to the state after commit `sequence`. `None` when that is not the last commit
    /// any more: the caller looks again.
    ///
    /// The ports are sampled for it, so that what was answered once, a highest number of connections for example, is in
    /// every later answer too. While sampling is paused an answer ends where it was paused.
    pub fn unbooked(
        &self,
        sequence: u64,
        at: DateTime<Utc>,
        reader: &dyn CounterReader,
        ports: impl Iterator<Item = Option<u16>>,
    ) -> Option<Unbooked> {
        let mut state = self.lock();
        if state.sequence != sequence {
            return None;
        }
        let mut peaks = state.taken_peaks.clone();
        for (minute, peak) in &state.peaks {
            add_peak(&mut peaks, *minute, *peak);
        }
        let ports = ports
            .map(|number| number.map_or_else(Default::default, |number| state.view(number, at, reader)))
            .collect();
        Some(Unbooked { ports, peaks })
    }

    /// All keys together at each sample since `from`, an hour at most.
    pub fn recent(&self, from: DateTime<Utc>) -> Vec<Moment> {
        self.lock().recent.since(from)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    /// Samples every port and notes a gap before this.
    fn pass(
        &mut self,
        at: DateTime<Utc>,
        reader: &dyn CounterReader,
        connections: &dyn Fn(u16) -> Option<u64>,
        mut each: impl FnMut(&Port, Option<Tally>),
    ) {
        let minute = Minute::of(at);
        let (mut total_bytes, mut busy_ports) = (0, 0);
        let mut ports = self.ports.iter_mut();
        reader.read_all(&mut |number, counter| {
            let Some(port) = ports.next() else { return };
            let step = port.open.sample(minute, at, counter, connections(number));
            let bytes = step.map_or(0, |tally| tally.traffic.total_bytes());
            total_bytes += bytes;
            busy_ports += usize::from(bytes > 0);
            each(port, step);
        });
        let before = self.read_at.replace(at);
        if let Some(from) = before.filter(|from| at - *from > GAP_MIN && busy_ports > 0) {
            let from = self.gap.map_or(from, |gap| gap.from);
            self.gap = Some(Gap {
                from,
                to: at,
                total_bytes: total_bytes + self.gap.map_or(0, |gap| gap.total_bytes),
                ports: busy_ports,
            });
        }
    }

    fn take_port(&mut self, index: usize) -> Option<TakenPort> {
        let port = &mut self.ports[index];
        let is_connected = port.open.connections > 0;
        if port.open.pending.is_empty() && is_connected == port.was_connected {
            return None;
        }
        port.was_connected = is_connected;
        port.taken.add_all(&port.open.pending);
        let pending = std::mem::take(&mut port.open.pending);
        Some(TakenPort {
            port: self.numbers[index],
            checkpoint: port.open.counter,
            is_connected: Some(is_connected),
            pending,
        })
    }

    /// Samples one port; gives its place.
    fn sample_port(&mut self, number: u16, at: DateTime<Utc>, reader: &dyn CounterReader) -> Option<usize> {
        let index = self.numbers.binary_search(&number).ok()?;
        let port = &mut self.ports[index];
        let (counter, connections) = (reader.read(number), reader.active_connections(number));
        let step = port.open.sample(Minute::of(at), at, counter, connections);
        let key_step = step.filter(|_| port.is_assigned);
        self.unseen_bytes += key_step.map_or(0, |tally| tally.traffic.total_bytes());
        Some(index)
    }

    fn view(&mut self, number: u16, at: DateTime<Utc>, reader: &dyn CounterReader) -> (Pending, bool) {
        let place = match self.is_paused {
            true => self.numbers.binary_search(&number).ok(),
            false => self.sample_port(number, at, reader),
        };
        let Some(index) = place else {
            return Default::default();
        };
        let port = &self.ports[index];
        let mut pending = port.taken.clone();
        pending.add_all(&port.open.pending);
        (pending, port.open.connections > 0)
    }
}

fn add_peak(peaks: &mut Vec<(Minute, Peak)>, minute: Minute, peak: Peak) {
    if peak == Peak::default() {
        return;
    }
    match peaks.iter_mut().rev().find(|(known, _)| *known == minute) {
        Some((_, known)) => {
            known.connections = known.connections.max(peak.connections);
            known.online_keys = known.online_keys.max(peak.online_keys);
        }
        None => peaks.push((minute, peak)),
    }
}
