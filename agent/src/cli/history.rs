//! `portmeter history`: what the ledger of a running agent has, of every key in all or by day and month.

mod output;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use portmeter_gateway::Transport;
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::{
    GetHistoryRequest, Granularity, KeyHistory, ListHistoriesRequest, ListPeriodsRequest, Period,
};

use super::chosen_key::{KEY_HELP, key_id};
use super::running_agent::{ANSWER_BYTES_MAX, RunningAgent, refusal};
use super::table::terminal_width;
use crate::calendar::{Day, Month};

/// How many days are shown of a key where nobody says.
const DAYS: u32 = 30;

/// Most periods in one answer, and so most that are shown: 130 years of days.
const PERIODS_MAX: u32 = 50_000;

/// Which agent, and what of its ledger.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: RunningAgent,
    #[arg(help = format!("{KEY_HELP} [default: all keys]"))]
    key: Option<String>,
    /// The newest days, today included [default of one key: 30; of all: each key's totals]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(PERIODS_MAX)))]
    days: Option<u32>,
    /// The newest months, the present one included
    #[arg(long, value_name = "NUMBER", conflicts_with = "days", value_parser = clap::value_parser!(u32).range(1..=1_200))]
    months: Option<u32>,
    /// Write JSON, with exact figures
    #[arg(long)]
    json: bool,
}

/// The newest periods of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Days(u32),
    Months(u32),
}

/// Periods of a key or of all keys together, and from when on they were asked for.
struct Shown {
    /// The key and its totals; nothing where it is all keys together.
    history: Option<KeyHistory>,
    span: Span,
    /// The first period that was asked for, and the present one.
    first: String,
    last: String,
    periods: Vec<Period>,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let transport = arguments.agent.connect().await?;
    let mut client = HistoryServiceClient::new(transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let span = span(&arguments);
    let text = match (arguments.key, span) {
        (None, None) => {
            let request = ListHistoriesRequest { include_activity: true };
            let answer = client.list_histories(request).await.map_err(refusal)?.into_inner();
            match arguments.json {
                true => output::totals_as_json(&answer),
                false => output::totals(&answer.histories, terminal_width()),
            }
        }
        (key, span) => {
            let shown = periods(&transport, &mut client, key, span.unwrap_or(Span::Days(DAYS))).await?;
            match arguments.json {
                true => output::periods_as_json(&shown),
                false => output::periods(&shown, terminal_width()),
            }
        }
    };
    // Whoever reads only the first lines (`| head`) closes the pipe early.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// What was asked for: days go with a key where nothing else is said.
fn span(arguments: &Arguments) -> Option<Span> {
    match (arguments.days, arguments.months) {
        (Some(days), _) => Some(Span::Days(days)),
        (None, Some(months)) => Some(Span::Months(months)),
        (None, None) => None,
    }
}

async fn periods(
    transport: &Transport,
    client: &mut HistoryServiceClient<Transport>,
    key: Option<String>,
    span: Span,
) -> Result<Shown> {
    let key_id = match key {
        Some(key) => key_id(transport, &key).await?,
        None => String::new(),
    };
    let (history, today) = if key_id.is_empty() {
        let answer = client.list_histories(ListHistoriesRequest::default()).await;
        (None, answer.map_err(refusal)?.into_inner().today)
    } else {
        let request = GetHistoryRequest {
            key_id: key_id.clone(),
            ..GetHistoryRequest::default()
        };
        let answer = client.get_history(request).await.map_err(refusal)?.into_inner();
        (answer.history, answer.today)
    };
    let today: Day = today.parse().context("the agent's calendar has another form of days")?;
    let (granularity, first, last) = range(span, today);
    let request = ListPeriodsRequest {
        key_id,
        granularity: granularity.into(),
        first: first.clone(),
        last: last.clone(),
        page_size: PERIODS_MAX,
        page_token: String::new(),
    };
    let answer = client.list_periods(request).await.map_err(refusal)?;
    Ok(Shown {
        history,
        span,
        first,
        last,
        periods: answer.into_inner().periods,
    })
}

/// The first and the last period of a span that ends today. None is before the calendar's first day.
fn range(span: Span, today: Day) -> (Granularity, String, String) {
    let back = |count: u32| i32::try_from(count - 1).unwrap_or(i32::MAX);
    match span {
        Span::Days(count) => {
            let first = Day(today.0.saturating_sub(back(count)).max(0));
            (Granularity::Day, first.to_string(), today.to_string())
        }
        Span::Months(count) => {
            let last = today.month();
            let first = Month(last.0.saturating_sub(back(count)).max(0));
            (Granularity::Month, first.to_string(), last.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_with_the_present_period() {
        let today: Day = "2026-03-01".parse().unwrap();
        for (span, first, last) in [
            (Span::Days(1), "2026-03-01", "2026-03-01"),
            (Span::Days(2), "2026-02-28", "2026-03-01"),
            (Span::Days(50_000), "1970-01-01", "2026-03-01"),
            (Span::Months(1), "2026-03", "2026-03"),
            (Span::Months(15), "2025-01", "2026-03"),
            (Span::Months(1_200), "1970-01", "2026-03"),
        ] {
            let (_, found_first, found_last) = range(span, today);
            assert_eq!((found_first.as_str(), found_last.as_str()), (first, last), "{span:?}");
        }
    }
}
