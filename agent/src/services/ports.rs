//! The table of ports: who has which, and whether it is in order.

use std::sync::Arc;

use super::ServiceError;
use crate::config::PortSet;
use crate::reconciler::Reconciler;
use crate::store::{Snapshot, Store};

/// The rules for port assignments.
#[derive(Clone)]
pub struct PortService {
    store: Arc<Store>,
    reconciler: Reconciler,
    ports: Arc<PortSet>,
}

/// Every assignment and the configured ports.
pub struct PortTable {
    /// The keys and when the table changed.
    pub snapshot: Arc<Snapshot>,
    /// How many ports are configured.
    pub max_ports: usize,
    /// The configured ports as text.
    pub port_range: String,
}

/// What a check of the table found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortCheck {
    /// One English sentence for each difference.
    pub issues: Vec<String>,
    /// How many keys have a port.
    pub assignment_count: usize,
}

impl PortService {
    /// The service over a store and the configured ports.
    pub fn new(store: Arc<Store>, reconciler: Reconciler, ports: Arc<PortSet>) -> Self {
        Self {
            store,
            reconciler,
            ports,
        }
    }

    /// Every assignment.
    pub fn table(&self) -> PortTable {
        PortTable {
            snapshot: self.store.snapshot(),
            max_ports: self.ports.count(),
            port_range: self.ports.to_string(),
        }
    }

    /// Checks the assignments against the keys and the configured ports; changes nothing.
    pub fn check(&self) -> PortCheck {
        check(&self.store.snapshot(), &self.ports)
    }

    /// Clears every assignment; gives how many there were.
    pub async fn reset(&self) -> Result<usize, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        let cleared = self.store.reset_ports().await?;
        tracing::warn!(cleared, "all port assignments were reset");
        if let Err(error) = operation.synchronize().await {
            tracing::error!(%error, "the core keeps inbounds of ports that were reset");
        }
        Ok(cleared)
    }

    /// Gives every enabled key without a port the lowest free one; gives how many got one.
    pub async fn assign(&self) -> Result<usize, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        let assigned = self.store.assign_ports().await?;
        if assigned > 0
            && let Err(error) = operation.synchronize().await
        {
            tracing::error!(%error, "the core lacks inbounds of ports that were assigned");
        }
        Ok(assigned)
    }
}

/// One table holds both directions (a port has one key, a key one port), so they cannot contradict each other; what
/// is left to differ is a key without a port and a port outside the configured ones.
fn check(snapshot: &Snapshot, ports: &PortSet) -> PortCheck {
    let mut issues = Vec::new();
    let mut assignment_count = 0;
    for entry in &snapshot.entries {
        let key = &entry.key;
        match key.port {
            Some(port) => {
                assignment_count += 1;
                if !ports.contains(port) {
                    issues.push(format!(
                        "Port {port} of key {} is outside the configured ports {ports}",
                        key.id.0
                    ));
                }
            }
            None if key.is_active => issues.push(format!("Key {} has no port", key.id.0)),
            None => {}
        }
    }
    PortCheck {
        issues,
        assignment_count,
    }
}
