//! `portmeter doctor`: is everything as it must be for exact counting, and if not, what helps.
//!
//! One file for each subject: facts are gathered by reading, and judged by plain functions from facts to findings.
//! Nothing is changed, locked or kept open for longer than the reading takes, so it runs beside an agent as well as
//! without one. A finding is an error when figures are wrong or will be, or when the next start would fail; a warning
//! when something is worth knowing and counting goes on.

mod agent;
mod bpffs;
mod cgroup;
mod clock;
mod interfaces;
mod kernel;
mod maps;
mod ports;
mod processes;
mod programs;
mod report;
mod rights;
mod store;

use crate::config::Config;
use crate::kernel::inspect;
use crate::network::cut;
use crate::network::listeners::listeners;
use crate::network::plan::plan;
use crate::network::rtnetlink::NetworkWatcher;

pub use report::{Finding, Level, Report};

/// From where it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vantage {
    /// By a process of its own, with the rights of whoever runs it.
    Outside,
    /// By the running agent, which must not open its ledger's files a second time and cannot see the programs of those who
    /// may do more than it.
    Agent {
        /// Whether it runs the core, and so can see it.
        runs_core: bool,
        /// The core's process.
        core_process: Option<u32>,
    },
}

/// Examines this machine and the agent that `config` describes, running or not.
pub async fn examine(config: &Config, vantage: Vantage) -> Report {
    let instance = &config.agent.instance;
    let features = inspect::features(config.capture.hook);
    let bpffs = inspect::bpffs(instance);
    let maps = inspect::inspect_maps(instance);
    let links = inspect::inspect_links(instance);
    let ledger = store::gather(&config.agent.data_dir, vantage);
    let agent = agent::gather(instance).await;
    let network = match NetworkWatcher::open() {
        Ok(watcher) => watcher.reader().read().await,
        Err(error) => Err(error),
    };
    let plan = network.map(|network| plan(&network, &config.capture.interfaces));
    let targets = plan.as_ref().map(|plan| plan.targets.clone()).unwrap_or_default();
    let tags = inspect::build_tags();
    let loading = kernel::check_loading(&tags);
    let programs = programs::gather(instance, targets, links.interfaces, &maps, tags.unwrap_or_default()).await;
    let key_ports = ledger.key_ports();
    let listeners = listeners().map(processes::name);

    let mut findings = vec![Finding::ok("configuration", "the settings are good")];
    findings.push(rights::check(crate::rights::check()));
    findings.extend(kernel::check(&features));
    findings.push(loading);
    findings.push(kernel::check_cutting_off(&cut::is_supported()));
    findings.push(bpffs::check(&bpffs, agent.owner, store::owner(&config.agent.data_dir)));
    findings.push(agent::check(&agent, chrono::Utc::now()));
    findings.push(interfaces::check(&plan, &config.capture.interfaces));
    findings.extend(maps::check(&maps, &ledger, &config.capture.ports));
    findings.extend(programs::check(&programs));
    findings.extend(cgroup::check(
        &crate::kernel::cgroup::root(),
        links.connections.as_ref(),
    ));
    findings.extend(store::check(&ledger));
    findings.extend(clock::check(&clock::gather(&ledger, &maps, agent.last_booked_at())));
    findings.extend(ports::check(&ports::Facts {
        tracked: &config.capture.ports,
        key_ports: &key_ports,
        ephemeral: ports::read_ephemeral(),
        listeners: listeners.map_err(|error| error.to_string()),
        own: ports::own_listeners(config),
        is_agent_running: agent.may_run(),
        core: &config.xray.binary,
        core_process: match vantage {
            Vantage::Agent { core_process, .. } => core_process,
            Vantage::Outside => agent.core_process,
        },
        is_core_known: !matches!(vantage, Vantage::Agent { runs_core: false, .. }),
    }));
    Report { findings }
}
