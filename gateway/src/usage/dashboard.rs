//! The usage page: arrays with an entry a day, oldest first, of all users together and of each.

use chrono::NaiveDate;
use portmeter_proto::v1::{self, Key};
use serde::Serialize;
use utoipa::ToSchema;

use super::domains::{ALL, Domain, Domains};
use super::kpi::Kpi;
use super::window::{Ledger, Series, Window};
use crate::answer::Object;
use crate::users;

/// A week is out of the ordinary when it has more than this many times the bytes of the week before.
const ANOMALY_FACTOR: u64 = 3;

/// How a page is to be.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// Whether the daily arrays are running sums.
    pub(super) is_cumulative: bool,
    /// The only user to be listed, by email or uuid.
    pub(super) user: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageDashboard)]
pub(super) struct Dashboard<'a> {
    ok: bool,
    global: Global<'a>,
    #[schema(value_type = BTreeMap<String, User>)]
    users: Object<&'a str, User<'a>>,
    meta: Meta<'a>,
    kpi: Kpi,
    collector: Collector,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageGlobal)]
struct Global<'a> {
    daily_traffic_bytes: Vec<u64>,
    daily_conns: Vec<u64>,
    top_domains_traffic: Vec<Domain<'a>>,
    top_domains_conns: Vec<Domain<'a>>,
    prev_daily_traffic_bytes: Vec<u64>,
    prev_daily_conns: Vec<u64>,
    cumulative_traffic_bytes: Vec<u64>,
    cumulative_conns: Vec<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageUser)]
struct User<'a> {
    #[schema(format = "uuid")]
    uuid: &'a str,
    email: &'a str,
    alias: &'static str,
    sum7_traffic_bytes: u64,
    sum7_conns: u64,
    daily_traffic_bytes: Vec<u64>,
    daily_conns: Vec<u64>,
    top_domains_traffic: Vec<Domain<'a>>,
    sum_prev7_traffic_bytes: u64,
    sum_prev7_conns: u64,
    anomaly: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageMeta)]
struct Meta<'a> {
    days: Vec<NaiveDate>,
    prev_days: Vec<NaiveDate>,
    users: Vec<&'a str>,
    to: NaiveDate,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageCollector)]
struct Collector {
    enabled: bool,
    #[schema(required)]
    lag_days: Option<u32>,
}

impl<'a> Dashboard<'a> {
    /// The page of a window; `keys` are all there are, in creation order.
    pub(super) fn of(
        page: &Page<'_>,
        keys: &[&'a Key],
        ledger: &Ledger,
        collector: &v1::Collector,
        domains: &'a Domains,
    ) -> Self {
        let window = ledger.window();
        let listed = match page.user {
            None => users::one_of_each_email(keys),
            Some(user) => users::find(keys, user).into_iter().collect(),
        };
        let nothing = Series::nothing(window);
        let row = |key: &&'a Key| {
            let series = ledger.user(&key.id).unwrap_or(&nothing);
            (key.name.as_str(), User::of(page, key, series, window, domains))
        };
        Self {
            ok: true,
            global: Global::of(page, ledger.global(), window, domains),
            users: Object(listed.iter().map(row).collect()),
            meta: Meta {
                days: window.days().to_vec(),
                prev_days: window.previous_days().to_vec(),
                users: listed.iter().map(|key| key.name.as_str()).collect(),
                to: window.last(),
            },
            kpi: Kpi::of(keys, ledger),
            collector: Collector {
                enabled: collector.is_enabled,
                lag_days: collector.lag_days,
            },
        }
    }
}

impl<'a> Global<'a> {
    fn of(page: &Page<'_>, series: &Series, window: &Window, domains: &'a Domains) -> Self {
        let (bytes, connections) = (&series.bytes, &series.connections);
        Self {
            daily_traffic_bytes: page.daily(bytes.shown(window)),
            daily_conns: page.daily(connections.shown(window)),
            top_domains_traffic: domains.by_traffic(ALL),
            top_domains_conns: domains.by_connections(ALL),
            prev_daily_traffic_bytes: page.daily(bytes.previous(window)),
            prev_daily_conns: page.daily(connections.previous(window)),
            cumulative_traffic_bytes: running_sums(bytes.shown(window)),
            cumulative_conns: running_sums(connections.shown(window)),
        }
    }
}

impl<'a> User<'a> {
    fn of(page: &Page<'_>, key: &'a Key, series: &Series, window: &Window, domains: &'a Domains) -> Self {
        let (bytes, connections) = (&series.bytes, &series.connections);
        Self {
            uuid: &key.uuid,
            email: &key.name,
            alias: "",
            sum7_traffic_bytes: bytes.week(),
            sum7_conns: connections.week(),
            daily_traffic_bytes: page.daily(bytes.shown(window)),
            daily_conns: page.daily(connections.shown(window)),
            top_domains_traffic: domains.by_traffic(&key.id),
            sum_prev7_traffic_bytes: bytes.previous_week(),
            sum_prev7_conns: connections.previous_week(),
            anomaly: is_anomaly(bytes.week(), bytes.previous_week()),
        }
    }
}

impl Page<'_> {
    /// Daily figures as this page has them.
    fn daily(&self, values: &[u64]) -> Vec<u64> {
        if self.is_cumulative {
            running_sums(values)
        } else {
            values.to_vec()
        }
    }
}

/// Each value with all before it.
fn running_sums(values: &[u64]) -> Vec<u64> {
    let sums = values.iter().scan(0_u64, |sum, value| {
        *sum = sum.saturating_add(*value);
        Some(*sum)
    });
    sums.collect()
}

/// Whether a week is out of the ordinary, which takes a week before to compare it with.
fn is_anomaly(week: u64, previous_week: u64) -> bool {
    previous_week > 0 && week > previous_week.saturating_mul(ANOMALY_FACTOR)
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{Period, Tally};
    use serde_json::{Value, json};

    use super::*;
    use crate::calendar;
    use crate::testing::{json_of, key, period};

    /// A day on which `key_id`, or everybody where it is empty, moved so many bytes in so many connections.
    fn day(key_id: &str, start: &str, bytes: u64, connections_opened: u64) -> Period {
        let tally = Tally {
            rx_bytes: bytes / 2,
            tx_bytes: bytes - bytes / 2,
            connections_opened,
            ..Tally::default()
        };
        let mut period = period(start, tally);
        period.key_id = key_id.to_owned();
        period
    }

    /// Three keys, the third with the first one's name; the third moved nothing.
    fn keys() -> [Key; 3] {
        let mut third = key(3);
        third.name = key(1).name;
        [key(1), key(2), third]
    }

    fn ledger(last: &str, days: u32) -> Ledger {
        let mut ledger = Ledger::new(Window::ending(calendar::day(last).unwrap(), days));
        for (start, first, second) in [
            ("2025-07-25", 0, 100),
            ("2025-08-02", 10, 0),
            ("2025-08-03", 20, 200),
            ("2025-08-05", 33, 300),
        ] {
            for (key_id, bytes) in [("id-1", first), ("id-2", second), ("", first + second)] {
                let day = day(key_id, start, bytes, bytes / 10);
                match key_id {
                    "" => ledger.add_global(&day).unwrap(),
                    _ => ledger.add_user(&day).unwrap(),
                }
            }
        }
        ledger
    }

    fn body(page: &Page<'_>, last: &str, days: u32) -> Value {
        let keys = keys();
        let keys: Vec<&Key> = keys.iter().collect();
        let collector = v1::Collector {
            is_enabled: true,
            lag_days: Some(1),
            ..v1::Collector::default()
        };
        json_of(&Dashboard::of(
            page,
            &keys,
            &ledger(last, days),
            &collector,
            &Domains::default(),
        ))
    }

    const DAILY: Page<'_> = Page {
        is_cumulative: false,
        user: None,
    };

    #[test]
    fn the_whole_page() {
        let expected = json!({
            "ok": true,
            "global": {
                "daily_traffic_bytes": [220, 0, 333],
                "daily_conns": [22, 0, 33],
                "top_domains_traffic": [],
                "top_domains_conns": [],
                "prev_daily_traffic_bytes": [0, 0, 10],
                "prev_daily_conns": [0, 0, 1],
                "cumulative_traffic_bytes": [220, 220, 553],
                "cumulative_conns": [22, 22, 55],
            },
            "users": {
                "key 1": {
                    "uuid": "uuid-1",
                    "email": "key 1",
                    "alias": "",
                    "sum7_traffic_bytes": 63,
                    "sum7_conns": 6,
                    "daily_traffic_bytes": [20, 0, 33],
                    "daily_conns": [2, 0, 3],
                    "top_domains_traffic": [],
                    "sum_prev7_traffic_bytes": 0,
                    "sum_prev7_conns": 0,
                    "anomaly": false,
                },
                "key 2": {
                    "uuid": "uuid-2",
                    "email": "key 2",
                    "alias": "",
                    "sum7_traffic_bytes": 500,
                    "sum7_conns": 50,
                    "daily_traffic_bytes": [200, 0, 300],
                    "daily_conns": [20, 0, 30],
                    "top_domains_traffic": [],
                    "sum_prev7_traffic_bytes": 100,
                    "sum_prev7_conns": 10,
                    "anomaly": true,
                },
            },
            "meta": {
                "days": ["2025-08-03", "2025-08-04", "2025-08-05"],
                "prev_days": ["2025-07-31", "2025-08-01", "2025-08-02"],
                "users": ["key 1", "key 2"],
                "to": "2025-08-05",
            },
            "kpi": {
                "today_bytes": 333,
                "yesterday_bytes": 0,
                "change_pct": null,
                "total_bytes": 553,
                "total_users": 3,
                "active_users": 2,
            },
            "collector": {"enabled": true, "lag_days": 1},
        });
        assert_eq!(body(&DAILY, "2025-08-05", 3), expected);
    }

    #[test]
    fn a_cumulative_page_has_running_sums_for_daily_figures_and_nothing_else() {
        let page = Page {
            is_cumulative: true,
            ..DAILY
        };
        let (daily, cumulative) = (body(&DAILY, "2025-08-05", 3), body(&page, "2025-08-05", 3));
        let mut expected = daily;
        expected["global"]["daily_traffic_bytes"] = json!([220, 220, 553]);
        expected["global"]["daily_conns"] = json!([22, 22, 55]);
        expected["global"]["prev_daily_traffic_bytes"] = json!([0, 0, 10]);
        expected["users"]["key 1"]["daily_traffic_bytes"] = json!([20, 20, 53]);
        expected["users"]["key 1"]["daily_conns"] = json!([2, 2, 5]);
        expected["users"]["key 2"]["daily_traffic_bytes"] = json!([200, 200, 500]);
        expected["users"]["key 2"]["daily_conns"] = json!([20, 20, 50]);
        assert_eq!(cumulative, expected);
    }

    #[test]
    fn one_user_alone_or_nobody() {
        let of_user = |user| {
            let page = Page {
                user: Some(user),
                ..DAILY
            };
            body(&page, "2025-08-05", 3)
        };
        let all = body(&DAILY, "2025-08-05", 3);
        for user in ["key 2", "uuid-2"] {
            let one = of_user(user);
            assert_eq!(one["users"], json!({"key 2": all["users"]["key 2"]}));
            assert_eq!(
                (&one["meta"]["users"], &one["global"]),
                (&json!(["key 2"]), &all["global"])
            );
        }
        let nobody = of_user("nobody");
        assert_eq!((&nobody["users"], &nobody["meta"]["users"]), (&json!({}), &json!([])));
        assert_eq!(nobody["kpi"], all["kpi"]);
    }

    #[test]
    fn a_window_in_which_nothing_happened_is_zeros() {
        let body = body(&DAILY, "2020-01-02", 2);
        assert_eq!(body["global"]["daily_traffic_bytes"], json!([0, 0]));
        assert_eq!(body["users"]["key 1"]["daily_conns"], json!([0, 0]));
        assert_eq!(
            (&body["kpi"]["total_bytes"], &body["kpi"]["active_users"]),
            (&json!(0), &json!(0))
        );
    }

    #[test]
    fn an_empty_ledger_has_no_lag_and_a_pause_is_told() {
        let window = Window::ending(calendar::day("2025-08-05").unwrap(), 1);
        let paused = v1::Collector::default();
        let body = json_of(&Dashboard::of(
            &DAILY,
            &[],
            &Ledger::new(window),
            &paused,
            &Domains::default(),
        ));
        assert_eq!(body["collector"], json!({"enabled": false, "lag_days": null}));
        assert_eq!(body["users"], json!({}));
    }

    #[test]
    fn an_anomaly_takes_something_to_compare_with() {
        for (week, previous_week, expected) in [(301, 100, true), (300, 100, false), (9, 0, false), (0, 9, false)] {
            assert_eq!(
                is_anomaly(week, previous_week),
                expected,
                "{week} after {previous_week}"
            );
        }
        assert!(!is_anomaly(u64::MAX, u64::MAX));
    }
}
