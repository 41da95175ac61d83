//! What is known of the agent and its keys, made from its messages alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use portmeter_proto::v1::{Key, KeyTraffic, WatchTrafficResponse};

use super::recent::Recent;
use crate::cli::figures::full_name;
use crate::cli::moment::moment;

/// How long an agent that tells its traffic once a second may be silent before that is said.
const SILENCE: Duration = Duration::from_secs(3);

/// What comes from the agent.
#[derive(Debug)]
pub(super) enum Message {
    /// What its keys have moved up to now.
    Traffic(WatchTrafficResponse),
    /// What they have moved today and this month.
    Totals(Totals),
    /// How it is.
    State(AgentState),
    /// Totals or state cannot be had, though the agent answers.
    Trouble(String),
    /// The connection is gone, and why.
    Lost(String),
}

/// Bytes of both directions by key id; keys that moved nothing are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) today: HashMap<String, u64>,
    pub(super) month: HashMap<String, u64>,
}

/// How the agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AgentState {
    pub(super) version: String,
    pub(super) problems: Vec<String>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) booked_at: Option<DateTime<Utc>>,
    pub(super) is_collecting: bool,
    /// The core's state and its mode, in the agent's words.
    pub(super) xray: String,
    /// Keys that the core does not have as it should.
    pub(super) drift_count: u32,
    pub(super) unattributed_packets: u64,
}

/// A key with a port.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    /// Name and alias, with nothing in them that steers a terminal.
    pub(super) name: String,
    pub(super) port: Option<u32>,
    pub(super) is_active: bool,
    /// Since the key was made or its figures were last reset.
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
    /// Bytes per second; nothing before a second message and right after a reset.
    pub(super) rx_rate: Option<f64>,
    pub(super) tx_rate: Option<f64>,
    pub(super) connections: u64,
    pub(super) recent: Recent,
    /// Bytes of both directions; nothing until they are known.
    pub(super) today_bytes: Option<u64>,
    pub(super) month_bytes: Option<u64>,
}

impl Row {
    /// Bytes per second, both directions.
    pub(super) fn rate(&self) -> Option<f64> {
        Some(self.rx_rate? + self.tx_rate?)
    }

    /// Bytes of both directions since the key was made or reset.
    pub(super) fn total_bytes(&self) -> u64 {
        self.rx_bytes.saturating_add(self.tx_bytes)
    }

    /// Whether nothing goes on: no byte in the last second, no connection.
    pub(super) fn is_idle(&self) -> bool {
        self.connections == 0 && self.rate().unwrap_or(0.0) <= 0.0
    }
}

/// Whether the figures are those of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// No message has come yet.
    Waiting,
    /// They are.
    Live,
    /// The connection stands and nothing has come over it for so long.
    Silent(Duration),
    /// The connection is gone for so long, and is being made anew.
    Lost(Duration, String),
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// What the agent is called.
    pub(super) agent: String,
    /// In the agent's order, by creation.
    pub(super) rows: Vec<Row>,
    pub(super) state: Option<AgentState>,
    pub(super) trouble: Option<String>,
    /// The sum over all rows, as far as it is known.
    pub(super) rx_rate: Option<f64>,
    pub(super) tx_rate: Option<f64>,
    pub(super) recent: Recent,
    /// When the figures were read, by the agent's clock.
    pub(super) read_at: Option<DateTime<Utc>>,
    /// When they came.
    heard_at: Option<Instant>,
    lost: Option<(Instant, String)>,
    totals: Option<Totals>,
}

impl Model {
    /// Nothing is known but the agent's name.
    pub(super) fn new(agent: &str) -> Self {
        Self {
            agent: agent.to_owned(),
            rows: Vec::new(),
            state: None,
            trouble: None,
            rx_rate: None,
            tx_rate: None,
            recent: Recent::default(),
            read_at: None,
            heard_at: None,
            lost: None,
            totals: None,
        }
    }

    /// Takes up a message that came at `now`.
    pub(super) fn apply(&mut self, message: Message, now: Instant) {
        match message {
            Message::Traffic(traffic) => self.take_traffic(traffic, now),
            Message::Totals(totals) => {
                self.trouble = None;
                for row in &mut self.rows {
                    totals.tell(row);
                }
                self.totals = Some(totals);
            }
            Message::State(state) => self.state = Some(state),
            Message::Trouble(sentence) => self.trouble = Some(sentence),
            // It is lost since the first time that this is said.
            Message::Lost(why) => {
                let since = self.lost.take().map_or(now, |(since, _)| since);
                self.lost = Some((since, why));
            }
        }
    }

    /// Whether what is known is what is.
    pub(super) fn condition(&self, now: Instant) -> Condition {
        match (&self.lost, self.heard_at) {
            (Some((since, why)), _) => Condition::Lost(now.saturating_duration_since(*since), why.clone()),
            (None, None) => Condition::Waiting,
            (None, Some(heard_at)) => match now.saturating_duration_since(heard_at) {
                silence if silence > SILENCE => Condition::Silent(silence),
                _ => Condition::Live,
            },
        }
    }

    fn take_traffic(&mut self, traffic: WatchTrafficResponse, now: Instant) {
        let read_at = traffic.read_at.and_then(moment);
        let seconds = seconds_between(self.read_at, read_at);
        let mut before: HashMap<String, Row> = self.rows.drain(..).map(|row| (row.id.clone(), row)).collect();
        for told in &traffic.key_traffic {
            let key = told.key.clone().unwrap_or_default();
            let mut row = next_row(before.remove(&key.id), &key, told, seconds);
            if let Some(totals) = &self.totals {
                totals.tell(&mut row);
            }
            self.rows.push(row);
        }
        let sum =
            |rate: fn(&Row) -> Option<f64>| seconds.map(|_| self.rows.iter().filter_map(rate).sum::<f64>().max(0.0));
        (self.rx_rate, self.tx_rate) = (sum(|row| row.rx_rate), sum(|row| row.tx_rate));
        if let (Some(rx), Some(tx), Some(seconds)) = (self.rx_rate, self.tx_rate, seconds) {
            self.recent.push(rx + tx, seconds);
        }
        (self.read_at, self.heard_at, self.lost) = (read_at, Some(now), None);
    }
}

impl Totals {
    /// Tells a row its own.
    fn tell(&self, row: &mut Row) {
        let of = |bytes: &HashMap<String, u64>| Some(bytes.get(&row.id).copied().unwrap_or(0));
        (row.today_bytes, row.month_bytes) = (of(&self.today), of(&self.month));
    }
}

/// A key's row after a message. Its rates are those of the seconds since the message before, by the agent's clock.
fn next_row(before: Option<Row>, key: &Key, told: &KeyTraffic, seconds: Option<f64>) -> Row {
    let traffic = told.traffic.clone().unwrap_or_default();
    let rate = |before: Option<u64>, now: u64| {
        // Less than before: the figures were reset in between.
        let moved = now.checked_sub(before?)?;
        Some(moved as f64 / seconds?)
    };
    let (rx_before, tx_before) = (
        before.as_ref().map(|row| row.rx_bytes),
        before.as_ref().map(|row| row.tx_bytes),
    );
    let mut row = Row {
        id: key.id.clone(),
        name: full_name(&key.name, &key.alias),
        port: key.port,
        is_active: key.is_active,
        rx_bytes: traffic.rx_bytes,
        tx_bytes: traffic.tx_bytes,
        rx_rate: rate(rx_before, traffic.rx_bytes),
        tx_rate: rate(tx_before, traffic.tx_bytes),
        connections: traffic.connections,
        recent: before.map(|row| row.recent).unwrap_or_default(),
        today_bytes: None,
        month_bytes: None,
    };
    if let Some(seconds) = seconds {
        row.recent.push(row.rate().unwrap_or(0.0), seconds);
    }
    row
}

/// The time between two readings; nothing where the agent's clock was set back in between.
fn seconds_between(before: Option<DateTime<Utc>>, now: Option<DateTime<Utc>>) -> Option<f64> {
    let passed = now?.signed_duration_since(before?).to_std().ok()?;
    Some(passed.as_secs_f64()).filter(|seconds| *seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key, told, traffic};
    use super::*;

    #[test]
    fn rates_are_by_the_agents_clock() {
        let (mut model, now) = (Model::new("default"), Instant::now());
        assert_eq!(model.condition(now), Condition::Waiting);
        model.apply(traffic(10_000, vec![told(key(1, "alice"), 1_000, 5_000, 2)]), now);
        let row = &model.rows[0];
        assert_eq!((row.rate(), row.connections, model.rx_rate), (None, 2, None));
        // A message that was on its way for long changes nothing.
        model.apply(
            traffic(12_000, vec![told(key(1, "alice"), 3_000, 9_000, 2)]),
            now + Duration::from_secs(9),
        );
        let row = &model.rows[0];
        assert_eq!(
            (row.rx_rate, row.tx_rate, row.rate()),
            (Some(1_000.0), Some(2_000.0), Some(3_000.0))
        );
        assert_eq!((model.rx_rate, model.tx_rate), (Some(1_000.0), Some(2_000.0)));
        assert_eq!(model.condition(now + Duration::from_secs(10)), Condition::Live);
    }

    #[test]
    fn a_reset_a_new_key_and_a_clock_set_back_have_no_rate() {
        let (mut model, now) = (Model::new("default"), Instant::now());
        model.apply(traffic(1_000, vec![told(key(1, "alice"), 1_000, 5_000, 0)]), now);
        let both = vec![told(key(1, "alice"), 10, 5_500, 0), told(key(2, "bob"), 7, 7, 0)];
        model.apply(traffic(2_000, both), now);
        assert_eq!((model.rows[0].rx_rate, model.rows[0].tx_rate), (None, Some(500.0)));
        assert_eq!((model.rows[1].rate(), model.tx_rate), (None, Some(500.0)));
        model.apply(traffic(1_500, vec![told(key(2, "bob"), 8, 8, 0)]), now);
        assert_eq!(model.rows.len(), 1);
        assert_eq!((model.rows[0].name.as_str(), model.rows[0].rate()), ("bob", None));
        model.apply(traffic(2_500, vec![told(key(2, "bob"), 18, 28, 0)]), now);
        assert_eq!(model.rows[0].rate(), Some(30.0));
    }

    #[test]
    fn an_agent_that_goes_keeps_its_figures_and_says_why() {
        let (mut model, start) = (Model::new("default"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        model.apply(traffic(1_000, vec![told(key(1, "alice"), 0, 0, 1)]), start);
        assert_eq!(model.condition(at(5)), Condition::Silent(Duration::from_secs(5)));
        model.apply(Message::Lost("connection refused".to_owned()), at(6));
        model.apply(Message::Lost("no such file".to_owned()), at(8));
        assert_eq!(
            model.condition(at(9)),
            Condition::Lost(Duration::from_secs(3), "no such file".to_owned())
        );
        assert_eq!(model.rows.len(), 1);
        // The kernel went on counting: what it counted is the average of the time without an agent.
        model.apply(traffic(11_000, vec![told(key(1, "alice"), 5_000, 15_000, 1)]), at(10));
        assert_eq!(model.condition(at(10)), Condition::Live);
        assert_eq!(model.rows[0].rate(), Some(2_000.0));
    }

    #[test]
    fn totals_are_told_to_each_row_whichever_comes_first() {
        let (mut model, now) = (Model::new("default"), Instant::now());
        model.apply(Message::Trouble("the ledger is damaged".to_owned()), now);
        let totals = Totals {
            today: [(key(1, "").id, 5)].into(),
            month: [(key(1, "").id, 50), (key(2, "").id, 7)].into(),
        };
        model.apply(traffic(1_000, vec![told(key(1, "alice"), 0, 0, 0)]), now);
        assert_eq!(model.rows[0].today_bytes, None);
        model.apply(Message::Totals(totals), now);
        assert_eq!((model.rows[0].today_bytes, model.trouble.as_deref()), (Some(5), None));
        model.apply(traffic(2_000, vec![told(key(2, "bob"), 0, 0, 0)]), now);
        assert_eq!(
            (model.rows[0].today_bytes, model.rows[0].month_bytes),
            (Some(0), Some(7))
        );
    }
}
