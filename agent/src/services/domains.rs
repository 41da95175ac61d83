//! Visited domains: which ones keys asked for, and about how much of their traffic went there.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::ServiceError;
use super::keys::find;
use super::periods::parse_range;
use crate::store::{DomainRow, Granularity, KeyId, OTHER, Store};

/// Domains where the caller names no number, and at most.
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 1_000;

/// The rules for visited domains.
#[derive(Clone)]
pub struct DomainService {
    store: Arc<Store>,
    is_enabled: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct DomainQuery<'a> {
    /// The first day, as text; empty for the oldest one.
    pub first_day: &'a str,
    /// The last day, as text; empty for the present one.
    pub last_day: &'a str,
    /// A key's id or uuid; empty for all.
    pub key_id: &'a str,
    /// Whether each key's domains are wanted by themselves.
    pub by_key: bool,
    /// Most domains of each key, or of all together; 0 for the usual number.
    pub limit: usize,
}

/// A domain and what went there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainUsage {
    /// The domain.
    pub domain: String,
    /// Whose; `None` for all keys together.
    pub key_id: Option<KeyId>,
    /// How many connections were asked for.
    pub connections: u64,
    /// The keys' bytes of each day, divided by connections.
    pub estimated_bytes: u64,
}

/// A key's bytes by day and key.
type DayBytes = HashMap<(i64, KeyId), u64>;

impl DomainService {
    /// The service over a store; `is_enabled` says whether domains are recorded.
    pub fn new(store: Arc<Store>, is_enabled: bool) -> Self {
        Self { store, is_enabled }
    }

    /// Whether domains are recorded.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Domains of a span of days, most connections first; of each key in creation order where that is asked for. Empty
    /// where nothing is recorded, after what is asked for was checked.
    pub async fn list(&self, query: &DomainQuery<'_>) -> Result<Vec<DomainUsage>, ServiceError> {
        let key_id = match query.key_id {
            "" => None,
            key_id => Some(find(&self.store, key_id)?.key.id),
        };
        let limit = match query.limit {
            0 => LIMIT,
            limit if limit <= LIMIT_MAX => limit,
            _ => {
                return Err(ServiceError::invalid(
                    "limit",
                    format!("limit must be at most {LIMIT_MAX}"),
                ));
            }
        };
        let (calendar, now) = (self.store.calendar(), self.store.now());
        let days = parse_range(calendar, Granularity::Day, now, query.first_day, query.last_day)?;
        if !self.is_enabled {
            return Ok(Vec::new());
        }
        let rows = self.store.domains(days, key_id).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let days = crate::store::Range {
            first: first.day.0.into(),
            last: last.day.0.into(),
        };
        let (periods, _) = self
            .store
            .each_key_periods(Granularity::Day, days, None, usize::MAX - 1)
            .await?;
        let bytes: DayBytes = periods
            .into_iter()
            .map(|(day, key_id, tally)| ((day, key_id), tally.traffic.total_bytes()))
            .collect();
        let mut usage = usage(&rows, &bytes, query.by_key);
        if query.by_key {
            let snapshot = self.store.snapshot();
            let place: HashMap<KeyId, usize> = snapshot.entries.iter().map(|entry| entry.key.id).zip(0..).collect();
            // Stable: each key's domains stay in their order.
            usage.sort_by_key(|one| one.key_id.and_then(|id| place.get(&id).copied()));
        }
        Ok(first_of_each(usage, limit))
    }
}

/// Sums of the rows by domain, and by key where `by_key`; most connections first, of equals by name. What is beyond a
/// day's number of domains has its share and no row.
fn usage(rows: &[DomainRow], bytes: &DayBytes, by_key: bool) -> Vec<DomainUsage> {
    let mut connections_of_day: HashMap<(i64, KeyId), u64> = HashMap::new();
    for row in rows {
        *connections_of_day.entry((row.day.0.into(), row.key_id)).or_default() += row.connections;
    }
    let mut sums: HashMap<(Option<KeyId>, &str), (u64, u64)> = HashMap::new();
    for row in rows.iter().filter(|row| row.domain != OTHER) {
        let day = (i64::from(row.day.0), row.key_id);
        let share = share(
            bytes.get(&day).copied().unwrap_or_default(),
            row.connections,
            connections_of_day[&day],
        );
        let sum = sums.entry((by_key.then_some(row.key_id), &row.domain)).or_default();
        sum.0 = sum.0.saturating_add(row.connections);
        sum.1 = sum.1.saturating_add(share);
    }
    let one = |((key_id, domain), (connections, estimated_bytes)): ((Option<KeyId>, &str), (u64, u64))| DomainUsage {
        domain: domain.to_owned(),
        key_id,
        connections,
        estimated_bytes,
    };
    let mut usage: Vec<DomainUsage> = sums.into_iter().map(one).collect();
    usage.sort_by(|one, other| {
        (Reverse(one.connections), &one.domain, one.key_id.map(|id| id.0)).cmp(&(
            Reverse(other.connections),
            &other.domain,
            other.key_id.map(|id| id.0),
        ))
    });
    usage
}

/// `bytes` × `part` / `whole`, rounded down, so that shares never come to more than there was.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// At most `limit` of each key, which stand together.
fn first_of_each(usage: Vec<DomainUsage>, limit: usize) -> Vec<DomainUsage> {
    let (mut count, mut last) = (0, None);
    usage
        .into_iter()
        .filter(|one| {
            count = if last == Some(one.key_id) { count + 1 } else { 1 };
            last = Some(one.key_id);
            count <= limit
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::calendar::Day;

    fn id(number: u128) -> KeyId {
        KeyId(Uuid::from_u128(number))
    }

    fn row(day: i32, key: u128, domain: &str, connections: u64) -> DomainRow {
        DomainRow {
            day: Day(day),
            key_id: id(key),
            domain: domain.to_owned(),
            connections,
        }
    }

    fn told(usage: &[DomainUsage]) -> Vec<(Option<KeyId>, &str, u64, u64)> {
        let one = |one: &'_ DomainUsage| (one.key_id, one.connections, one.estimated_bytes);
        usage
            .iter()
            .map(|usage| {
                let (key_id, connections, bytes) = one(usage);
                (key_id, usage.domain.as_str(), connections, bytes)
            })
            .collect()
    }

    fn rows() -> Vec<DomainRow> {
        vec![
            row(1, 1, "a.example", 3),
            row(1, 1, "b.example", 1),
            row(1, 2, "a.example", 1),
            row(2, 1, "b.example", 4),
            row(2, 1, OTHER, 4),
        ]
    }

    fn bytes() -> DayBytes {
        DayBytes::from([((1, id(1)), 1_000), ((1, id(2)), 7), ((2, id(1)), 80)])
    }

    #[test]
    fn a_day_s_bytes_are_divided_by_connections() {
        let all = usage(&rows(), &bytes(), false);
        assert_eq!(
            told(&all),
            [(None, "b.example", 5, 250 + 40), (None, "a.example", 4, 750 + 7)]
        );
        let each = usage(&rows(), &bytes(), true);
        assert_eq!(
            told(&each),
            [
                (Some(id(1)), "b.example", 5, 290),
                (Some(id(1)), "a.example", 3, 750),
                (Some(id(2)), "a.example", 1, 7),
            ]
        );
    }

    #[test]
    fn a_day_without_bytes_has_connections_alone() {
        let all = usage(&rows(), &DayBytes::new(), false);
        assert_eq!(told(&all), [(None, "b.example", 5, 0), (None, "a.example", 4, 0)]);
    }

    #[test]
    fn the_limit_is_each_key_s() {
        let each = first_of_each(usage(&rows(), &bytes(), true), 1);
        assert_eq!(each.len(), 2);
        assert_eq!(first_of_each(usage(&rows(), &bytes(), false), 1).len(), 1);
    }

    #[test]
    fn shares_do_not_overflow_and_never_come_to_more() {
        assert_eq!(share(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(share(10, 1, 3) * 3, 9);
        assert_eq!(share(10, 0, 0), 0);
    }
}
