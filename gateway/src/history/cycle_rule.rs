//! A billing cycle's rule in JSON: read from a request, written as it is kept.
//!
//! It always has the same fields, `null` where its kind has no use for one:
//! `{"rule": "monthly", "day": 31, "days": null, "first_date": null, "time_zone": "Europe/Berlin"}`.

use portmeter_proto::v1::CycleRule;
use portmeter_proto::v1::cycle_rule::Rule;
use serde::Serialize;
use utoipa::ToSchema;

use crate::calendar;
use crate::failure::Failure;
use crate::request::Fields;

/// The longest cycle, in days.
const DAYS_MAX: u32 = 366;

/// The rule in a request's body: none where the body, or its `rule`, is `null`.
pub(super) fn rule_of(fields: Option<&Fields>) -> Result<Option<CycleRule>, Failure> {
    let Some(fields) = fields.filter(|fields| !fields.is_null("rule")) else {
        return Ok(None);
    };
    let rule = match fields.text("rule")? {
        Some("monthly") => Rule::MonthlyDay(fields.number("day", 1..=31)?),
        Some("weekly") => Rule::WeeklyDay(fields.number("day", 1..=7)?),
        Some("daily") => Rule::EveryDays(1),
        Some("every_days") => Rule::EveryDays(fields.number("days", 1..=DAYS_MAX)?),
        _ => {
            return Err(Failure::bad_request(
                "rule: send \"monthly\" or \"weekly\" with a day, \"daily\", \"every_days\" with days, or null for no \
                 cycle",
            ));
        }
    };
    let first_date = fields.text("first_date")?.unwrap_or_default().to_owned();
    if !first_date.is_empty() && calendar::day(&first_date).is_none() {
        return Err(Failure::bad_request(
            "first_date: send a day of the calendar as YYYY-MM-DD, for example 2026-03-29",
        ));
    }
    Ok(Some(CycleRule {
        rule: Some(rule),
        first_date,
        time_zone: fields.text("time_zone")?.unwrap_or_default().to_owned(),
    }))
}

/// A rule as it is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = CycleRule)]
pub(super) struct RuleBody<'a> {
    rule: &'static str,
    #[schema(required)]
    day: Option<u32>,
    #[schema(required)]
    days: Option<u32>,
    #[schema(required, format = "date")]
    first_date: Option<&'a str>,
    time_zone: &'a str,
}

impl<'a> RuleBody<'a> {
    pub(super) fn of(rule: &'a CycleRule) -> Result<Self, Failure> {
        let (name, day, days) = match rule.rule {
            Some(Rule::MonthlyDay(day)) => ("monthly", Some(day), None),
            Some(Rule::WeeklyDay(day)) => ("weekly", Some(day), None),
            Some(Rule::EveryDays(1)) => ("daily", None, None),
            Some(Rule::EveryDays(days)) => ("every_days", None, Some(days)),
            None => return Err(Failure::incomplete("cycle_rule.rule")),
        };
        Ok(Self {
            rule: name,
            day,
            days,
            first_date: days.map(|_| rule.first_date.as_str()),
            time_zone: &rule.time_zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::OptionalFields;
    use crate::testing::json_of;

    fn rule(body: &str) -> Result<Option<CycleRule>, String> {
        let OptionalFields(fields) = OptionalFields::parse(body.as_bytes()).unwrap();
        rule_of(fields.as_ref()).map_err(Failure::into_text)
    }

    fn kept(rule: Rule, first_date: &str, time_zone: &str) -> CycleRule {
        CycleRule {
            rule: Some(rule),
            first_date: first_date.to_owned(),
            time_zone: time_zone.to_owned(),
        }
    }

    #[test]
    fn a_rule_is_read() {
        for (body, expected) in [
            ("null", None),
            (r#"{"rule":null}"#, None),
            (
                r#"{"rule":"monthly","day":31}"#,
                Some(kept(Rule::MonthlyDay(31), "", "")),
            ),
            (
                r#"{"rule":"weekly","day":7,"time_zone":"Europe/Berlin"}"#,
                Some(kept(Rule::WeeklyDay(7), "", "Europe/Berlin")),
            ),
            (r#"{"rule":"daily","other":1}"#, Some(kept(Rule::EveryDays(1), "", ""))),
            (
                r#"{"rule":"every_days","days":10,"first_date":"2024-02-29","time_zone":null}"#,
                Some(kept(Rule::EveryDays(10), "2024-02-29", "")),
            ),
        ] {
            assert_eq!(rule(body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_told_by_its_field() {
        for (field, bodies) in [
            (
                "rule",
                &[
                    "{}",
                    r#"{"rule":"yearly"}"#,
                    r#"{"rule":5}"#,
                    r#"{"rule":"Monthly","day":1}"#,
                    r#"{"day":1}"#,
                ][..],
            ),
            (
                "day",
                &[
                    r#"{"rule":"monthly"}"#,
                    r#"{"rule":"monthly","day":0}"#,
                    r#"{"rule":"monthly","day":32}"#,
                    r#"{"rule":"monthly","day":"1"}"#,
                    r#"{"rule":"monthly","day":1.5}"#,
                    r#"{"rule":"monthly","day":null}"#,
                    r#"{"rule":"weekly","day":8}"#,
                    r#"{"rule":"weekly","day":-1}"#,
                ],
            ),
            (
                "days",
                &[
                    r#"{"rule":"every_days"}"#,
                    r#"{"rule":"every_days","days":0}"#,
                    r#"{"rule":"every_days","days":367}"#,
                    r#"{"rule":"every_days","days":18446744073709551616}"#,
                ],
            ),
            (
                "first_date",
                &[
                    r#"{"rule":"every_days","days":3,"first_date":"2025-02-29"}"#,
                    r#"{"rule":"every_days","days":3,"first_date":20250101}"#,
                ],
            ),
            ("time_zone", &[r#"{"rule":"monthly","day":1,"time_zone":1}"#]),
        ] {
            for body in bodies {
                let told = rule(body).unwrap_err();
                assert!(told.starts_with(&format!("{field}: ")), "{body}: {told}");
            }
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_is_kept() {
        let shown = |rule, first_date| json_of(&RuleBody::of(&kept(rule, first_date, "UTC")).unwrap());
        for (rule, expected) in [
            (
                Rule::MonthlyDay(31),
                json!({"rule": "monthly", "day": 31, "days": null, "first_date": null}),
            ),
            (
                Rule::WeeklyDay(1),
                json!({"rule": "weekly", "day": 1, "days": null, "first_date": null}),
            ),
            (
                Rule::EveryDays(1),
                json!({"rule": "daily", "day": null, "days": null, "first_date": null}),
            ),
            (
                Rule::EveryDays(10),
                json!({"rule": "every_days", "day": null, "days": 10, "first_date": "2025-08-05"}),
            ),
        ] {
            let mut expected = expected;
            expected["time_zone"] = json!("UTC");
            assert_eq!(shown(rule, "2025-08-05"), expected);
        }
        assert!(RuleBody::of(&CycleRule::default()).is_err());
    }
}
