//! `portmeter uninstall`: everything out of the kernel, nothing out of the ledger.

use anyhow::{Context, Result};

use super::Settings;
use crate::config::{Config, XrayMode};
use crate::instance::{Locks, Undo, remove_run_folder};
use crate::kernel::{self, Predecessor};
use crate::network::listeners::SocketProbe;
use crate::network::rtnetlink::NetworkWatcher;
use crate::rights;
use crate::store::OpenStore;
use crate::xray::core::Supervised;

/// Which instance goes, and what else.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// End a supervised Xray core as well, and with it its customers' connections
    #[arg(long)]
    stop_core: bool,
}

/// Detaches, books what was counted, unpins.
pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let config = arguments.settings.load()?;
    uninstall(&config).await?;
    if arguments.stop_core {
        stop_core(&config).await?;
    }
    Ok(())
}

/// A core that an agent has left running. One that systemd runs is systemd's.
async fn stop_core(config: &Config) -> Result<()> {
    if config.xray.mode == Some(XrayMode::Systemd) {
        return Ok(());
    }
    let mut core = Supervised::new(&config.xray.binary, &config.xray_configuration(), false);
    Ok(core.stop().await?)
}

async fn uninstall(config: &Config) -> Result<()> {
    rights::check()?;
    // Root has given up nothing here and gets everywhere.
    if !nix::unistd::geteuid().is_root() {
        rights::check_folders(config)?;
    }
    // Both locks are held meanwhile; what they had to make is taken back in the end.
    let mut undo = Undo::default();
    let _locks = Locks::take(&config.agent.data_dir, &config.agent.instance, &mut undo)?;
    let network = NetworkWatcher::open()?
        .reader()
        .read()
        .await
        .context("the network's interfaces cannot be read")?;
    let interfaces: Vec<String> = network.interfaces.into_iter().map(|interface| interface.name).collect();

    let leftover = kernel::uninstall(&config.agent.instance, &interfaces)?;
    let has_ledger = config.agent.data_dir.join("ledger.db").exists();
    if has_ledger {
        for counted in &leftover.counters {
            book(config, counted).await?;
        }
    } else if !leftover.counters.is_empty() {
        println!(
            "there is no ledger in {}; what was counted since the last booking is dropped",
            config.agent.data_dir.display()
        );
    }
    leftover.remove();
    remove_run_folder(&config.agent.instance);
    println!(
        "instance {} is out of the kernel; its data stays in {}",
        config.agent.instance,
        config.agent.data_dir.display()
    );
    Ok(())
}

/// Books what the counters hold beyond the last checkpoint.
async fn book(config: &Config, counted: &Predecessor) -> Result<()> {
    let store = OpenStore::open(&config.agent.data_dir)?;
    let (reader, ports) = (counted.counters.clone(), config.capture.ports.iter().collect());
    let store = store.start(reader, &counted.origin, ports, Box::new(SocketProbe));
    let store = store.context("the last bytes cannot be booked; the pinned counters stay")?;
    store
        .close()
        .await
        .context("the last bytes cannot be booked; the pinned counters stay")
}
