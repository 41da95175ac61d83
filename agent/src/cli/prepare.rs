//! `portmeter prepare`: what root does once after each boot, so that the agent can run as an ordinary user.

use anyhow::Result;
use clap::Args;

use super::Place;
use crate::config;
use crate::prepare;
use crate::rights::Account;

/// For whom, and which agent.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The user that the agent runs as, by name or number
    #[arg(long, value_name = "USER")]
    user: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let config = config::load(&arguments.place.flags(), std::env::vars_os())?;
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
