//! `portmeter key …`: keys of the running agent, through its unix socket.

use anyhow::{Context, Result};
use clap::Subcommand;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::{CreateKeyRequest, DeleteKeyRequest, GetKeyRequest, Key, ListKeysRequest, UpdateKeyRequest};
use tonic::transport::{Channel, Endpoint};

use crate::instance::socket_path;

/// Which agent, and what to do.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The agent's instance
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        env = "PORTMETER_AGENT__INSTANCE",
        global = true
    )]
    instance: String,
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
    /// Remove a key; its port is free at once
    Remove {
        /// The key's id or uuid
        key: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let mut client = connect(&arguments.instance).await?;
    let keys = call(&mut client, arguments.command)
        .await
        .map_err(|status| anyhow::anyhow!("{}", status.message()))?;
    print_table(&keys);
    Ok(())
}

async fn connect(instance: &str) -> Result<KeyServiceClient<Channel>> {
    let path = socket_path(instance);
    let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).context("the socket's path is unusable")?;
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|_| {
        anyhow::anyhow!(
            "no agent answers at {}: start one with `portmeter run`, name another with --instance, or ask as its owner",
            path.display()
        )
    })?;
    Ok(KeyServiceClient::new(channel))
}

async fn call(client: &mut KeyServiceClient<Channel>, command: Command) -> Result<Vec<Key>, tonic::Status> {
    let update = |key_id, is_active| UpdateKeyRequest {
        key_id,
        name: None,
        is_active: Some(is_active),
    };
    let key = match command {
        Command::List => return Ok(client.list_keys(ListKeysRequest {}).await?.into_inner().keys),
        Command::Add { name } => client.create_key(CreateKeyRequest { name }).await?.into_inner().key,
        Command::Show { key } => client.get_key(GetKeyRequest { key_id: key }).await?.into_inner().key,
        Command::Enable { key } => client.update_key(update(key, true)).await?.into_inner().key,
        Command::Disable { key } => client.update_key(update(key, false)).await?.into_inner().key,
        Command::Remove { key } => {
            client
                .delete_key(DeleteKeyRequest { key_id: key })
                .await?
                .into_inner()
                .key
        }
    };
    Ok(key.into_iter().collect())
}

fn print_table(keys: &[Key]) {
    println!("{:<36}  {:>5}  {:<8}  NAME", "ID", "PORT", "STATE");
    for key in keys {
        let port = key.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        let state = if key.is_active { "enabled" } else { "disabled" };
        // A name is anybody's text: it must not steer the terminal.
        println!("{}  {port:>5}  {state:<8}  {}", key.id, key.name.escape_debug());
    }
}
