//! The writer: each method is one transaction under its name, and publishes the new snapshot when it is committed.
//!
//! It reads the counters itself, inside the transaction's thread, so that a key's edges are exact: what was counted
//! before the reading belongs to what came before, everything after it to what comes now.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, SubsecRound, Utc};
use rusqlite::{Connection, Transaction};
use uuid::Uuid;

use super::ledger::{self, LifeOrigin};
use super::snapshot::{Entry, Figures, Key, KeyId, Snapshot};
use super::{PortProbe, StoreError, keys};
use crate::counters::{Counter, CounterReader, MapLifeId};

/// What a caller says about a key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name, already checked.
    pub name: String,
}

/// The only one who writes.
pub(super) struct Writer {
    connection: Connection,
    reader: Arc<dyn CounterReader>,
    life: MapLifeId,
    /// The ports that keys may have, ascending; as many keys as ports.
    ports: Vec<u16>,
    probe: Box<dyn PortProbe>,
    /// The counter up to which each port is booked; as in the table.
    checkpoints: HashMap<u16, Counter>,
    published: Arc<ArcSwap<Snapshot>>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        reader: Arc<dyn CounterReader>,
        ports: Vec<u16>,
        probe: Box<dyn PortProbe>,
        published: Arc<ArcSwap<Snapshot>>,
    ) -> Result<Self, StoreError> {
        let life = reader.map_life();
        Ok(Self {
            connection,
            reader,
            life,
            ports,
            probe,
            checkpoints: HashMap::new(),
            published,
        })
    }

    /// Takes up the reader's map life. Where another ledger has booked it so far, its present reading becomes the
    /// checkpoint, so that nothing is booked twice.
    pub(super) fn begin_life(&mut self, origin: &LifeOrigin, own_id: Uuid) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        ledger::enter_life(&transaction, self.life, origin)?;
        if origin.ledger_id != own_id {
            for &port in self.reader.ports() {
                ledger::write_checkpoint(&transaction, self.life, port, self.reader.read(port))?;
            }
        }
        transaction.commit()?;
        self.checkpoints = ledger::checkpoints(&self.connection, self.life)?;
        self.publish(self.load()?);
        Ok(())
    }

    /// Reads every counter and books what is new.
    pub(super) fn book_all(&mut self) -> Result<(), StoreError> {
        let ports = self.reader.ports().to_vec();
        self.change(&ports, |_, snapshot| {
            snapshot.booked_at = now();
            Ok(())
        })
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
        let life = reader.map_life();
        let mut next = Snapshot::clone(&self.published.load());
        let transaction = self.connection.transaction()?;
        ledger::enter_life(&transaction, life, origin)?;
        let checkpoints = ledger::checkpoints(&transaction, life)?;
        let counters = reader.ports().iter().map(|port| (*port, reader.read(*port)));
        book(&transaction, &mut next, life, &checkpoints, counters)?;
        transaction.commit()?;
        self.publish(next);
        Ok(())
    }

    pub(super) fn create_key(&mut self, new: NewKey) -> Result<Key, StoreError> {
        if self.published.load().entries.len() >= self.ports.len() {
            return Err(StoreError::KeyLimitReached(self.ports.len()));
        }
        let port = {
            let assigned = self.published.load().assigned_ports();
            self.free_port(&assigned)?
        };
        let now = now();
        let key = Key {
            id: KeyId(Uuid::new_v4()),
            uuid: Uuid::new_v4(),
            name: new.name,
            is_active: true,
            created_at: now,
            port: Some(port),
            assigned_at: Some(now),
        };
        let made = key.clone();
        self.change(&[port], move |transaction, snapshot| {
            keys::insert(transaction, &made)?;
            keys::assign(transaction, made.id, port, now)?;
            keys::touch_port_table(transaction, now)?;
            snapshot.entries.push(Entry {
                key: Arc::new(made),
                figures: Figures::default(),
            });
            snapshot.port_table.last_updated = now;
            snapshot.keys_changed();
            Ok(())
        })?;
        Ok(key)
    }

    pub(super) fn update_key(
        &mut self,
        id: KeyId,
        name: Option<String>,
        is_active: Option<bool>,
    ) -> Result<Key, StoreError> {
        let mut key = self.find(id)?;
        key.name = name.unwrap_or(key.name);
        key.is_active = is_active.unwrap_or(key.is_active);
        let changed = key.clone();
        self.change(&port_of(&key), move |transaction, snapshot| {
            keys::update(transaction, &changed)?;
            entry(snapshot, id)?.key = Arc::new(changed);
            snapshot.keys_changed();
            Ok(())
        })?;
        Ok(key)
    }

    pub(super) fn delete_key(&mut self, id: KeyId) -> Result<Key, StoreError> {
        let key = self.find(id)?;
        let now = now();
        self.change(&port_of(&key), move |transaction, snapshot| {
            ledger::retire_total(transaction, id)?;
            keys::delete(transaction, id)?;
            keys::touch_port_table(transaction, now)?;
            snapshot.entries.retain(|entry| entry.key.id != id);
            snapshot.port_table.last_updated = now;
            snapshot.keys_changed();
            Ok(())
        })?;
        Ok(key)
    }

    pub(super) fn reset_traffic(&mut self, id: KeyId) -> Result<Key, StoreError> {
        let key = self.find(id)?;
        self.change(&port_of(&key), move |transaction, snapshot| {
            ledger::set_baseline(transaction, id)?;
            let figures = &mut entry(snapshot, id)?.figures;
            figures.baseline = figures.booked;
            Ok(())
        })?;
        Ok(key)
    }

    pub(super) fn reset_ports(&mut self) -> Result<usize, StoreError> {
        let assigned: Vec<u16> = self.published.load().assigned_ports().into_iter().collect();
        let now = now();
        self.change(&assigned, move |transaction, snapshot| {
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
            Ok(())
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
        let now = now();
        let count = given.len();
        self.change(&ports, move |transaction, snapshot| {
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
            Ok(())
        })?;
        Ok(count)
    }

    /// One transaction: reads and books `ports`, makes `edit`'s change in the tables and in the next snapshot,
    /// commits, publishes. On failure neither the tables nor the snapshot nor the checkpoints have changed.
    fn change(
        &mut self,
        ports: &[u16],
        edit: impl FnOnce(&Transaction<'_>, &mut Snapshot) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut next = Snapshot::clone(&self.published.load());
        let transaction = self.connection.transaction()?;
        let counters = ports.iter().map(|port| (*port, self.reader.read(*port)));
        let moved = book(&transaction, &mut next, self.life, &self.checkpoints, counters)?;
        edit(&transaction, &mut next)?;
        transaction.commit()?;

        self.checkpoints.extend(moved);
        self.publish(next);
        Ok(())
    }

    /// Makes `snapshot` what readers see, with each key's checkpoint as the table has it.
    fn publish(&self, mut snapshot: Snapshot) {
        for entry in &mut snapshot.entries {
            if let Some(checkpoint) = entry.key.port.and_then(|port| self.checkpoints.get(&port)) {
                entry.figures.checkpoint = *checkpoint;
            }
        }
        self.published.store(Arc::new(snapshot));
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        let mut figures = ledger::totals_and_baselines(&self.connection)?;
        let entries = keys::all(&self.connection)?.into_iter().map(|key| {
            let (booked, baseline) = figures.remove(&key.id.0.to_string()).unwrap_or_default();
            Entry {
                key: Arc::new(key),
                figures: Figures {
                    booked,
                    baseline,
                    ..Figures::default()
                },
            }
        });
        let mut snapshot = Snapshot {
            entries: entries.collect(),
            port_table: keys::port_table_times(&self.connection)?,
            booked_at: now(),
            ..Snapshot::default()
        };
        snapshot.keys_changed();
        Ok(snapshot)
    }

    fn find(&self, id: KeyId) -> Result<Key, StoreError> {
        let snapshot = self.published.load();
        snapshot
            .find(id.0)
            .map(|entry| (*entry.key).clone())
            .ok_or(StoreError::KeyNotFound)
    }

    fn free_port(&mut self, assigned: &BTreeSet<u16>) -> Result<u16, StoreError> {
        let held = self.probe.held_ports().map_err(StoreError::PortProbe)?;
        keys::lowest_free_port(self.ports.iter().copied(), assigned, &held).ok_or(StoreError::NoAvailablePort)
    }
}

/// Books the ports' counters beyond their checkpoints to whoever has the port, in the tables and in the next snapshot.
/// Gives the checkpoints that have moved.
fn book(
    transaction: &Transaction<'_>,
    next: &mut Snapshot,
    life: MapLifeId,
    checkpoints: &HashMap<u16, Counter>,
    counters: impl Iterator<Item = (u16, Counter)>,
) -> Result<Vec<(u16, Counter)>, StoreError> {
    let holders: HashMap<u16, usize> = next
        .entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| Some((entry.key.port?, at)))
        .collect();
    let mut moved = Vec::new();
    for (port, counter) in counters {
        let holder = holders.get(&port).copied();
        let key = holder.map(|at| next.entries[at].key.id);
        let checkpoint = checkpoints.get(&port).copied().unwrap_or_default();
        let Some(booking) = ledger::booking(port, key, checkpoint, counter) else {
            continue;
        };
        ledger::write(transaction, life, &booking)?;
        if let Some(at) = holder {
            next.entries[at].figures.booked += booking.delta;
        }
        moved.push((port, booking.checkpoint));
    }
    Ok(moved)
}

/// Now, in whole microseconds: what is answered today must equal what is read back tomorrow.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn port_of(key: &Key) -> Vec<u16> {
    key.port.into_iter().collect()
}

fn entry(snapshot: &mut Snapshot, id: KeyId) -> Result<&mut Entry, StoreError> {
    snapshot
        .entries
        .iter_mut()
        .find(|entry| entry.key.id == id)
        .ok_or(StoreError::KeyNotFound)
}
