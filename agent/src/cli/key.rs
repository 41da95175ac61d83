//! `portmeter key …`: keys of the running agent, through its unix socket.
//!
//! A key's link, and its uuid, let in whoever has them. They are shown to whoever asks for them, by `link` and by
//! `--json`, and nowhere else.

mod link;
mod output;

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::{
    CreateKeyRequest, DeleteKeyRequest, GetKeyRequest, Key, ListKeysRequest, RegenerateKeyRequest, UpdateKeyRequest,
};
use tonic::transport::Channel;

use super::running_agent::{RunningAgent, refusal};

/// Which agent, and what to do.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: RunningAgent,
    /// Answer in JSON, as REST does
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key on the lowest free port
    Add {
        /// The customer's name
        name: String,
    },
    /// List all keys
    List,
    /// Show one key
    Show {
        /// The key's id or uuid
        key: String,
    },
    /// Show what a client needs to connect: a secret
    Link(link::Arguments),
    /// Name a key for panels; an empty alias removes it
    Alias {
        /// The key's id or uuid
        key: String,
        /// At most 255 characters
        alias: String,
    },
    /// Enable a key again
    Enable {
        /// The key's id or uuid
        key: String,
    },
    /// Disable a key; it keeps its port
    Disable {
        /// The key's id or uuid
        key: String,
    },
    /// Give a key a new uuid: its old link stops working and its connections end
    Regenerate {
        /// The key's id or uuid
        key: String,
    },
    /// Remove a key; its port is free at once
    Remove {
        /// The key's id or uuid
        key: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let mut client = KeyServiceClient::new(arguments.agent.connect().await?);
    let is_json = arguments.json;
    let text = match arguments.command {
        Command::Link(arguments) => link::run(&mut client, arguments, is_json).await?,
        Command::List => {
            let answer = client.list_keys(ListKeysRequest::default()).await.map_err(refusal)?;
            output::keys(&answer.into_inner().keys, is_json)
        }
        command => {
            let hint = hint(&command);
            let key = call(&mut client, command).await.map_err(refusal)?;
            let key = key.context("the agent has not answered with a key")?;
            match is_json {
                true => output::key_as_json(&key),
                false => output::keys(&[key], false) + hint,
            }
        }
    };
    // Whoever reads only the first lines (`| head`) closes the pipe early.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// What to do next.
fn hint(command: &Command) -> &'static str {
    match command {
        Command::Regenerate { .. } => "its old link works no more: `portmeter key link` has the new one\n",
        _ => "",
    }
}

async fn call(client: &mut KeyServiceClient<Channel>, command: Command) -> Result<Option<Key>, tonic::Status> {
    let update = |key_id, is_active| UpdateKeyRequest {
        key_id,
        is_active: Some(is_active),
        ..UpdateKeyRequest::default()
    };
    Ok(match command {
        Command::List | Command::Link(_) => None,
        Command::Add { name } => {
            let request = CreateKeyRequest {
                name,
                ..CreateKeyRequest::default()
            };
            client.create_key(request).await?.into_inner().key
        }
        Command::Show { key } => client.get_key(GetKeyRequest { key_id: key }).await?.into_inner().key,
        Command::Alias { key, alias } => {
            let request = UpdateKeyRequest {
                key_id: key,
                alias: Some(alias),
                ..UpdateKeyRequest::default()
            };
            client.update_key(request).await?.into_inner().key
        }
        Command::Enable { key } => client.update_key(update(key, true)).await?.into_inner().key,
        Command::Disable { key } => client.update_key(update(key, false)).await?.into_inner().key,
        Command::Regenerate { key } => {
            let request = RegenerateKeyRequest { key_id: key };
            client.regenerate_key(request).await?.into_inner().key
        }
        Command::Remove { key } => {
            let request = DeleteKeyRequest { key_id: key };
            client.delete_key(request).await?.into_inner().key
        }
    })
}
