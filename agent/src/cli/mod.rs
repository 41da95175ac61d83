//! The command line: what can be asked, and who answers.

mod backup;
mod certificates;
mod check_config;
mod chosen_key;
mod doctor;
mod events;
mod export;
mod figures;
mod history;
mod import;
mod key;
mod moment;
mod old_inbounds;
mod prepare;
mod progress;
mod reality;
mod restore;
mod running_agent;
mod status;
mod table;
mod top;
mod uninstall;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use portmeter_daemon::log;
use portmeter_daemon::service_manager::ServiceManager;
use portmeter_daemon::signals::{HangUps, shutdown_on_signal};
use tokio::runtime::Runtime;

use crate::config::{self, Config, Flags};
use crate::instance::Undo;
use crate::memory;
use crate::restart::{Ending, become_successor};
use crate::telemetry::Telemetry;
use crate::{app, rights};

/// Counts traffic per port in the kernel and manages VPN keys on those ports.
#[derive(Debug, Parser)]
#[command(name = "portmeter", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent and the REST gateway in one process
    Run(RunArguments),
    /// Run the agent without the gateway
    Agent(RunArguments),
    /// Run the REST gateway alone, in front of an agent elsewhere
    Gateway(portmeter_gateway::cli::Arguments),
    /// Read the configuration and say what is wrong with it, where, and what helps
    CheckConfig(check_config::Arguments),
    /// Check everything that exact counting depends on, and say what helps; exit status 1 when something is wrong
    Doctor(doctor::Arguments),
    /// Hand folders, pins and data to the user that the agent runs as; run as root, once after each boot
    Prepare(prepare::Arguments),
    /// Detach the programs and remove the pins; the data stays
    Uninstall(uninstall::Arguments),
    /// Copy the ledger to one file, beside a running agent or without one
    Backup(backup::Arguments),
    /// Make a backup the ledger again; the agent must not run, and the present ledger is kept
    Restore(restore::Arguments),
    /// Make certificates for an agent and a gateway that are apart
    #[command(subcommand)]
    Certificates(certificates::Arguments),
    /// Show how a running agent is: kernel programs, ledger, core, keys; exit status 1 when it is not ready
    Status(status::Arguments),
    /// Watch ports and keys live: rates, totals of today and of the month, connections
    Top(top::Arguments),
    /// Show what keys moved in the past, by day or month
    History(history::Arguments),
    /// List, make, change and remove keys of a running agent, and show their links
    Key(key::Arguments),
    /// Show what happened, and follow it
    Events(events::Arguments),
    /// Show or rotate the REALITY identity that links carry
    Reality(reality::Arguments),
    /// Write what the ledger has of each key by day, month, hour or minute, as CSV, JSON lines or Parquet
    Export(export::Arguments),
    /// Take keys and history of the old server, of an Xray configuration or of vnStat into the ledger of a stopped agent
    Import(import::Arguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    settings: Settings,
    /// Remove programs and pins when the agent stops, instead of counting on
    #[arg(long)]
    detach_on_exit: bool,
}

/// Which agent is meant: its configuration, its data and its name.
#[derive(Debug, Args)]
struct Place {
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

impl Place {
    fn load(self) -> Result<Config> {
        Ok(config::load(&self.flags(), std::env::vars_os())?)
    }

    fn flags(self) -> Flags {
        Flags {
            config: self.config,
            data_dir: self.data_dir,
            instance: self.instance,
            ..Flags::default()
        }
    }
}

/// Settings that win over environment and file.
#[derive(Debug, Args)]
struct Settings {
    #[command(flatten)]
    place: Place,
    /// Interface to count on, may be repeated [default: every one with an IP address]
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// REST address [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// gRPC address [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    /// Prometheus address [default: 127.0.0.1:9435]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

impl Settings {
    fn load(self) -> Result<Config> {
        Ok(config::load(&self.flags(), std::env::vars_os())?)
    }

    fn flags(self) -> Flags {
        Flags {
            interfaces: self.interfaces,
            http_listen: self.http,
            grpc_listen: self.grpc,
            metrics_listen: self.metrics,
            ..self.place.flags()
        }
    }
}

/// Does what the command line asks. Called on the process's first thread while it is the only one: an agent gives up
/// rights, and those are each thread's own.
pub fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Run(arguments) => run_agent(arguments, true),
        Command::Agent(arguments) => run_agent(arguments, false),
        Command::Gateway(arguments) => Ok(runtime()?.block_on(portmeter_gateway::cli::run(arguments))?),
        Command::Prepare(arguments) => prepare::run(arguments),
        Command::CheckConfig(arguments) => check_config::run(arguments),
        Command::Doctor(arguments) => runtime()?.block_on(doctor::run(arguments)),
        Command::Uninstall(arguments) => runtime()?.block_on(uninstall::run(arguments)),
        Command::Backup(arguments) => runtime()?.block_on(backup::run(arguments)),
        Command::Restore(arguments) => restore::run(arguments),
        Command::Certificates(arguments) => certificates::run(arguments),
        Command::Status(arguments) => runtime()?.block_on(status::run(arguments)),
        Command::Top(arguments) => runtime()?.block_on(top::run(arguments)),
        Command::History(arguments) => runtime()?.block_on(history::run(arguments)),
        Command::Key(arguments) => runtime()?.block_on(key::run(arguments)),
        Command::Events(arguments) => runtime()?.block_on(events::run(arguments)),
        Command::Reality(arguments) => runtime()?.block_on(reality::run(arguments)),
        Command::Export(arguments) => runtime()?.block_on(export::run(arguments)),
        Command::Import(arguments) => runtime()?.block_on(import::run(arguments)),
    }
}

fn run_agent(arguments: RunArguments, with_gateway: bool) -> Result<()> {
    // Asked now: later on the file may be another one's.
    let program = std::env::current_exe().unwrap_or_else(|_| "portmeter".into());
    let flags = arguments.settings.flags();
    let config = config::load(&flags, std::env::vars_os())?;
    let telemetry = Telemetry::new(log::start(&config.log));
    let manager = ServiceManager::find();
    let mut undo = Undo::default();
    let given_key = rights::settle(&config, &mut undo)?;
    let options = app::Options {
        config,
        flags,
        with_gateway,
        detach_on_exit: arguments.detach_on_exit,
        given_key,
        telemetry,
        manager,
    };
    // A service manager's log has the same in one line.
    let announce = |greeting: &str| {
        if !manager.is_there() {
            print!("{greeting}");
        }
    };
    // The threads end before anything else is done: they have the rights, and perhaps a file in hand.
    let ending = runtime()?.block_on(async {
        let (shutdown, hang_ups) = (shutdown_on_signal()?, HangUps::listen()?);
        app::run(options, undo, shutdown, hang_ups, announce).await
    })?;
    match ending {
        Ending::Stopped => Ok(()),
        Ending::Restart => Err(become_successor(&program)).context("the agent has stopped and cannot begin anew"),
    }
}

/// How long a thread for blocking calls waits for the next one. They take turns, so calls once a second keep as many threads
/// alive as there are seconds; each of them holds memory.
const BLOCKING_THREAD_REST: Duration = Duration::from_secs(2);

/// Starts the threads that everything asynchronous runs on.
fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(BLOCKING_THREAD_REST)
        .on_thread_park(memory::give_back_at_rest)
        .build();
    runtime.context("the threads that the work takes cannot be started")
}

/// An error with its causes, on one line.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace('\n', " ")
}
