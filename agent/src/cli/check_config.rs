//! `portmeter check-config`: what is wrong with the configuration, one line each, with its place and the way out.

use anyhow::{Result, anyhow};
use portmeter_daemon::configuration::reference;

use super::Settings;

/// Which configuration is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
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
    let config = crate::config::load(&arguments.settings.flags(), std::env::vars_os());
    let config = config.map_err(|error| {
        let mut sentences = error.sentences();
        let last = sentences.pop().unwrap_or_else(|| error.to_string());
        for sentence in sentences {
            eprintln!("portmeter: {sentence}");
        }
        anyhow!(last)
    })?;
    config.check_certificates()?;
    println!("the configuration is good");
    Ok(())
}
