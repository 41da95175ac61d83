//! `portmeter key …`: keys of a running agent.
//!
//! A key's link, and its uuid, let in whoever has them. They are shown to whoever asks for them, by `link` and by
//! `--json`, and nowhere else.

mod link;
mod output;

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use portmeter_gateway::Transport;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::{
    CreateKeyRequest, DeleteKeyRequest, GetKeyRequest, Key, ListKeysRequest, RegenerateKeyRequest, UpdateKeyRequest,
};

use super::chosen_key::{KEY_HELP, key_id};
use super::running_agent::{ANSWER_BYTES_MAX, RunningAgent, refusal};
use super::table::terminal_width;

/// The generated client over whatever way there is to the agent.
type Client = KeyServiceClient<Transport>;

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
    /// List all keys
    List,
    /// Show one key
    Show(Chosen),
    /// Make a key on the lowest free port
    #[command(visible_alias = "create")]
    Add {
        /// The customer's name
        name: String,
    },
    /// Show what a client needs to connect: a secret
    Link(link::Arguments),
    /// Give a key another name
    Rename {
        #[command(flatten)]
        chosen: Chosen,
        /// 1 to 255 characters
        name: String,
    },
    /// Name a key for panels; an empty alias removes it
    Alias {
        #[command(flatten)]
        chosen: Chosen,
        /// At most 255 characters
        alias: String,
    },
    /// Enable a key again
    Enable(Chosen),
    /// Disable a key; it keeps its port
    Disable(Chosen),
    /// Give a key a new uuid: its old link stops working and its connections end
    Regenerate(Chosen),
    /// Remove a key; its port is free at once
    #[command(visible_alias = "delete")]
    Remove(Chosen),
}

/// The key that is meant.
#[derive(Debug, clap::Args)]
struct Chosen {
    #[arg(help = KEY_HELP)]
    key: String,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let transport = arguments.agent.connect().await?;
    let mut client = Client::new(transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let is_json = arguments.json;
    let text = match arguments.command {
        Command::Link(arguments) => link::run(&transport, &mut client, arguments, is_json).await?,
        Command::List => {
            let answer = client.list_keys(ListKeysRequest::default()).await.map_err(refusal)?;
            output::keys(&answer.into_inner().keys, is_json, terminal_width())
        }
        command => {
            let (hint, is_shown) = (hint(&command), matches!(command, Command::Show(_)));
            let key = call(&transport, &mut client, command).await?;
            let key = key.context("the agent has not answered with a key")?;
            match is_json {
                true => output::key_as_json(&key),
                false if is_shown => output::key(&key),
                false => output::keys(&[key], false, terminal_width()) + hint,
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

async fn call(transport: &Transport, client: &mut Client, command: Command) -> Result<Option<Key>> {
    let chosen = async |chosen: Chosen| key_id(transport, &chosen.key).await;
    Ok(match command {
        Command::List | Command::Link(_) => None,
        Command::Add { name } => {
            let request = CreateKeyRequest {
                name,
                ..CreateKeyRequest::default()
            };
            client.create_key(request).await.map_err(refusal)?.into_inner().key
        }
        Command::Show(key) => {
            let request = GetKeyRequest {
                key_id: chosen(key).await?,
            };
            client.get_key(request).await.map_err(refusal)?.into_inner().key
        }
        Command::Rename { chosen: key, name } => {
            let request = UpdateKeyRequest {
                key_id: chosen(key).await?,
                name: Some(name),
                ..UpdateKeyRequest::default()
            };
            update(client, request).await?
        }
        Command::Alias { chosen: key, alias } => {
            let request = UpdateKeyRequest {
                key_id: chosen(key).await?,
                alias: Some(alias),
                ..UpdateKeyRequest::default()
            };
            update(client, request).await?
        }
        Command::Enable(key) => update(client, activity(chosen(key).await?, true)).await?,
        Command::Disable(key) => update(client, activity(chosen(key).await?, false)).await?,
        Command::Regenerate(key) => {
            let request = RegenerateKeyRequest {
                key_id: chosen(key).await?,
            };
            client.regenerate_key(request).await.map_err(refusal)?.into_inner().key
        }
        Command::Remove(key) => {
            let request = DeleteKeyRequest {
                key_id: chosen(key).await?,
            };
            client.delete_key(request).await.map_err(refusal)?.into_inner().key
        }
    })
}

fn activity(key_id: String, is_active: bool) -> UpdateKeyRequest {
    UpdateKeyRequest {
        key_id,
        is_active: Some(is_active),
        ..UpdateKeyRequest::default()
    }
}

async fn update(client: &mut Client, request: UpdateKeyRequest) -> Result<Option<Key>> {
    Ok(client.update_key(request).await.map_err(refusal)?.into_inner().key)
}
