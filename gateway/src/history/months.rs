//! What keys moved in one calendar month.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use chrono::NaiveDate;
use portmeter_proto::v1::{GetHistoryRequest, GetHistoryResponse, ListHistoriesRequest, ListHistoriesResponse, Tally};
use serde::Serialize;
use utoipa::ToSchema;

use super::periods::{self, Range};
use super::{DAY_BYTES, Figures, Identity, KeyRow, ROW_BYTES, Sizes, Sums, by_date, tally_of};
use crate::answer::{self, Object};
use crate::calendar::{self, Month};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::query::Query;
use crate::request::KeyId;
use crate::size::Size2;

/// Shows what every key moved in a month of the calendar.
#[utoipa::path(
    get,
    path = "/api/traffic/monthly",
    params(("year_month" = Option<Month>, Query, description = "The month; the present one by default.")),
    responses((status = 200, body = AllKeys))
)]
pub(crate) async fn list(State(gateway): State<Gateway>, query: Query) -> Result<Response, Failure> {
    // What is wrong with the query is told before anything is asked.
    let made = match asked(&query)? {
        Some(month) => made(gateway, Some(month)).await?,
        None => {
            let maker = gateway.clone();
            gateway.shared().month.get(move || made(maker.clone(), None)).await?
        }
    };
    Ok(answer::json_bytes(made))
}

/// The list of a month, the present one where none is asked for.
async fn made(gateway: Gateway, asked: Option<Month>) -> Result<Bytes, Failure> {
    let histories = gateway.lists().histories(ListHistoriesRequest::default()).await?;
    let month = asked.map_or_else(|| present(&histories.today), Ok)?;
    let mut tallies = HashMap::with_capacity(histories.histories.len());
    periods::each_key(&gateway, Range::month(month), |period| {
        let tally = *tally_of(&period)?;
        tallies.insert(period.key_id, tally);
        Ok(())
    })
    .await?;
    let expected_bytes = (histories.histories.len() + 1) * ROW_BYTES;
    Ok(answer::list_to_bytes(
        &AllKeys::of(month, &histories, &tallies)?,
        expected_bytes,
    ))
}

/// Shows what a key moved in a month of the calendar, and on each of its days.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/traffic/monthly",
    params(("year_month" = Option<Month>, Query, description = "The month; the present one by default.")),
    responses((status = 200, body = OneKey))
)]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    KeyId(key_id): KeyId,
    query: Query,
) -> Result<Response, Failure> {
    // A key that is not there is told before what is wrong with the query; a month before all ledgers has nothing.
    let asked = asked(&query);
    let known = asked
        .as_ref()
        .ok()
        .copied()
        .flatten()
        .filter(|month| Range::month(*month).is_some());
    let is_unknown = matches!(&asked, Ok(Some(_))) && known.is_none();
    let request = GetHistoryRequest {
        key_id,
        include_days: !is_unknown,
        month: (!is_unknown).then(|| known.map(|month| month.to_string()).unwrap_or_default()),
    };
    let history = gateway.history().get_history(request).await?.into_inner();
    let month = asked?.map_or_else(|| present(&history.today), Ok)?;
    let expected_bytes = ROW_BYTES + history.days.len() * DAY_BYTES;
    Ok(answer::json_of_size(&OneKey::of(month, &history)?, expected_bytes))
}

/// The month that the query names.
fn asked(query: &Query) -> Result<Option<Month>, Failure> {
    let text = query.text("year_month");
    text.map(|text| {
        Month::parse(text).ok_or_else(|| {
            Failure::bad_request("year_month: send a month of the calendar as YYYY-MM, for example 2026-03")
        })
    })
    .transpose()
}

/// The month of the ledger's present day.
fn present(today: &str) -> Result<Month, Failure> {
    let today: Option<NaiveDate> = calendar::day(today);
    today.map(Month::of).ok_or_else(|| Failure::incomplete("today"))
}

#[derive(Serialize, ToSchema)]
#[schema(as = MonthOfAllKeys)]
struct AllKeys<'a> {
    status: &'static str,
    data: AllKeysData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MonthOfAllKeysData)]
struct AllKeysData<'a> {
    year_month: Month,
    total_keys: usize,
    active_keys: usize,
    total_traffic_bytes: u64,
    total_rx_bytes: u64,
    total_tx_bytes: u64,
    total_connections: u64,
    total_sessions: u64,
    keys: Vec<Row<'a>>,
    total_traffic_formatted: Size2,
    total_rx_formatted: Size2,
    total_tx_formatted: Size2,
}

impl<'a> AllKeys<'a> {
    /// Every key is listed, whether or not it is among the `tallies`, which go by its id.
    fn of(
        month: Month,
        histories: &'a ListHistoriesResponse,
        tallies: &HashMap<String, Tally>,
    ) -> Result<Self, Failure> {
        let rows = KeyRow::all(&histories.histories)?;
        let nothing = Tally::default();
        let tally = |row: &KeyRow<'_>| tallies.get(&row.key.id).unwrap_or(&nothing);
        let sums = Sums::of(rows.iter().map(tally));
        Ok(Self {
            status: "success",
            data: AllKeysData {
                year_month: month,
                total_keys: rows.len(),
                active_keys: rows.iter().filter(|row| row.is_connected).count(),
                total_traffic_bytes: sums.total_bytes(),
                total_rx_bytes: sums.rx_bytes,
                total_tx_bytes: sums.tx_bytes,
                total_connections: sums.max_connections,
                total_sessions: sums.sessions,
                keys: rows
                    .iter()
                    .map(|row| Row::of(row, tally(row)))
                    .collect::<Result<_, _>>()?,
                total_traffic_formatted: Size2::new(sums.total_bytes()),
                total_rx_formatted: Size2::new(sums.rx_bytes),
                total_tx_formatted: Size2::new(sums.tx_bytes),
            },
            timestamp: Moment::of(histories.read_at.as_ref(), "read_at")?,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = MonthRow)]
struct Row<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    monthly_traffic: MonthlyTraffic,
}

impl<'a> Row<'a> {
    fn of(row: &KeyRow<'a>, tally: &Tally) -> Result<Self, Failure> {
        Ok(Self {
            identity: Identity::of(row)?,
            monthly_traffic: MonthlyTraffic::of(tally),
        })
    }
}

#[derive(Serialize, ToSchema)]
struct MonthlyTraffic {
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    sizes: Sizes,
}

impl MonthlyTraffic {
    fn of(tally: &Tally) -> Self {
        Self {
            figures: Figures::of(tally),
            sizes: Sizes::of(tally),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = MonthOfKey)]
struct OneKey<'a> {
    status: &'static str,
    data: OneKeyData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MonthOfKeyData)]
struct OneKeyData<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    year_month: Month,
    monthly_traffic: MonthlyTraffic,
    #[schema(value_type = BTreeMap<String, Figures>)]
    daily_breakdown: Object<&'a str, Figures>,
}

impl<'a> OneKey<'a> {
    fn of(month: Month, history: &'a GetHistoryResponse) -> Result<Self, Failure> {
        let row = history.history.as_ref().ok_or_else(|| Failure::incomplete("history"))?;
        let tally = history
            .month
            .as_ref()
            .map(tally_of)
            .transpose()?
            .copied()
            .unwrap_or_default();
        Ok(Self {
            status: "success",
            data: OneKeyData {
                identity: Identity::of(&KeyRow::of(row)?)?,
                year_month: month,
                monthly_traffic: MonthlyTraffic::of(&tally),
                daily_breakdown: Object(by_date(&history.days)?),
            },
            timestamp: Moment::of(history.read_at.as_ref(), "read_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{READ_AT, history, json_of, period, tally};

    fn august() -> Month {
        Month::parse("2025-08").unwrap()
    }

    #[test]
    fn the_month_is_the_one_asked_for_or_the_ledgers_present_one() {
        assert_eq!(asked(&Query::parse("")).unwrap(), None);
        assert_eq!(asked(&Query::parse("year_month=2025-08")).unwrap(), Some(august()));
        assert_eq!(present("2025-08-31").unwrap(), august());
        assert!(present("").is_err());
        for text in ["2025-13", "2025-8", "08-2025", "2025-08-01", "", "now", "2025-00"] {
            let refused = asked(&Query::parse(&format!("year_month={text}"))).unwrap_err();
            assert!(refused.into_text().starts_with("year_month: "), "{text}");
        }
    }

    #[test]
    fn all_keys_with_and_without_figures() {
        let histories = ListHistoriesResponse {
            histories: vec![
                history(1, tally(9999, 9999, 999, 99), true),
                history(2, Tally::default(), false),
                history(3, tally(9999, 9999, 999, 99), true),
            ],
            read_at: Some(READ_AT),
            today: "2025-08-05".into(),
        };
        let tallies = HashMap::from([
            ("id-1".to_owned(), tally(1000, 24, 271, 5)),
            ("id-3".to_owned(), tally(500, 12, 252, 23)),
        ]);
        let body = json_of(&AllKeys::of(august(), &histories, &tallies).unwrap());
        let keys = &body["data"]["keys"];
        assert_eq!(
            keys[0],
            json!({
                "key_uuid": "uuid-1",
                "key_name": "key 1",
                "port": 10001,
                "created_at": "2025-08-01T00:00:00.000000",
                "last_activity": "2025-08-05T12:00:00.000000",
                "is_active": true,
                "monthly_traffic": {
                    "total_bytes": 1024,
                    "rx_bytes": 1000,
                    "tx_bytes": 24,
                    "max_connections": 271,
                    "sessions": 5,
                    "total_formatted": "1.00 KB",
                    "rx_formatted": "1000 B",
                    "tx_formatted": "24 B",
                },
            })
        );
        assert_eq!(keys[1]["monthly_traffic"]["total_formatted"], "0 B");
        let mut rest = body.clone();
        rest["data"].as_object_mut().unwrap().remove("keys");
        let expected = json!({
            "status": "success",
            "data": {
                "year_month": "2025-08",
                "total_keys": 3,
                "active_keys": 2,
                "total_traffic_bytes": 1536,
                "total_rx_bytes": 1500,
                "total_tx_bytes": 36,
                "total_connections": 271,
                "total_sessions": 28,
                "total_traffic_formatted": "1.50 KB",
                "total_rx_formatted": "1.46 KB",
                "total_tx_formatted": "36 B",
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(rest, expected);
    }

    #[test]
    fn one_key_with_its_days_or_with_none() {
        let history = GetHistoryResponse {
            history: Some(history(1, tally(9999, 9999, 999, 99), true)),
            read_at: Some(READ_AT),
            today: "2025-08-05".into(),
            days: vec![period("2025-08-05", tally(1000, 24, 3, 2))],
            month: Some(period("2025-08", tally(1000, 24, 3, 2))),
        };
        let expected = json!({
            "status": "success",
            "data": {
                "key_uuid": "uuid-1",
                "key_name": "key 1",
                "port": 10001,
                "created_at": "2025-08-01T00:00:00.000000",
                "last_activity": "2025-08-05T12:00:00.000000",
                "is_active": true,
                "year_month": "2025-08",
                "monthly_traffic": {
                    "total_bytes": 1024,
                    "rx_bytes": 1000,
                    "tx_bytes": 24,
                    "max_connections": 3,
                    "sessions": 2,
                    "total_formatted": "1.00 KB",
                    "rx_formatted": "1000 B",
                    "tx_formatted": "24 B",
                },
                "daily_breakdown": {
                    "2025-08-05": {
                        "total_bytes": 1024, "rx_bytes": 1000, "tx_bytes": 24, "max_connections": 3, "sessions": 2,
                    },
                },
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(json_of(&OneKey::of(august(), &history).unwrap()), expected);
        let history = GetHistoryResponse {
            days: Vec::new(),
            month: None,
            ..history
        };
        let empty = json_of(&OneKey::of(august(), &history).unwrap());
        assert_eq!(empty["data"]["daily_breakdown"], json!({}));
        assert_eq!(empty["data"]["monthly_traffic"]["sessions"], 0);
    }
}
