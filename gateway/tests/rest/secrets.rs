//! What may be in no log, however much is logged.

use std::io;
use std::sync::{Arc, Mutex};

use portmeter_proto::reason::Reason;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::agent::Agent;
use crate::ask::API_KEY;
use crate::wire::{gateway_to, serve_agent, status_of, wait_for};

/// What is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that the gateway, the agent's gRPC server and the libraries below them log runs in this one thread.
#[tokio::test]
async fn a_subscriptions_token_is_in_no_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let agent = Agent::with_keys(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve_agent(&agent, listener);
    let gateway = gateway_to(&address.to_string(), API_KEY).await;
    let (known, unknown, malformed) = (agent.token(0), "f".repeat(32), "F".repeat(32));
    let ask = async |path: String, status: u16| {
        assert_eq!(status_of(gateway.address, &path).await, status, "{path}");
    };
    ask(format!("/sub/{known}"), 200).await;
    ask(format!("/sub/{known}?format=json"), 200).await;
    ask(format!("/sub/{known}?format=xml"), 400).await;
    ask(format!("/sub/{known}/more"), 404).await;
    ask(format!("/sub/{unknown}"), 404).await;
    ask(format!("/sub/{malformed}"), 404).await;
    agent.set_failure(Some((Reason::Internal, "the ledger is full")));
    ask(format!("/sub/{known}"), 500).await;
    drop(serving);
    wait_for(&gateway, &format!("/sub/{known}"), 503).await;

    let text = log.text();
    for expected in ["the ledger is full", "the agent gave no answer", "frame=Data"] {
        assert!(
            text.contains(expected),
            "{expected} is not in the log, so it is not the whole one"
        );
    }
    for token in [&known, &unknown, &malformed] {
        let line = text.lines().find(|line| line.contains(token.as_str()));
        assert_eq!(line, None);
    }
}
