//! `portmeter check-config`: what is wrong with the configuration, one line each, with its place and the way out.

use anyhow::{Result, anyhow};
use portmeter_daemon::configuration::reference;

use super::Settings;
use crate::config::ConfigError;

/// Which configuration is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Check what a gateway apart reads of it: [http], [gateway] and [log]
    #[arg(long)]
    gateway: bool,
    /// Print an annotated configuration file with every setting instead
    #[arg(long, exclusive = true)]
    example: bool,
}

/// Everything that is wrong but the last goes to standard error here, the last one as the command's own error.
pub(super) fn run(arguments: Arguments) -> Result<()> {
    if arguments.example {
        print!("{}", reference::example_file());
        return Ok(());
    }
    let flags = arguments.settings.flags();
    if arguments.gateway {
        let gateway = portmeter_gateway::cli::Arguments {
            config: flags.config,
            http: flags.http_listen,
            ..Default::default()
        };
        let settings = gateway.load(std::env::vars_os()).map_err(tell)?;
        settings.check_files()?;
    } else {
        let config = crate::config::load(&flags, std::env::vars_os()).map_err(tell)?;
        config.check_certificates()?;
    }
    println!("the configuration is good");
    Ok(())
}

fn tell(error: ConfigError) -> anyhow::Error {
    let mut sentences = error.sentences();
    let last = sentences.pop().unwrap_or_else(|| error.to_string());
    for sentence in sentences {
        eprintln!("portmeter: {sentence}");
    }
    anyhow!(last)
}
