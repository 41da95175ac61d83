//! `portmeter reality …`: the REALITY identity that links carry, from a running agent.

use anyhow::{Context, Result};
use clap::Subcommand;
use portmeter_proto::v1::xray_service_client::XrayServiceClient;
use portmeter_proto::v1::{GetRealityRequest, RotateRealityRequest};

use super::chosen_key::key_id;
use super::moment::moment;
use super::running_agent::{RunningAgent, refusal};

/// Which agent, and what to do.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: RunningAgent,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what links carry; the private key is shown nowhere
    Show,
    /// Make a new short id, for the server or for one key; links change
    Rotate {
        /// The key's id, uuid, port, name or alias [default: the server's own identity]
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Make a new private key as well: an inbound has room for one alone, so old links end at once
        #[arg(long)]
        private_key: bool,
        /// How long the old short id is accepted beside the new one, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 7 * 24 * 3600, conflicts_with = "private_key")]
        grace: u32,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let transport = arguments.agent.connect().await?;
    let mut client = XrayServiceClient::new(transport.clone());
    match arguments.command {
        Command::Show => {
            let answer = client.get_reality(GetRealityRequest {}).await.map_err(refusal)?;
            let reality = answer.into_inner();
            println!("public key   {}", reality.public_key);
            println!("short id     {}", reality.short_id);
            println!("server name  {}", reality.server_name);
            println!("flow         {}", reality.flow);
            println!("host         {}", reality.server_host);
        }
        Command::Rotate {
            key,
            private_key,
            grace,
        } => {
            let key_id = match key {
                Some(key) => key_id(&transport, &key).await?,
                None => String::new(),
            };
            let request = RotateRealityRequest {
                key_id,
                private_key,
                grace_seconds: if private_key { 0 } else { grace },
            };
            let rotated = client.rotate_reality(request).await.map_err(refusal)?.into_inner();
            println!("public key   {}", rotated.public_key);
            println!("short id     {}", rotated.short_id);
            match rotated.old_accepted_until {
                Some(until) => {
                    let until = moment(until).context("the time has no date")?;
                    println!(
                        "the old short id is accepted until {}",
                        until.format("%Y-%m-%d %H:%M:%S UTC")
                    );
                }
                None => println!("old links work no more: hand out new ones"),
            }
        }
    }
    Ok(())
}
