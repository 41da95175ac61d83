//! What a plan changes in a ledger: which keys are new, who gets which port, and what is booked to whom.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::owners::Owners;
use super::plan::{ImportPlan, ImportedHistory, ImportedKey, OldInbound, Skipped};
use super::settle::{Booked, Changes, settle};
use crate::store::{HistoryId, lowest_free_port};
use crate::xray::reality::Identity;

/// What the ledger has already.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// Every key.
    pub keys: Vec<PresentKey>,
    /// What imports have booked, by key id and source.
    pub imports: HashMap<(Uuid, String), PresentImport>,
}

/// A key that the ledger has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentKey {
    /// Its id.
    pub id: Uuid,
    /// Its VLESS uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: Option<u16>,
    /// The history that is shown.
    pub history: HistoryId,
}

/// What a source has booked for a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresentImport {
    /// The figures.
    pub booked: Booked,
    /// The history that they were last booked to.
    pub history: HistoryId,
}

/// The ports that keys may have.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// As configured.
    pub configured: BTreeSet<u16>,
    /// Those that programs of this host hold.
    pub held: BTreeSet<u16>,
}

/// A key that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedKey {
    /// Its id: the old one, so that clients find it.
    pub id: Uuid,
    /// Its VLESS uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub is_active: bool,
    /// When the old server made it.
    pub created_at: Option<DateTime<Utc>>,
    /// Its port.
    pub port: u16,
    /// The port that it had.
    pub old_port: Option<u16>,
    /// Whether others had that port, too.
    pub shared_port: bool,
    /// The REALITY settings that it keeps; what is absent is the server's.
    pub identity: Option<Identity>,
    /// Whether a program holds the port now: most likely the old server, which has to go first.
    pub is_held: bool,
}

/// A key of the files that the ledger has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedKey {
    /// Its name in the ledger.
    pub name: String,
    /// Its port in the ledger.
    pub port: Option<u16>,
    /// The port that it had.
    pub old_port: Option<u16>,
}

/// What is booked to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The key's id.
    pub key_id: Uuid,
    /// The key's name.
    pub name: String,
    /// Who counted it.
    pub source: String,
    /// What changes.
    pub changes: Changes,
    /// What the source has booked then.
    pub booked: Booked,
    /// When there last was traffic or a connection.
    pub last_activity: Option<DateTime<Utc>>,
}

/// What an import does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Keys that are made, in the file's order.
    pub new_keys: Vec<DecidedKey>,
    /// Keys that are there.
    pub matched_keys: Vec<MatchedKey>,
    /// What is booked.
    pub bookings: Vec<Booking>,
    /// Histories that are booked already.
    pub unchanged_histories: usize,
    /// Inbounds that keys take the place of.
    pub inbounds: Vec<OldInbound>,
    /// What is left out.
    pub skipped: Vec<Skipped>,
}

impl Decision {
    /// Whether the ledger stays as it is.
    pub fn changes_nothing(&self) -> bool {
        self.new_keys.is_empty() && self.bookings.is_empty()
    }
}

/// Why a plan cannot be carried out; nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// More keys than ports.
    #[error("{new} keys are new and {present} are there, but keys have {limit} ports: widen capture.ports")]
    TooManyKeys {
        /// Keys to be made.
        new: usize,
        /// Keys that are there.
        present: usize,
        /// Configured ports.
        limit: usize,
    },
    /// Every port is taken or held.
    #[error("no port is free for {name}: stop what listens on the ports of capture.ports, or widen them")]
    NoPort {
        /// The key.
        name: String,
    },
    /// The key that was named is not there.
    #[error("no key has the id or uuid {0}: `portmeter key list` shows them")]
    NoSuchKey(Uuid),
}

/// Decides; `new_id` makes ids.
pub fn decide(
    plan: ImportPlan,
    present: &Present,
    ports: &Ports,
    new_id: impl FnMut() -> Uuid,
) -> Result<Decision, DecisionError> {
    let mut decision = Decision {
        inbounds: plan.inbounds,
        skipped: plan.skipped,
        ..Decision::default()
    };
    decide_keys(plan.keys, present, ports, new_id, &mut decision)?;
    decide_histories(plan.histories, present, &mut decision)?;
    Ok(decision)
}

fn decide_keys(
    keys: Vec<ImportedKey>,
    present: &Present,
    ports: &Ports,
    mut new_id: impl FnMut() -> Uuid,
    decision: &mut Decision,
) -> Result<(), DecisionError> {
    let known: HashMap<Uuid, &PresentKey> = present.keys.iter().map(|key| (key.uuid, key)).collect();
    let mut taken_ids: HashSet<Uuid> = present.keys.iter().flat_map(|key| [key.id, key.uuid]).collect();
    taken_ids.extend(keys.iter().map(|key| key.uuid));
    let mut taken_ports: BTreeSet<u16> = present.keys.iter().filter_map(|key| key.port).collect();
    let (matched, new): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| known.contains_key(&key.uuid));
    decision.matched_keys = matched
        .iter()
        .map(|key| MatchedKey {
            name: known[&key.uuid].name.clone(),
            port: known[&key.uuid].port,
            old_port: key.port,
        })
        .collect();
    if present.keys.len() + new.len() > ports.configured.len() && !new.is_empty() {
        return Err(DecisionError::TooManyKeys {
            new: new.len(),
            present: present.keys.len(),
            limit: ports.configured.len(),
        });
    }
    let free_old_ports = free_old_ports(&new, &taken_ports, ports);
    taken_ports.extend(free_old_ports.values());
    for key in new {
        let port = match free_old_ports.get(&key.uuid) {
            Some(port) => *port,
            None => lowest_free_port(ports.configured.iter().copied(), &taken_ports, &ports.held)
                .ok_or_else(|| DecisionError::NoPort { name: key.name.clone() })?,
        };
        taken_ports.insert(port);
        let id = key.id.filter(|id| taken_ids.insert(*id)).unwrap_or_else(&mut new_id);
        taken_ids.insert(id);
        decision.new_keys.push(DecidedKey {
            id,
            uuid: key.uuid,
            name: key.name,
            is_active: key.is_active,
            created_at: key.created_at,
            port,
            old_port: key.port,
            shared_port: key.shares_port,
            identity: key.identity,
            is_held: ports.held.contains(&port),
        });
    }
    Ok(())
}

/// Who keeps its port: the first that had it to itself, where it is configured and no key has it. It may be held by a program, for
/// that is the old server's Xray as long as it runs. Settled for all keys before any other gets a port.
fn free_old_ports(keys: &[ImportedKey], taken: &BTreeSet<u16>, ports: &Ports) -> HashMap<Uuid, u16> {
    let mut given = BTreeSet::new();
    keys.iter()
        .filter(|key| !key.shares_port)
        .filter_map(|key| Some((key.uuid, key.port?)))
        .filter(|(_, port)| ports.configured.contains(port) && !taken.contains(port) && given.insert(*port))
        .collect()
}

fn decide_histories(
    histories: Vec<ImportedHistory>,
    present: &Present,
    decision: &mut Decision,
) -> Result<(), DecisionError> {
    // What is booked further up in the same plan counts as well: two files may come from one source.
    let mut imports: HashMap<(Uuid, String), (Booked, bool)> = HashMap::new();
    let owners = Owners::of(present, &decision.new_keys);
    for history in histories {
        let Some(key) = owners.find(history.owner)? else {
            decision.skipped.push(Skipped {
                file: history.source,
                what: format!("the history of {}", history.name),
                reason: "no key has its uuid: it was deleted, or its keys.json is missing here".to_owned(),
            });
            continue;
        };
        let place = (key.id, history.source.clone());
        let (before, may_lower) = imports.remove(&place).unwrap_or_else(|| {
            let known = present.imports.get(&place).cloned().unwrap_or_default();
            (known.booked, known.history == key.history)
        });
        let (changes, booked) = settle(&before, &history, may_lower);
        imports.insert(place, (booked.clone(), may_lower));
        if changes.is_empty() {
            decision.unchanged_histories += 1;
            continue;
        }
        decision.bookings.push(Booking {
            key_id: key.id,
            name: key.name,
            source: history.source,
            changes,
            booked,
            last_activity: history.last_activity,
        });
    }
    Ok(())
}
