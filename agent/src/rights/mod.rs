//! What the process may do: asked before anything is touched, then reduced to what counting takes.
//!
//! Capabilities belong to threads, so [`settle`] has to run on the first thread before there is a second one: what is
//! started later has what this one has left.

mod access;
mod capabilities;
mod places;
mod user;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use portmeter_daemon::credentials;
use portmeter_proto::api_key::ApiKey;

use crate::api_key::{self, Origin};
use crate::config::{Config, XrayMode};
use crate::instance::Undo;
use crate::kernel::{Pins, bpffs};
use capabilities::Plan;

pub use access::{AccessError, check as check_folders};
pub use capabilities::{MissingRights, ReduceError, check, hand_on, is_low_port, leave_for_program, with_low_ports};
pub use user::{Account, UnknownUser, name_of};

/// The API key that the operator gives, read while the process could still read everything.
pub type GivenKey = Option<(ApiKey, Origin)>;

/// Does what takes rights beyond counting, gives up those rights, and sees whether the rest will do for the agent's
/// folders. What it makes is noted in `undo`.
pub fn settle(config: &Config, undo: &mut Undo) -> Result<GivenKey> {
    let environment = std::env::var(api_key::VARIABLE).ok();
    let credential = credentials::find(credentials::API_KEY);
    let given_key = api_key::given(
        environment.as_deref(),
        config.http.api_key_file.as_deref(),
        credential.as_deref(),
    )?;
    let plan = capabilities::plan_here(needs_low_ports(config, capabilities::first_unprivileged_port()))?;
    bpffs::ensure_mounted(Pins::of(&config.agent.instance).folder())?;
    make_data_folder_of_root(config, &plan, undo)?;
    capabilities::reduce(&plan)?;
    access::check(config)?;
    Ok(given_key)
}

/// Whether the listeners of a configuration can be bound with the rights that are left.
pub fn may_listen(config: &Config) -> bool {
    let listeners = [config.http.listen, config.grpc.listen, config.metrics.listen];
    let needs_right = listeners.iter().any(|address| is_low_port(address.port()));
    !needs_right || capabilities::may_bind_low_ports()
}

/// Root may make its data folder in anybody's folder, but only for as long as it has all its rights; and not where it
/// would not get later on.
fn make_data_folder_of_root(config: &Config, plan: &Plan, undo: &mut Undo) -> Result<()> {
    let folder = &config.agent.data_dir;
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || !capabilities::with_only(plan, || places::is_within_reach(folder))? {
        return Ok(());
    }
    undo.create_folder(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))
}

/// Whether a listener of this process, or of a core that it starts, is on a port for which Linux wants a right.
fn needs_low_ports(config: &Config, first_unprivileged: u16) -> bool {
    let listeners = [config.http.listen, config.grpc.listen, config.metrics.listen];
    let mut ports: BTreeSet<u16> = listeners.iter().map(std::net::SocketAddr::port).collect();
    if config.xray.mode != Some(XrayMode::None) {
        ports.extend(config.capture.ports.iter());
    }
    // Port 0 stands for any free one.
    ports.into_iter().any(|port| (1..first_unprivileged).contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_ports_of_listeners_and_of_the_core_need_the_right() {
        let mut config = Config::default();
        assert!(!needs_low_ports(&config, 1024));
        config.http.listen = "0.0.0.0:443".parse().unwrap();
        assert!(needs_low_ports(&config, 1024));
        assert!(!needs_low_ports(&config, 443));
        config.http.listen = "0.0.0.0:0".parse().unwrap();
        assert!(!needs_low_ports(&config, 1024));
        config.capture.ports = "443,10001".parse().unwrap();
        assert!(needs_low_ports(&config, 1024));
        config.xray.mode = Some(XrayMode::None);
        assert!(!needs_low_ports(&config, 1024));
    }
}
