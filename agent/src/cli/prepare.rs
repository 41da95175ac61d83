//! `portmeter prepare`: what root does once after each boot, so that the agent can run as an ordinary user.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::config::{self, Flags};
use crate::prepare;
use crate::rights::Account;

/// For whom, and which agent.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The user that the agent runs as, by name or number
    #[arg(long, value_name = "USER")]
    user: String,
    /// Configuration file [default: /etc/portmeter/portmeter.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the ledger and the API key [default: /var/lib/portmeter]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The agent's name on the machine [default: default]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let flags = Flags {
        config: arguments.config,
        data_dir: arguments.data_dir,
        instance: arguments.instance,
        ..Flags::default()
    };
    let config = config::load(&flags, std::env::vars_os())?;
    let account = Account::find(&arguments.user)?;
    let mut has_changed = false;
    prepare::run(&config.agent, &account, &mut |line| {
        has_changed = true;
        println!("{line}");
    })?;
    let instance = &config.agent.instance;
    if has_changed {
        println!("instance {instance} is ready for {}", account.name);
    } else {
        println!("instance {instance} was ready for {} already", account.name);
    }
    Ok(())
}
