//! The running agent that a command speaks to, through its unix socket.

use anyhow::{Context, Result};
use tonic::transport::{Channel, Endpoint};

use crate::instance::socket_path;

/// Which agent is asked.
#[derive(Debug, clap::Args)]
pub(super) struct RunningAgent {
    /// The agent's instance
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        env = "PORTMETER_AGENT__INSTANCE",
        global = true
    )]
    instance: String,
}

impl RunningAgent {
    /// A connection to it.
    pub(super) async fn connect(&self) -> Result<Channel> {
        let path = socket_path(&self.instance);
        let endpoint =
            Endpoint::try_from(format!("unix:{}", path.display())).context("the socket's path is unusable")?;
        let channel = endpoint.connect().await;
        channel.map_err(|_| {
            anyhow::anyhow!(
                "no agent answers at {}: start one with `portmeter run`, name another with --instance, or ask as its owner",
                path.display()
            )
        })
    }
}

/// The agent's sentence.
pub(super) fn refusal(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}
