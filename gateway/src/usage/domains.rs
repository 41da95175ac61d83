//! The domains of a page: where most went, of all users together and of each.
//!
//! The agent records them only where its operator wants that; the lists are empty otherwise.

use std::cmp::Reverse;
use std::collections::HashMap;

use portmeter_proto::v1::{DomainUsage, ListDomainsRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::window::Window;
use crate::calendar::since_ledgers_begin;
use crate::failure::Failure;
use crate::gateway::Gateway;

/// The name of all users together; a user's is the key's id.
pub(super) const ALL: &str = "";

/// How many a list has.
const SHOWN: usize = 10;

/// How many are asked for: the agent gives those with most connections, of which the ones with most bytes are shown.
const READ_OF_ALL: u32 = 1_000;
const READ_OF_EACH: u32 = 50;

/// A domain and what went there: bytes or connections, by the list that it is in.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = UsageDomain)]
pub(super) struct Domain<'a> {
    domain: &'a str,
    value: u64,
}

/// The domains of the days that a page shows, by key's id.
#[derive(Debug, Default)]
pub(super) struct Domains(HashMap<String, Vec<DomainUsage>>);

impl Domains {
    /// Asks for all users together and, where domains are recorded, for each.
    pub(super) async fn read(gateway: &Gateway, window: &Window) -> Result<Self, Failure> {
        let (Some(first), Some(last)) = (window.days().first(), window.days().last()) else {
            return Ok(Self::default());
        };
        let first = since_ledgers_begin(*first);
        if first > *last {
            return Ok(Self::default());
        }
        let request = ListDomainsRequest {
            first_day: first.to_string(),
            last_day: last.to_string(),
            key_id: String::new(),
            by_key: false,
            limit: READ_OF_ALL,
        };
        let all = gateway.domains().list_domains(request.clone()).await?.into_inner();
        let mut domains = Self::default();
        if !all.is_enabled {
            return Ok(domains);
        }
        let request = ListDomainsRequest {
            by_key: true,
            limit: READ_OF_EACH,
            ..request
        };
        let each = gateway.domains().list_domains(request).await?.into_inner();
        domains.add(all.domains);
        domains.add(each.domains);
        Ok(domains)
    }

    fn add(&mut self, usage: Vec<DomainUsage>) {
        for one in usage {
            self.0.entry(one.key_id.clone()).or_default().push(one);
        }
    }

    /// About how many rows they come to.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(|usage| usage.len().min(SHOWN)).sum::<usize>() + SHOWN
    }

    /// Those that most bytes went to.
    pub(super) fn by_traffic(&self, key_id: &str) -> Vec<Domain<'_>> {
        self.top(key_id, |usage| usage.estimated_bytes)
    }

    /// Those that were asked for most often.
    pub(super) fn by_connections(&self, key_id: &str) -> Vec<Domain<'_>> {
        self.top(key_id, |usage| usage.connections)
    }

    /// Most first, of equals by name; nothing is shown of what comes to nothing.
    fn top(&self, key_id: &str, value: fn(&DomainUsage) -> u64) -> Vec<Domain<'_>> {
        let usage = self.0.get(key_id).map(Vec::as_slice).unwrap_or_default();
        let mut domains: Vec<Domain<'_>> = usage
            .iter()
            .map(|usage| Domain {
                domain: &usage.domain,
                value: value(usage),
            })
            .filter(|domain| domain.value > 0)
            .collect();
        domains.sort_by_key(|domain| (Reverse(domain.value), domain.domain));
        domains.truncate(SHOWN);
        domains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(key_id: &str, domain: &str, connections: u64, estimated_bytes: u64) -> DomainUsage {
        DomainUsage {
            domain: domain.to_owned(),
            key_id: key_id.to_owned(),
            connections,
            estimated_bytes,
        }
    }

    fn names<'a>(domains: &[Domain<'a>]) -> Vec<(&'a str, u64)> {
        domains.iter().map(|domain| (domain.domain, domain.value)).collect()
    }

    #[test]
    fn lists_are_by_what_they_show() {
        let mut domains = Domains::default();
        domains.add(vec![
            usage(ALL, "often.example", 9, 10),
            usage(ALL, "much.example", 1, 1_000),
            usage(ALL, "b.example", 1, 0),
            usage("id-1", "one.example", 1, 7),
        ]);
        assert_eq!(
            names(&domains.by_traffic(ALL)),
            [("much.example", 1_000), ("often.example", 10)]
        );
        assert_eq!(
            names(&domains.by_connections(ALL)),
            [("often.example", 9), ("b.example", 1), ("much.example", 1)]
        );
        assert_eq!(names(&domains.by_traffic("id-1")), [("one.example", 7)]);
        assert!(domains.by_traffic("id-2").is_empty());
    }

    #[test]
    fn a_list_is_short() {
        let mut domains = Domains::default();
        domains.add(
            (0..100)
                .map(|number| usage(ALL, &format!("{number}.example"), 1, 1))
                .collect(),
        );
        assert_eq!(domains.by_traffic(ALL).len(), SHOWN);
        assert_eq!(domains.count(), 2 * SHOWN);
    }
}
