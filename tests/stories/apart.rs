//! Agent and gateway as two processes: REST is the same, and says so when the agent has gone.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{self, API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::rest::Rest;
use portmeter_tests::traffic::udp;
use portmeter_tests::{count, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("a_gateway_of_its_own", a_gateway_of_its_own)];

/// Where the gateway of its own listens; the agent's own one is where it always is.
const APART: &str = "127.0.0.1:8001";

fn a_gateway_of_its_own() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let _gateway = Gateway::start(&agent)?;
    let apart = Rest::new(&pair.server, APART, API_KEY);
    wait::until("the gateway is ready", || Ok(apart.is_ready()))?;

    let key = apart.create_key("customer")?;
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), key.port),
        &[72; 10],
    )?;
    for rest in [&apart, agent.rest()] {
        let shown = count::of(&rest.counts()?, key.port);
        ensure!(shown.rx_bytes == 1_000 && shown.tx_packets == 10, "{shown:?}");
        ensure!(rest.keys()? == [key.clone()], "{:?}", rest.keys()?);
        let history = rest.shown("/api/traffic/history")?["data"].clone();
        ensure!(history["total_rx_bytes"] == 1_000, "{history:#}");
    }
    for path in [
        "/api/usage/dashboard",
        "/api/usage/dates",
        "/api/live/top",
        "/api/live/top?scope=nobody",
    ] {
        let (there, here) = (apart.get(path)?, agent.rest().get(path)?);
        ensure!(there == here, "{path}: {there:?} and {here:?}");
    }
    let unknown = "/api/keys/00000000-0000-4000-8000-000000000000";
    ensure!(
        apart.get(unknown)? == agent.rest().get(unknown)?,
        "{:?}",
        apart.get(unknown)?
    );

    agent.stop()?;
    let answer = apart.get("/api/keys")?;
    ensure!(
        answer.status == 503 && answer.body["detail"].is_string(),
        "without its agent: {answer:?}"
    );
    let answer = apart.get("/api/live/now")?;
    ensure!(
        answer.status == 503 && answer.body["code"] == 503 && answer.body["error"].is_string(),
        "without its agent: {answer:?}"
    );
    ensure!(apart.get("/readyz")?.status == 503, "not ready without its agent");
    ensure!(apart.get("/livez")?.status == 200, "alive without its agent");
    agent.start()?;
    wait::until("the gateway has found the agent again", || Ok(apart.is_ready()))?;
    ensure!(apart.keys()? == [key], "{:?}", apart.keys()?);
    Ok(())
}

/// `portmeter gateway`, ended when dropped.
struct Gateway(Child);

impl Gateway {
    fn start(agent: &Agent<'_>) -> Result<Self> {
        let mut command = Command::new(agent::binary().context("the binary")?);
        command.args(["gateway", "--agent", GRPC_ADDRESS, "--http", APART]);
        command
            .env("PORTMETER_API_KEY", API_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(agent.host().spawn(&mut command)?))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
