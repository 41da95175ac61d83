//! What the agent tells, as messages: its live stream, and now and then totals and state. Both are asked for again and
//! again until the view ends, so an agent that was gone is found when it is back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portmeter_gateway::Transport;
use portmeter_proto::v1::collector_service_client::CollectorServiceClient;
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::xray_service_client::XrayServiceClient;
use portmeter_proto::v1::{
    Collector, GetCollectorRequest, GetStateRequest, GetVersionRequest, GetXrayStateRequest, Granularity,
    ListKeyPeriodsRequest, Period, WatchTrafficRequest,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;

use super::model::{AgentState, Message, Totals};
use crate::calendar::Day;
use crate::cli::moment::moment;
use crate::cli::running_agent::{ANSWER_BYTES_MAX, sentence};

/// Messages that wait to be shown. Who asks waits too when there are as many.
const WAITING_MAX: usize = 16;

/// The pause before an agent that has gone is looked for again.
const RETRY: Duration = Duration::from_millis(500);

/// The least pause between two readings of totals and state.
const PAUSE_MIN: Duration = Duration::from_secs(2);

/// Totals of many keys take the agent a while: it is given this many times as long before it is asked again.
const PAUSE_FACTOR: u32 = 20;

/// More rows than there can be keys.
const ROWS_MAX: u32 = 50_000;

/// The tasks that ask, ended when dropped.
pub(super) struct Feed {
    messages: Receiver<Message>,
    _tasks: JoinSet<()>,
}

impl Feed {
    /// Begins to ask.
    pub(super) fn start(transport: &Transport) -> Self {
        let (sender, messages) = channel(WAITING_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(transport.clone(), sender.clone()));
        tasks.spawn(look_around(transport.clone(), sender));
        Self {
            messages,
            _tasks: tasks,
        }
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Message> {
        let message = self.messages.recv().await;
        message.context("whoever asks the agent has ended")
    }
}

/// Follows the live stream for as long as somebody listens.
async fn watch(transport: Transport, messages: Sender<Message>) {
    loop {
        let why = match follow(&transport, &messages).await {
            Ok(()) => "the agent has ended".to_owned(),
            Err(status) => sentence(&status),
        };
        if messages.send(Message::Lost(why)).await.is_err() {
            return;
        }
        sleep(RETRY).await;
    }
}

async fn follow(transport: &Transport, messages: &Sender<Message>) -> Result<(), Status> {
    let mut client = TrafficServiceClient::new(transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut stream = client.watch_traffic(WatchTrafficRequest::default()).await?.into_inner();
    while let Some(traffic) = stream.message().await? {
        if messages.send(Message::Traffic(traffic)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads totals and state for as long as somebody listens.
async fn look_around(transport: Transport, messages: Sender<Message>) {
    loop {
        let started = Instant::now();
        let (state, totals) = match state(&transport).await {
            Ok((state, today)) => (Some(Message::State(state)), totals(&transport, today).await),
            Err(status) => (None, Err(status)),
        };
        let totals = match totals {
            Ok(totals) => Some(Message::Totals(totals)),
            // An agent that cannot be reached is told by who watches it.
            Err(status) if std::error::Error::source(&status).is_some() => None,
            Err(status) => Some(Message::Trouble(sentence(&status))),
        };
        for message in [state, totals].into_iter().flatten() {
            if messages.send(message).await.is_err() {
                return;
            }
        }
        sleep(pause_after(started.elapsed())).await;
    }
}

fn pause_after(taken: Duration) -> Duration {
    PAUSE_MIN.max(taken * PAUSE_FACTOR)
}

/// The agent's state, and its today; none while the ledger has no day.
async fn state(transport: &Transport) -> Result<(AgentState, Option<Day>), Status> {
    let mut system = SystemServiceClient::new(transport.clone());
    let version = system.get_version(GetVersionRequest {}).await?.into_inner();
    let state = system.get_state(GetStateRequest {}).await?.into_inner();
    let mut collector = CollectorServiceClient::new(transport.clone());
    let collector = collector
        .get_collector(GetCollectorRequest {})
        .await?
        .into_inner()
        .collector;
    let collector = collector.unwrap_or_default();
    let mut xray = XrayServiceClient::new(transport.clone());
    let xray = xray.get_xray_state(GetXrayStateRequest {}).await?.into_inner();
    let today = today(&collector);
    let state = AgentState {
        version: version.version,
        problems: state.problems,
        started_at: state.started_at.and_then(moment),
        booked_at: state.last_booked_at.and_then(moment),
        is_collecting: collector.is_enabled,
        xray: format!("{} ({})", xray.state, xray.mode),
        drift_count: xray.drift_count,
        unattributed_packets: state.unattributed.iter().map(|row| row.packets).sum(),
    };
    Ok((state, today))
}

/// The present day in the agent's zone: the newest that the ledger has, and how far that is behind.
fn today(collector: &Collector) -> Option<Day> {
    let newest: Day = collector.newest_day.as_ref()?.parse().ok()?;
    Some(newest.plus_days(i32::try_from(collector.lag_days?).ok()?))
}

async fn totals(transport: &Transport, today: Option<Day>) -> Result<Totals, Status> {
    let Some(today) = today else {
        return Ok(Totals::default());
    };
    let mut client = HistoryServiceClient::new(transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut rows = async |granularity: Granularity, period: String| {
        let request = ListKeyPeriodsRequest {
            granularity: granularity.into(),
            first: period.clone(),
            last: period,
            page_size: ROWS_MAX,
            page_token: String::new(),
        };
        let answer = client.list_key_periods(request).await?;
        Ok::<_, Status>(by_key(answer.into_inner().periods))
    };
    Ok(Totals {
        today: rows(Granularity::Day, today.to_string()).await?,
        month: rows(Granularity::Month, today.month().to_string()).await?,
    })
}

fn by_key(periods: Vec<Period>) -> HashMap<String, u64> {
    let bytes = |period: Period| {
        let tally = period.tally.unwrap_or_default();
        (period.key_id, tally.rx_bytes.saturating_add(tally.tx_bytes))
    };
    periods.into_iter().map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_is_the_newest_day_and_what_has_passed_since() {
        let collector = |newest_day: Option<&str>, lag_days| Collector {
            newest_day: newest_day.map(str::to_owned),
            lag_days,
            ..Collector::default()
        };
        let found = |collector: &Collector| today(collector).map(|day| day.to_string());
        assert_eq!(
            found(&collector(Some("2026-02-28"), Some(1))).as_deref(),
            Some("2026-03-01")
        );
        assert_eq!(
            found(&collector(Some("2026-02-28"), Some(0))).as_deref(),
            Some("2026-02-28")
        );
        assert_eq!(found(&collector(None, None)), None);
    }

    #[test]
    fn an_agent_with_much_to_add_up_is_asked_less_often() {
        assert_eq!(pause_after(Duration::from_millis(5)), PAUSE_MIN);
        assert_eq!(pause_after(Duration::from_millis(500)), Duration::from_secs(10));
    }
}
