//! Reads days and months from the agent, page by page to the end.

use chrono::NaiveDate;
use portmeter_proto::v1::{Granularity, ListKeyPeriodsRequest, ListPeriodsRequest, Period};

use crate::calendar::{Month, since_ledgers_begin};
use crate::failure::Failure;
use crate::gateway::Gateway;

/// Rows asked for at once.
const PAGE_SIZE: u32 = 50_000;

/// The periods from `first` to `last`, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    granularity: Granularity,
    first: String,
    last: String,
}

impl Range {
    /// Every day that is kept, up to today.
    pub(crate) fn all_days() -> Self {
        Self {
            granularity: Granularity::Day,
            first: String::new(),
            last: String::new(),
        }
    }

    /// The days from `first` to `last`; none where the ledger cannot know any of them.
    pub(crate) fn days(first: NaiveDate, last: NaiveDate) -> Option<Self> {
        let first = since_ledgers_begin(first);
        (first <= last).then(|| Self {
            granularity: Granularity::Day,
            first: first.to_string(),
            last: last.to_string(),
        })
    }

    /// One month; none where the ledger cannot know it.
    pub(crate) fn month(month: Month) -> Option<Self> {
        let is_known = since_ledgers_begin(month.first_day()) == month.first_day();
        is_known.then(|| Self {
            granularity: Granularity::Month,
            first: month.to_string(),
            last: month.to_string(),
        })
    }
}

/// The periods of one key, or of all keys together where `key_id` is empty; oldest first.
pub(crate) async fn list(gateway: &Gateway, key_id: &str, range: Option<Range>) -> Result<Vec<Period>, Failure> {
    let Some(range) = range else { return Ok(Vec::new()) };
    let mut request = ListPeriodsRequest {
        key_id: key_id.to_owned(),
        granularity: range.granularity.into(),
        first: range.first,
        last: range.last,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut periods = Vec::new();
    loop {
        let page = gateway.history().list_periods(request.clone()).await?.into_inner();
        periods.extend(page.periods);
        if page.next_page_token.is_empty() {
            return Ok(periods);
        }
        request.page_token = page.next_page_token;
    }
}

/// Hands the periods of every key by itself to `take`, by period, oldest first. There can be a great many; no more than
/// a page of them is held.
pub(crate) async fn each_key(
    gateway: &Gateway,
    range: Option<Range>,
    mut take: impl FnMut(Period) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(range) = range else { return Ok(()) };
    let mut request = ListKeyPeriodsRequest {
        granularity: range.granularity.into(),
        first: range.first,
        last: range.last,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    loop {
        let page = gateway.lists().key_periods(request.clone()).await?;
        page.periods.into_iter().try_for_each(&mut take)?;
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::day;

    #[test]
    fn a_range_keeps_to_what_a_ledger_can_know() {
        let days = |first, last| {
            let range = Range::days(day(first).unwrap(), day(last).unwrap());
            range.map(|range| (range.first, range.last))
        };
        let texts = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(days("2026-03-01", "2026-03-31"), texts("2026-03-01", "2026-03-31"));
        assert_eq!(days("1969-12-30", "1970-01-02"), texts("1970-01-01", "1970-01-02"));
        assert_eq!(days("0001-01-01", "1969-12-31"), None);
        assert!(Range::month(Month::parse("1970-01").unwrap()).is_some());
        assert_eq!(Range::month(Month::parse("1969-12").unwrap()), None);
    }
}
