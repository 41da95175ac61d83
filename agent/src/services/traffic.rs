//! Traffic: what the kernel counted for each key, read at the moment of the question.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::keys::find;
use super::{Rates, ServiceError};
use crate::counters::{ConnectionSource, Counter, CounterReader};
use crate::network::sockets::{self, Connection};
use crate::network::{InterfaceStatistics, statistics};
use crate::store::{Entry, Key, Snapshot, Store};

/// The rules for traffic.
#[derive(Clone)]
pub struct TrafficService {
    store: Arc<Store>,
    reader: Arc<dyn CounterReader>,
    rates: Arc<Rates>,
}

/// One key's traffic since it was made or last reset.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// The key.
    pub key: Arc<Key>,
    /// Bytes, packets and opened connections.
    pub shown: Counter,
    /// Bytes per second over the last sampling interval.
    pub rate_bytes_per_second: f64,
    /// Completed incoming TCP connections of its port that are not closed.
    pub active_connections: u64,
    /// The connections one by one, where they were asked for or nothing else tells their number.
    pub connections: Vec<Connection>,
}

/// Several keys' traffic, read at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The keys' traffic.
    pub traffic: Vec<Traffic>,
    /// When it was read.
    pub read_at: DateTime<Utc>,
}

impl TrafficService {
    /// The service over the store and the counters.
    pub fn new(store: Arc<Store>, reader: Arc<dyn CounterReader>, rates: Arc<Rates>) -> Self {
        Self { store, reader, rates }
    }

    /// One key's traffic, with its connections one by one where `with_connections` asks for them.
    pub async fn get(&self, key_id: &str, with_connections: bool) -> Result<Reading, ServiceError> {
        let id = find(&self.store, key_id)?.key.id.0;
        let select = |snapshot: &Snapshot| snapshot.find(id).into_iter().cloned().collect();
        let reading = self.reading(select, with_connections).await?;
        // It may have been deleted in between.
        if reading.traffic.is_empty() {
            Err(ServiceError::key_not_found())
        } else {
            Ok(reading)
        }
    }

    /// The traffic of every key that has a port, in creation order, with the connections one by one where
    /// `with_connections` asks for them.
    pub async fn list(&self, with_connections: bool) -> Result<Reading, ServiceError> {
        let with_port = |entry: &&Entry| entry.key.port.is_some();
        let select = |snapshot: &Snapshot| snapshot.entries.iter().filter(with_port).cloned().collect();
        self.reading(select, with_connections).await
    }

    /// This host's interfaces and their own counters, loopback left out.
    pub fn interfaces(&self) -> Result<Vec<(String, InterfaceStatistics)>, ServiceError> {
        statistics::interfaces().map_err(|error| ServiceError::internal("The interfaces could not be read", &error))
    }

    /// Fails when no key has this id or uuid.
    pub fn check_exists(&self, key_id: &str) -> Result<(), ServiceError> {
        find(&self.store, key_id).map(drop)
    }

    /// Sets a key's current figures to zero; its history stays.
    pub async fn reset(&self, key_id: &str) -> Result<Key, ServiceError> {
        let id = find(&self.store, key_id)?.key.id;
        let key = self.store.reset_traffic(id).await?;
        if let Some(port) = key.port {
            self.rates.reset(port);
        }
        tracing::info!(key_id = %key.id.0, port = key.port, "traffic reset");
        Ok(key)
    }

    /// Whether the kernel counts a connection on any key's port now.
    fn has_connections(&self) -> bool {
        let snapshot = self.store.snapshot();
        let mut ports = snapshot.entries.iter().filter_map(|entry| entry.key.port);
        // A port whose connections nobody counts may have some.
        ports.any(|port| self.reader.active_connections(port) != Some(0))
    }

    /// Reads everything for the keys that `select` picks. The keys and their counters come last, together and
    /// without a pause, so that the answer is as fresh as it can be and speaks of one state.
    async fn reading(
        &self,
        select: impl FnOnce(&Snapshot) -> Vec<Entry>,
        with_connections: bool,
    ) -> Result<Reading, ServiceError> {
        // Listing every socket of the host is the one expensive thing here, and the kernel mostly makes it needless.
        let are_listed = match self.reader.connection_source() {
            ConnectionSource::SocketTables => true,
            _ => with_connections && self.has_connections(),
        };
        let mut listed = if are_listed {
            connections_by_port().await?
        } else {
            HashMap::new()
        };
        let traffic = select(&self.store.snapshot()).into_iter().map(|entry| {
            let port = entry.key.port;
            let connections = port.and_then(|port| listed.remove(&port)).unwrap_or_default();
            Traffic {
                shown: entry.shown(&*self.reader),
                rate_bytes_per_second: port.map_or(0.0, |port| self.rates.get(port)),
                active_connections: port
                    .and_then(|port| self.reader.active_connections(port))
                    .unwrap_or(connections.len() as u64),
                connections,
                key: entry.key,
            }
        });
        Ok(Reading {
            traffic: traffic.collect(),
            read_at: Utc::now(),
        })
    }
}

/// By local port, from the socket tables.
async fn connections_by_port() -> Result<HashMap<u16, Vec<Connection>>, ServiceError> {
    let failed = |error: &dyn std::error::Error| ServiceError::internal("The connections could not be read", error);
    let connections = tokio::task::spawn_blocking(sockets::connections)
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    let mut by_port: HashMap<u16, Vec<Connection>> = HashMap::new();
    for connection in connections {
        by_port.entry(connection.local.port()).or_default().push(connection);
    }
    Ok(by_port)
}
