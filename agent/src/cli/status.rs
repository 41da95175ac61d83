//! `portmeter status`: how a running agent is, on one page.
//!
//! The exit status is 1 when the agent is not ready, so that a script need not read anything.

mod output;

use std::io::Write as _;
use std::process::exit;

use anyhow::Result;
use portmeter_proto::v1::collector_service_client::CollectorServiceClient;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::port_service_client::PortServiceClient;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::xray_service_client::XrayServiceClient;
use portmeter_proto::v1::{
    GetCollectorRequest, GetCollectorResponse, GetStateRequest, GetStateResponse, GetVersionRequest,
    GetVersionResponse, GetXrayStateRequest, GetXrayStateResponse, ListKeysRequest, ListKeysResponse, ListPortsRequest,
    ListPortsResponse, ListTrafficRequest, ListTrafficResponse,
};

use super::running_agent::{ANSWER_BYTES_MAX, RunningAgent, refusal};

/// Which agent, and how it is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: RunningAgent,
    /// Write JSON, with the words of gRPC
    #[arg(long)]
    json: bool,
}

/// What the agent has answered.
#[derive(Debug, Default)]
struct Status {
    version: GetVersionResponse,
    state: GetStateResponse,
    collector: GetCollectorResponse,
    xray: GetXrayStateResponse,
    ports: ListPortsResponse,
    keys: ListKeysResponse,
    /// Asked last: what it says of the time is the agent's own now, whatever this machine's clock says.
    traffic: ListTrafficResponse,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let status = ask(&arguments.agent).await?;
    let text = match arguments.json {
        true => output::as_json(&status),
        false => output::as_text(&status),
    };
    // Whoever reads only the first lines (`| head`) closes the pipe early; the exit status tells all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if !status.state.is_ready {
        // The page has said everything; an error's sentence would only say it again.
        exit(1);
    }
    Ok(())
}

async fn ask(agent: &RunningAgent) -> Result<Status> {
    let way = agent.connect().await?;
    macro_rules! answer {
        ($client:ident, $method:ident, $request:expr) => {
            $client::new(way.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .$method($request)
                .await
                .map_err(refusal)?
                .into_inner()
        };
    }
    // In the order of writing.
    Ok(Status {
        version: answer!(SystemServiceClient, get_version, GetVersionRequest {}),
        state: answer!(SystemServiceClient, get_state, GetStateRequest {}),
        collector: answer!(CollectorServiceClient, get_collector, GetCollectorRequest {}),
        xray: answer!(XrayServiceClient, get_xray_state, GetXrayStateRequest {}),
        ports: answer!(PortServiceClient, list_ports, ListPortsRequest {}),
        keys: answer!(KeyServiceClient, list_keys, ListKeysRequest::default()),
        traffic: answer!(TrafficServiceClient, list_traffic, ListTrafficRequest::default()),
    })
}
