//! The writer: each method is one transaction under its name, and publishes the new snapshot when it is committed.
//!
//! It reads the counters itself, inside the transaction's thread, so that a key's edges are exact: what was counted
//! before the reading belongs to what came before, everything after it to what comes now.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Transaction};
use tokio::sync::watch;
use uuid::Uuid;

use super::events::NewEvent;
use super::figures::CommitFigures;
use super::ledger::{self, Booker, LifeOrigin};
use super::snapshot::{Entry, Figures, History, HistoryId, Key, KeyId, Snapshot};
use super::{
    PortProbe, StoreError, cleanup, commits, cycles, documents, event_log, events, faults, identities, key_events,
    keys, requests, settings,
};
use crate::calendar::{BillingCycle, Calendar, Minute};
use crate::counters::{Counter, CounterReader, MapLifeId};
use crate::ledger::{Clock, Pending, PortStart, Samples, Taken, TakenPort, Tally};
use crate::xray::reality::Identity;
use crate::xray::subscription::SubscriptionToken;

/// An idle ledger notes this often that it was read, so that a gap is told with its real length.
const READ_NOTE_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// At most so many events come between two looks whether there are too many.
const EVENT_STEP_MAX: u64 = 1_000;

/// What a caller says about a key to be made.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// Its name, already checked.
    pub name: String,
    /// What it has of a REALITY identity of its own.
    pub identity: Option<Identity>,
    /// The caller's name for this creation, already checked: asked for again, it gives the key that it has made.
    pub request_id: Option<String>,
    /// Whether no other key may have the name.
    pub is_name_unique: bool,
}

/// What came of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// A new key.
    Made(Key),
    /// The key that an earlier creation of the same request id has made, as it is now.
    Repeated(Key),
}

/// What changes of a key, already checked; `None` leaves a field alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUpdate {
    /// The new name.
    pub name: Option<String>,
    /// Enables or disables the key.
    pub is_active: Option<bool>,
    /// The new alias; empty for none.
    pub alias: Option<String>,
}

/// What the writer works with, besides its connection.
pub(super) struct Surroundings {
    pub(super) reader: Arc<dyn CounterReader>,
    /// The ports that keys may have, ascending; as many keys as ports.
    pub(super) ports: Vec<u16>,
    pub(super) probe: Box<dyn PortProbe>,
    pub(super) calendar: Calendar,
    pub(super) clock: Arc<dyn Clock>,
    /// Most events that are kept, about.
    pub(super) event_count_max: u64,
    pub(super) figures: Arc<CommitFigures>,
}

/// The only one who writes.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) with: Surroundings,
    life: MapLifeId,
    /// The counter up to which each port is booked; as in the table.
    checkpoints: HashMap<u16, Counter>,
    pub(super) samples: Arc<Samples>,
    pub(super) published: Arc<ArcSwap<Snapshot>>,
    /// Wakes who follows the bookings.
    committed: watch::Sender<u64>,
    /// Wakes who follows the events.
    last_event: watch::Sender<u64>,
    read_noted_at: DateTime<Utc>,
}

/// The parts of a writer that others share.
pub(super) struct Shared {
    pub(super) samples: Arc<Samples>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) committed: watch::Receiver<u64>,
    pub(super) last_event: watch::Receiver<u64>,
}

/// Which ports a change reads.
#[derive(Clone, Copy)]
pub(super) enum Ports<'a> {
    All,
    These(&'a [u16]),
}

impl Writer {
    /// Takes up the reader's map life. Where another ledger has booked it so far, its present reading becomes the
    /// checkpoint, so that nothing is booked twice.
    pub(super) fn begin(
        mut connection: Connection,
        with: Surroundings,
        origin: &LifeOrigin,
        own_id: Uuid,
    ) -> Result<(Self, Shared), StoreError> {
        let life = with.reader.map_life();
        let transaction = connection.transaction()?;
        ledger::enter_life(&transaction, life, origin)?;
        if origin.ledger_id != own_id {
            let readings = with.reader.ports().iter().map(|port| (*port, with.reader.read(*port)));
            ledger::write_checkpoints(&transaction, life, readings)?;
        }
        transaction.commit()?;

        let checkpoints = ledger::checkpoints(&connection, life)?;
        let (snapshot, connected) = load(&connection, with.clock.now(), &checkpoints)?;
        let assigned = snapshot.assigned_ports();
        let start = |port| PortStart {
            checkpoint: checkpoints.get(&port).copied().unwrap_or_default(),
            is_connected: connected.contains(&port),
            is_assigned: assigned.contains(&port),
        };
        let read_at = commits::read_at(&connection)?;
        let samples = Arc::new(Samples::new(snapshot.sequence, read_at, with.reader.ports(), start));
        samples.set_paused(!snapshot.settings.is_collecting());
        let (committed, receiver) = watch::channel(snapshot.sequence);
        let (last_event, last_event_receiver) = watch::channel(event_log::last_id(&connection)?);
        let published = Arc::new(ArcSwap::from_pointee(snapshot));
        let shared = Shared {
            samples: Arc::clone(&samples),
            snapshot: Arc::clone(&published),
            committed: receiver,
            last_event: last_event_receiver,
        };
        let writer = Self {
            connection,
            with,
            life,
            checkpoints,
            samples,
            published,
            committed,
            last_event,
            read_noted_at: DateTime::UNIX_EPOCH,
        };
        Ok((writer, shared))
    }

    /// Reads every counter and books what is new.
    pub(super) fn book_all(&mut self) -> Result<(), StoreError> {
        self.change(Ports::All, None)
    }

    /// Books what a past life holds beyond its checkpoints. What another ledger has booked is that ledger's.
    pub(super) fn book_past_life(
        &mut self,
        reader: &dyn CounterReader,
        origin: &LifeOrigin,
        own_id: Uuid,
    ) -> Result<(), StoreError> {
        if origin.ledger_id != own_id {
            return Ok(());
        }
        let (life, at) = (reader.map_life(), self.with.clock.now());
        let mut next = Snapshot::clone(&self.published.load());
        next.sequence += 1;
        let transaction = self.connection.transaction()?;
        ledger::enter_life(&transaction, life, origin)?;
        let checkpoints = ledger::checkpoints(&transaction, life)?;
        let taken = Taken {
            ports: reader
                .ports()
                .iter()
                .filter_map(|port| past_port(*port, checkpoints.get(port), reader.read(*port), at))
                .collect(),
            ..Taken::default()
        };
        let first_minute = book(&transaction, &mut next, life, &self.with.calendar, &taken)?;
        commits::note(&transaction, next.sequence, at, first_minute)?;
        transaction.commit()?;
        self.publish(next);
        Ok(())
    }

    pub(super) fn create_key(&mut self, new: NewKey) -> Result<Creation, StoreError> {
        let now = self.with.clock.now();
        if let Some(key) = self.created_before(&new, now)? {
            return Ok(Creation::Repeated(key));
        }
        if new.is_name_unique {
            self.check_name_is_free(&new.name)?;
        }
        if self.published.load().entries.len() >= self.with.ports.len() {
            return Err(StoreError::KeyLimitReached(self.with.ports.len()));
        }
        let port = {
            let assigned = self.published.load().assigned_ports();
            self.free_port(&assigned)?
        };
        let key = Key {
            id: KeyId(Uuid::new_v4()),
            uuid: Uuid::new_v4(),
            name: new.name,
            alias: String::new(),
            is_active: true,
            created_at: now,
            port: Some(port),
            assigned_at: Some(now),
            cycle: None,
            subscription_token: Some(SubscriptionToken::generate()),
            identity: new.identity.map(Arc::new),
        };
        let (made, event, request_id) = (key.clone(), key_events::created(&key), new.request_id);
        self.edit(&[port], &[port], move |transaction, snapshot| {
            if let Some(request_id) = request_id {
                requests::note(transaction, &request_id, made.id, &made.name, now)?;
            }
            snapshot.entries.push(new_entry(transaction, made, now)?);
            keys::touch_port_table(transaction, now)?;
            snapshot.port_table.last_updated = now;
            snapshot.keys_changed();
            Ok(events::append(transaction, now, &event)?)
        })?;
        Ok(Creation::Made(key))
    }

    /// The key that this very request has made before.
    fn created_before(&self, new: &NewKey, now: DateTime<Utc>) -> Result<Option<Key>, StoreError> {
        let Some(request_id) = &new.request_id else {
            return Ok(None);
        };
        let Some(made) = requests::find(&self.connection, request_id, now)? else {
            return Ok(None);
        };
        if made.name != new.name {
            return Err(StoreError::RequestIdReused);
        }
        let key = self.find(KeyId(made.key_id));
        key.map(Some).map_err(|_| StoreError::CreatedKeyDeleted)
    }

    fn check_name_is_free(&self, name: &str) -> Result<(), StoreError> {
        let snapshot = self.published.load();
        match snapshot.entries.iter().any(|entry| entry.key.name == name) {
            true => Err(StoreError::KeyNameTaken(name.to_owned())),
            false => Ok(()),
        }
    }

    pub(super) fn update_key(&mut self, id: KeyId, update: KeyUpdate) -> Result<Key, StoreError> {
        let mut key = self.find(id)?;
        key.name = update.name.unwrap_or(key.name);
        key.alias = update.alias.unwrap_or(key.alias);
        let is_active = update.is_active.unwrap_or(key.is_active);
        if is_active != key.is_active {
            key.is_active = is_active;
            key.subscription_token = is_active.then(SubscriptionToken::generate);
        }
        self.replace_key(key)
    }

    /// Gives a key another uuid and another subscription token.
    pub(super) fn regenerate_key(&mut self, id: KeyId) -> Result<Key, StoreError> {
        let mut key = self.find(id)?;
        key.uuid = Uuid::new_v4();
        key.subscription_token = key.is_active.then(SubscriptionToken::generate);
        self.replace_key(key)
    }

    /// Books what is there, then writes what can change of a key: its uuid, name, alias, state and subscription token.
    pub(super) fn replace_key(&mut self, key: Key) -> Result<Key, StoreError> {
        let told = key_events::changes(&self.find(key.id)?, &key);
        self.write_key(key, told)
    }

    /// Takes a change back that came to nothing.
    pub(super) fn put_key_back(&mut self, key: Key) -> Result<Key, StoreError> {
        let told = vec![key_events::change_taken_back(&key)];
        self.write_key(key, told)
    }

    fn write_key(&mut self, key: Key, told: Vec<NewEvent>) -> Result<Key, StoreError> {
        let (changed, now) = (key.clone(), self.with.clock.now());
        self.edit(&port_of(&key), &[], move |transaction, snapshot| {
            keys::update(transaction, &changed)?;
            let entry = entry(snapshot, changed.id)?;
            entry.key = Arc::new(changed);
            snapshot.keys_changed();
            Ok(events::append_all(transaction, now, &told)?)
        })?;
        Ok(key)
    }

    pub(super) fn delete_key(&mut self, id: KeyId) -> Result<Key, StoreError> {
        self.remove_key(id, key_events::deleted, false)
    }

    /// Removes a key as if it had never been asked for.
    pub(super) fn take_key_back(&mut self, id: KeyId) -> Result<Key, StoreError> {
        self.remove_key(id, key_events::creation_taken_back, true)
    }

    /// `told` says what is told of it.
    fn remove_key(
        &mut self,
        id: KeyId,
        told: impl FnOnce(&Key) -> NewEvent,
        is_request_forgotten: bool,
    ) -> Result<Key, StoreError> {
        let key = self.find(id)?;
        let (now, event) = (self.with.clock.now(), told(&key));
        self.edit(&port_of(&key), &port_of(&key), move |transaction, snapshot| {
            if is_request_forgotten {
                requests::forget(transaction, id)?;
            }
            ledger::retire_total(transaction, id, snapshot.sequence)?;
            keys::delete(transaction, id)?;
            keys::touch_port_table(transaction, now)?;
            snapshot.entries.retain(|entry| entry.key.id != id);
            snapshot.port_table.last_updated = now;
            snapshot.keys_changed();
            Ok(events::append(transaction, now, &event)?)
        })?;
        Ok(key)
    }

    pub(super) fn reset_traffic(&mut self, id: KeyId) -> Result<Key, StoreError> {
        let key = self.find(id)?;
        let (now, event) = (self.with.clock.now(), key_events::traffic_reset(&key));
        self.edit(&port_of(&key), &[], move |transaction, snapshot| {
            let figures = &mut entry(snapshot, id)?.figures;
            figures.baseline = figures.booked.traffic;
            ledger::set_baseline(transaction, id, figures.baseline)?;
            Ok(events::append(transaction, now, &event)?)
        })?;
        Ok(key)
    }

    /// Books what is there, then begins a new history: what was before is hidden, not removed.
    pub(super) fn reset_history(&mut self, id: KeyId) -> Result<Key, StoreError> {
        let key = self.find(id)?;
        let (now, event) = (self.with.clock.now(), key_events::history_reset(&key));
        self.edit(&port_of(&key), &[], move |transaction, snapshot| {
            let figures = &mut entry(snapshot, id)?.figures;
            let history = figures.next_history(HistoryId::default(), now);
            let name = ledger::begin_history(transaction, id, &history)?;
            figures.history = History { id: name, ..history };
            Ok(events::append(transaction, now, &event)?)
        })?;
        Ok(key)
    }

    /// Books what is there, then sets or ends the key's billing cycle.
    pub(super) fn set_cycle(&mut self, id: KeyId, cycle: Option<BillingCycle>) -> Result<Key, StoreError> {
        let mut key = self.find(id)?;
        key.cycle = cycle;
        let (changed, now, calendar) = (key.clone(), self.with.clock.now(), self.with.calendar);
        let event = key_events::cycle_set(&key);
        self.edit(&port_of(&key), &[], move |transaction, snapshot| {
            keys::set_cycle(transaction, id, changed.cycle.as_ref())?;
            if let Some(cycle) = &changed.cycle {
                cycles::begin(transaction, &calendar, id, &cycle.cycle_at(now))?;
            }
            entry(snapshot, id)?.key = Arc::new(changed);
            Ok(events::append(transaction, now, &event)?)
        })?;
        Ok(key)
    }

    pub(super) fn reset_ports(&mut self) -> Result<usize, StoreError> {
        let assigned: Vec<u16> = self.published.load().assigned_ports().into_iter().collect();
        let (now, event) = (self.with.clock.now(), key_events::ports_reset(assigned.len()));
        self.edit(&assigned, &assigned, move |transaction, snapshot| {
            keys::clear_assignments(transaction)?;
            keys::touch_port_table(transaction, now)?;
            for entry in &mut snapshot.entries {
                entry.key = Arc::new(Key {
                    port: None,
                    assigned_at: None,
                    ..(*entry.key).clone()
                });
            }
            snapshot.port_table.last_updated = now;
            snapshot.keys_changed();
            Ok(events::append(transaction, now, &event)?)
        })?;
        Ok(assigned.len())
    }

    pub(super) fn assign_ports(&mut self) -> Result<usize, StoreError> {
        let mut taken = self.published.load().assigned_ports();
        let mut given = Vec::new();
        for entry in &self.published.load_full().entries {
            if entry.key.is_active && entry.key.port.is_none() {
                let port = self.free_port(&taken)?;
                taken.insert(port);
                given.push((entry.key.id, port));
            }
        }
        let ports: Vec<u16> = given.iter().map(|(_, port)| *port).collect();
        let now = self.with.clock.now();
        let count = given.len();
        let told = (count > 0).then(|| key_events::ports_assigned(count));
        self.edit(&ports, &ports, move |transaction, snapshot| {
            for (id, port) in given {
                keys::assign(transaction, id, port, now)?;
                let entry = entry(snapshot, id)?;
                entry.key = Arc::new(Key {
                    port: Some(port),
                    assigned_at: Some(now),
                    ..(*entry.key).clone()
                });
            }
            keys::touch_port_table(transaction, now)?;
            snapshot.port_table.last_updated = now;
            snapshot.keys_changed();
            Ok(events::append_all(transaction, now, told.as_slice())?)
        })?;
        Ok(count)
    }

    /// A change with nothing but its bookings, or with an edit; see [`Self::change`]. `handed_over` are the ports that
    /// change hands.
    pub(super) fn edit(
        &mut self,
        ports: &[u16],
        handed_over: &[u16],
        edit: impl FnOnce(&Transaction<'_>, &mut Snapshot) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.change(
            Ports::These(ports),
            Some(Box::new(|transaction, snapshot, _| edit(transaction, snapshot))),
        )?;
        if !handed_over.is_empty() {
            let assigned = self.published.load().assigned_ports();
            self.samples
                .set_assigned(&assigned, &handed_over.iter().copied().collect());
        }
        Ok(())
    }

    /// One transaction: reads and books `ports`, makes `edit`'s change in the tables and in the next snapshot,
    /// commits, publishes. On failure neither the tables nor the snapshot nor the checkpoints have changed, and what was
    /// read is booked the next time.
    pub(super) fn change(&mut self, ports: Ports<'_>, edit: Option<Edit<'_>>) -> Result<(), StoreError> {
        let (at, is_edit, is_all) = (self.with.clock.now(), edit.is_some(), matches!(ports, Ports::All));
        let taken = match ports {
            Ports::All => self.samples.take_all(at, &*self.with.reader),
            Ports::These(ports) => self.samples.take(at, &*self.with.reader, ports),
        };
        faults::point("booking.read");
        let mut next = Snapshot::clone(&self.published.load());
        next.booked_at = at;
        if is_all {
            next.all_booked_at = Some(at);
        }
        if taken.ports.is_empty() && taken.gap.is_none() && !is_edit {
            self.note_read(at);
            self.samples
                .settle(next.sequence, || self.published.store(Arc::new(next)));
            return Ok(());
        }
        next.sequence += 1;
        let began_at = Instant::now();
        let written = self.write(at, is_all, &taken, &mut next, edit);
        self.with.figures.note(&written, began_at.elapsed());
        match written {
            Ok(()) => {
                faults::point("booking.committed");
                self.read_noted_at = at;
                let moved = taken.ports.iter().map(|port| (port.port, port.checkpoint));
                self.checkpoints.extend(moved);
                self.publish(next);
                Ok(())
            }
            Err(error) => {
                self.samples.put_back();
                Err(error)
            }
        }
    }

    fn write(
        &mut self,
        at: DateTime<Utc>,
        is_all: bool,
        taken: &Taken,
        next: &mut Snapshot,
        edit: Option<Edit<'_>>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let first_minute = book(&transaction, next, self.life, &self.with.calendar, taken)?;
        if let Some(gap) = &taken.gap {
            events::append_gap(&transaction, gap)?;
        }
        faults::point("booking.booked");
        if let Some(edit) = edit {
            edit(&transaction, next, taken)?;
        }
        // While the collector is paused, who changes a key reads its port alone: the gap goes on.
        if is_all || next.settings.is_collecting() {
            commits::set_read_at(&transaction, at)?;
        }
        commits::note(&transaction, next.sequence, at, first_minute)?;
        faults::point("booking.before_commit");
        transaction.commit()?;
        Ok(())
    }

    /// Nothing is new; now and then that is worth a write, so that the next gap is told with its real length.
    fn note_read(&mut self, at: DateTime<Utc>) {
        if (at - self.read_noted_at).abs() < READ_NOTE_INTERVAL {
            return;
        }
        match commits::set_read_at(&self.connection, at) {
            Ok(()) => self.read_noted_at = at,
            Err(error) => tracing::warn!(%error, "the ledger cannot note that the counters were read"),
        }
    }

    /// Makes `snapshot` what readers see, with each key's checkpoint as the table has it.
    fn publish(&self, mut snapshot: Snapshot) {
        for entry in &mut snapshot.entries {
            set_checkpoint(entry, &self.checkpoints);
        }
        let sequence = snapshot.sequence;
        self.samples
            .settle(sequence, || self.published.store(Arc::new(snapshot)));
        self.committed.send_replace(sequence);
        self.events_committed();
    }

    /// Keeps about this many events from now on.
    pub(super) fn set_event_count_max(&mut self, count: u64) {
        self.with.event_count_max = count;
    }

    /// Wakes who follows the events where there are new ones, and now and then removes what is too many. What fails here
    /// changes nothing of what was committed.
    pub(super) fn events_committed(&self) {
        let last = match event_log::last_id(&self.connection) {
            Ok(last) => last,
            Err(error) => return tracing::warn!(%error, "the last event cannot be read"),
        };
        let before = self.last_event.send_replace(last);
        let step = (self.with.event_count_max / 10).clamp(1, EVENT_STEP_MAX);
        if last / step != before / step
            && let Err(error) = cleanup::remove_surplus_events(&self.connection, self.with.event_count_max)
        {
            tracing::warn!(%error, "old events could not be removed");
        }
    }

    pub(super) fn find(&self, id: KeyId) -> Result<Key, StoreError> {
        let snapshot = self.published.load();
        snapshot
            .find(id.0)
            .map(|entry| (*entry.key).clone())
            .ok_or(StoreError::KeyNotFound)
    }

    fn free_port(&mut self, assigned: &BTreeSet<u16>) -> Result<u16, StoreError> {
        let held = self.with.probe.held_ports().map_err(StoreError::PortProbe)?;
        keys::lowest_free_port(self.with.ports.iter().copied(), assigned, &held).ok_or(StoreError::NoAvailablePort)
    }
}

/// What a transaction changes besides booking.
pub(super) type Edit<'a> = Box<dyn FnOnce(&Transaction<'_>, &mut Snapshot, &Taken) -> Result<(), StoreError> + 'a>;

/// Books what was taken to whoever has the ports, in the tables and in the next snapshot. Gives the earliest minute of a
/// key that was booked.
fn book(
    transaction: &Transaction<'_>,
    next: &mut Snapshot,
    life: MapLifeId,
    calendar: &Calendar,
    taken: &Taken,
) -> Result<Option<Minute>, StoreError> {
    let holders: HashMap<u16, usize> = next
        .entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| Some((entry.key.port?, at)))
        .collect();
    let mut booker = Booker::new(transaction, calendar, next.sequence)?;
    for port in &taken.ports {
        match holders.get(&port.port) {
            Some(at) => booker.book_key(&mut next.entries[*at], port.pending.minutes(), port.is_connected)?,
            None => booker.book_port(port.port, &port.pending.sum())?,
        }
        faults::point("booking.port");
    }
    let checkpoints = taken.ports.iter().map(|port| (port.port, port.checkpoint));
    ledger::write_checkpoints(transaction, life, checkpoints)?;
    Ok(booker.finish(&taken.peaks)?)
}

/// What a port of a past life has beyond its checkpoint.
fn past_port(port: u16, checkpoint: Option<&Counter>, counter: Counter, at: DateTime<Utc>) -> Option<TakenPort> {
    let traffic = counter.since(checkpoint.copied().unwrap_or_default())?;
    if traffic == Counter::default() {
        return None;
    }
    let tally = Tally {
        traffic,
        max_connections: u64::from(traffic.connections_opened > 0),
        sessions: 0,
        last_activity: Some(at),
    };
    let mut pending = Pending::default();
    pending.add(Minute::of(at), &tally);
    Some(TakenPort {
        port,
        checkpoint: counter,
        is_connected: None,
        pending,
    })
}

/// The state as the tables have it, and the ports whose keys had connections.
fn load(
    connection: &Connection,
    now: DateTime<Utc>,
    checkpoints: &HashMap<u16, Counter>,
) -> Result<(Snapshot, BTreeSet<u16>), StoreError> {
    let mut stored = ledger::figures(connection)?;
    let (mut entries, mut connected) = (Vec::new(), BTreeSet::new());
    let positions = keys::positions(connection)?;
    for (key, position) in keys::all(connection)?.into_iter().zip(positions) {
        let Some(stored) = stored.remove(&key.id.0.to_string()) else {
            return Err(StoreError::Database(rusqlite::Error::QueryReturnedNoRows));
        };
        connected.extend(key.port.filter(|_| stored.is_connected));
        let mut entry = Entry {
            position,
            key: Arc::new(key),
            figures: stored.figures,
        };
        set_checkpoint(&mut entry, checkpoints);
        entries.push(entry);
    }
    let mut snapshot = Snapshot {
        entries,
        identity: Arc::new(identities::server(connection)?),
        restored_document: documents::restored(connection)?,
        settings: Arc::new(settings::load(connection)?),
        port_table: keys::port_table_times(connection)?,
        booked_at: now,
        sequence: commits::last_sequence(connection)?,
        ..Snapshot::default()
    };
    snapshot.keys_changed();
    Ok((snapshot, connected))
}

/// A port that was never booked stands at zero, whatever port its key had before.
fn set_checkpoint(entry: &mut Entry, checkpoints: &HashMap<u16, Counter>) {
    if let Some(port) = entry.key.port {
        entry.figures.checkpoint = checkpoints.get(&port).copied().unwrap_or_default();
    }
}

/// Makes a key's rows; its figures begin at zero.
pub(super) fn new_entry(transaction: &Transaction<'_>, key: Key, now: DateTime<Utc>) -> Result<Entry, StoreError> {
    let position = keys::insert(transaction, &key)?;
    if let Some(port) = key.port {
        keys::assign(transaction, key.id, port, now)?;
    }
    let mut figures = Figures::default();
    let history = figures.next_history(HistoryId::default(), key.created_at);
    let id = ledger::begin_history(transaction, key.id, &history)?;
    figures.history = History { id, ..history };
    Ok(Entry {
        position,
        key: Arc::new(key),
        figures,
    })
}

fn port_of(key: &Key) -> Vec<u16> {
    key.port.into_iter().collect()
}

pub(super) fn entry(snapshot: &mut Snapshot, id: KeyId) -> Result<&mut Entry, StoreError> {
    snapshot
        .entries
        .iter_mut()
        .find(|entry| entry.key.id == id)
        .ok_or(StoreError::KeyNotFound)
}
