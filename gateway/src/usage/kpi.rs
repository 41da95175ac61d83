//! The figures at the head of the usage page.

use portmeter_proto::v1::Key;
use serde::Serialize;
use utoipa::ToSchema;

use super::window::{Ledger, sum};

/// Figures of the last day shown, the day before, and all days shown.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = UsageKpi)]
pub(super) struct Kpi {
    today_bytes: u64,
    yesterday_bytes: u64,
    #[schema(required)]
    change_pct: Option<f64>,
    total_bytes: u64,
    total_users: usize,
    active_users: usize,
}

impl Kpi {
    /// Of all keys, whichever of them the page lists.
    pub(super) fn of(keys: &[&Key], ledger: &Ledger) -> Self {
        let window = ledger.window();
        let bytes = &ledger.global().bytes;
        let (today_bytes, yesterday_bytes) = bytes.last_two();
        let is_active = |key: &&&Key| {
            let series = ledger.user(&key.id);
            series.is_some_and(|series| series.is_active(window))
        };
        Self {
            today_bytes,
            yesterday_bytes,
            change_pct: percent_change(today_bytes, yesterday_bytes),
            total_bytes: sum(bytes.shown(window)),
            total_users: keys.len(),
            active_users: keys.iter().filter(is_active).count(),
        }
    }
}

/// By how many percent `now` is more than `before`, with two decimals; nothing where there was nothing before.
fn percent_change(now: u64, before: u64) -> Option<f64> {
    if before == 0 {
        return None;
    }
    let change = (now as f64 - before as f64) / before as f64;
    Some((change * 10_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_in_percent() {
        for (now, before, expected) in [
            (150, 100, Some(50.0)),
            (50, 150, Some(-66.67)),
            (0, 9, Some(-100.0)),
            (9, 9, Some(0.0)),
            (9, 0, None),
            (0, 0, None),
        ] {
            assert_eq!(percent_change(now, before), expected, "{now} after {before}");
        }
    }
}
