//! The agent: does it run, which build is it, what does it say of itself.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use portmeter_proto::v1::collector_service_client::CollectorServiceClient;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::xray_service_client::XrayServiceClient;
use portmeter_proto::v1::{
    GetCollectorRequest, GetStateRequest, GetStateResponse, GetVersionRequest, GetVersionResponse, GetXrayStateRequest,
};
use tonic::transport::Endpoint;

use super::Finding;
use crate::instance::socket_path;
use crate::kernel::source_digest;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bookings are at most a minute apart; one that is three minutes old is late.
const LATE: TimeDelta = TimeDelta::minutes(3);

/// What could be learnt about the agent.
pub(super) struct Facts {
    /// The user that the socket belongs to, and so the agent.
    pub(super) owner: Option<u32>,
    /// The core's process, where the agent runs one.
    pub(super) core_process: Option<u32>,
    answer: Answer,
}

enum Answer {
    /// There is no socket: never started, or stopped in an orderly way.
    NoSocket,
    /// There is a socket, and nobody behind it.
    Nobody,
    /// It may not be asked.
    NotAllowed,
    /// It did not answer as it should.
    Failed(String),
    /// It answered; whether its collector is paused comes last.
    State(Box<GetStateResponse>, GetVersionResponse, bool),
}

impl Facts {
    /// When the running agent last booked.
    pub(super) fn last_booked_at(&self) -> Option<DateTime<Utc>> {
        match &self.answer {
            Answer::State(state, ..) => booked_at(state),
            _ => None,
        }
    }

    /// Whether an agent runs, as far as can be told.
    pub(super) fn may_run(&self) -> bool {
        !matches!(self.answer, Answer::NoSocket | Answer::Nobody)
    }
}

/// Asks the agent through its unix socket.
pub(super) async fn gather(instance: &str) -> Facts {
    let path = socket_path(instance);
    let metadata = std::fs::metadata(&path);
    let owner = metadata.as_ref().ok().map(MetadataExt::uid);
    let (answer, core_process) = match metadata {
        Ok(_) => ask(instance).await,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => (Answer::NotAllowed, None),
        Err(_) => (Answer::NoSocket, None),
    };
    Facts {
        owner,
        core_process,
        answer,
    }
}

/// What the agent answers, and the process of its core.
async fn ask(instance: &str) -> (Answer, Option<u32>) {
    let path = socket_path(instance);
    // Asked first, because the client's error does not tell why it could not connect.
    match tokio::net::UnixStream::connect(&path).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return (Answer::NotAllowed, None),
        Err(_) => return (Answer::Nobody, None),
    }
    let called = call(&format!("unix:{}", path.display())).await;
    called.unwrap_or_else(|error| (Answer::Failed(error), None))
}

async fn call(target: &str) -> Result<(Answer, Option<u32>), String> {
    let endpoint = Endpoint::from_shared(target.to_owned()).map_err(|error| error.to_string())?;
    let channel = endpoint.timeout(PATIENCE).connect().await;
    let channel = channel.map_err(|error| error.to_string())?;
    let mut client = SystemServiceClient::new(channel.clone());
    let failed = |status: tonic::Status| status.message().to_owned();
    let state = client.get_state(GetStateRequest {}).await.map_err(failed)?;
    let version = client.get_version(GetVersionRequest {}).await.map_err(failed)?;
    // An agent of another version may not know of it.
    let collector = CollectorServiceClient::new(channel.clone())
        .get_collector(GetCollectorRequest {})
        .await;
    let collector = collector.ok().and_then(|answer| answer.into_inner().collector);
    let is_paused = collector.is_some_and(|collector| !collector.is_enabled);
    let core = XrayServiceClient::new(channel)
        .get_xray_state(GetXrayStateRequest {})
        .await;
    let core_process = core.ok().and_then(|answer| answer.into_inner().process_id);
    let answer = Answer::State(Box::new(state.into_inner()), version.into_inner(), is_paused);
    Ok((answer, core_process))
}

pub(super) fn check(facts: &Facts, now: DateTime<Utc>) -> Finding {
    let name = "agent";
    match &facts.answer {
        Answer::State(state, version, is_paused) => running(state, version, *is_paused, now),
        Answer::NoSocket => Finding::warning(
            name,
            "it does not run; programs that are attached go on counting, and the next start books what they counted",
            "start it with `portmeter run`",
        ),
        Answer::Nobody => Finding::error(
            name,
            "it has ended without being stopped; the kernel goes on counting, but nothing is booked",
            "start it again, and see in its log why it ended",
        ),
        Answer::NotAllowed => Finding::warning(
            name,
            "its socket is another user's",
            "run `portmeter doctor` as root or as the agent's user",
        ),
        Answer::Failed(why) => Finding::error(
            name,
            format!("it does not answer as it should: {why}"),
            "see its log, and restart it",
        ),
    }
}

fn running(state: &GetStateResponse, version: &GetVersionResponse, is_paused: bool, now: DateTime<Utc>) -> Finding {
    let name = "agent";
    if !state.is_ready {
        return Finding::error(
            name,
            format!("it runs and is not ready: {}", state.problems.join("; ")),
            "see its log; what it names here is tried again every few seconds",
        );
    }
    if is_paused {
        return Finding::warning(
            name,
            "it runs, and its collector is paused: what passes is counted and not booked",
            "resume it with POST /api/collector/toggle",
        );
    }
    if let Some(booked) = booked_at(state)
        && now - booked > LATE
    {
        return Finding::error(
            name,
            format!("it runs, but has booked nothing since {}", booked.format("%F %T UTC")),
            "see its log: the ledger's disk may be full or slow",
        );
    }
    if version.kernel_source_digest != source_digest() || version.version != crate::VERSION {
        return Finding::warning(
            name,
            format!(
                "version {} runs, and this is {} of another build",
                version.version,
                crate::VERSION
            ),
            "restart the agent to bring the new build to work; counting goes on meanwhile",
        );
    }
    let count = state.interfaces.len();
    Finding::ok(
        name,
        format!("version {} runs and counts on {count} interface(s)", version.version),
    )
}

fn booked_at(state: &GetStateResponse) -> Option<DateTime<Utc>> {
    let time = state.last_booked_at.as_ref()?;
    DateTime::from_timestamp(time.seconds, 0)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn level(answer: Answer) -> Level {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let facts = Facts {
            owner: None,
            core_process: None,
            answer,
        };
        check(&facts, now).level
    }

    fn answer(change: impl FnOnce(&mut GetStateResponse, &mut GetVersionResponse)) -> Answer {
        let mut state = GetStateResponse {
            is_ready: true,
            last_booked_at: Some(prost_types::Timestamp {
                seconds: 999_990,
                nanos: 0,
            }),
            ..GetStateResponse::default()
        };
        let mut version = GetVersionResponse {
            version: crate::VERSION.to_owned(),
            kernel_source_digest: source_digest(),
        };
        change(&mut state, &mut version);
        Answer::State(Box::new(state), version, false)
    }

    #[test]
    fn a_stop_is_no_crash() {
        assert_eq!(level(Answer::NoSocket), Level::Warning);
        assert_eq!(level(Answer::Nobody), Level::Error);
        assert_eq!(level(Answer::NotAllowed), Level::Warning);
    }

    #[test]
    fn a_running_agent_is_ready_books_and_is_this_build() {
        assert_eq!(level(answer(|_, _| {})), Level::Ok);
        assert_eq!(level(answer(|state, _| state.is_ready = false)), Level::Error);
        let late = |state: &mut GetStateResponse, _: &mut GetVersionResponse| {
            state.last_booked_at = Some(prost_types::Timestamp::default());
        };
        assert_eq!(level(answer(late)), Level::Error);
        let Answer::State(state, version, _) = answer(late) else {
            panic!("it answers")
        };
        assert_eq!(
            level(Answer::State(state, version, true)),
            Level::Warning,
            "it is not to book"
        );
        assert_eq!(level(answer(|_, version| version.version = "0".into())), Level::Warning);
    }
}
