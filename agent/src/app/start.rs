//! The start: everything that has to be there, in order, before anything is changed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use portmeter_daemon::memory;
use portmeter_listener::{FailedKeys, raise_open_files};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::tls::Certificates;
use super::{Agent, Options, events, xray};
use crate::calendar::Calendar;
use crate::config::{Config, HookChoice, Interfaces, Live};
use crate::counters::{ConnectionCounter, CounterReader};
use crate::cut_off::{CutOff, Means};
use crate::instance::{Locks, Undo, socket_path};
use crate::kernel::{self, ConnectionWatch, Kernel, KernelOptions, Predecessor};
use crate::network::listeners::SocketProbe;
use crate::network::plan;
use crate::network::rtnetlink::NetworkWatcher;
use crate::services::Rates;
use crate::state::AgentState;
use crate::store::{OpenStore, Store};
use crate::{api_key, grpc, rights};

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: u32 = 1024;

/// Builds the agent and attaches it. What was made on the way is taken back when `undo` is dropped.
pub(super) async fn start(options: Options, undo: &mut Undo) -> Result<Agent> {
    let Options {
        config,
        with_gateway,
        detach_on_exit,
        given_key,
        telemetry,
        manager,
        flags: _,
    } = options;
    memory::keep_to_small_pages();
    let watcher = NetworkWatcher::open().context("rtnetlink cannot be opened")?;
    check_interfaces(&watcher, &config).await?;
    let mut xray = xray::Parts::look(&config).await?;
    config.check_certificates()?;
    raise_open_files();

    let locks = Locks::take(&config.agent.data_dir, &config.agent.instance, undo)?;
    let (http, grpc, metrics) = bind(&config, with_gateway, undo)?;
    let (api_key, api_key_origin) = match given_key {
        Some(given) => given,
        None => api_key::kept_or_made(&config.agent.data_dir, undo)?,
    };
    let certificates = Certificates::take(&config, &watcher.reader(), undo).await?;
    for suffix in ["", "-wal", "-shm"] {
        undo.watch_file(config.agent.data_dir.join(format!("ledger.db{suffix}")));
    }
    let calendar = Calendar::new(config.ledger.time_zone);
    let open_store = OpenStore::open(&config.agent.data_dir)?
        .with_calendar(calendar)
        .with_event_count_max(config.events.count_max);
    // A key keeps its port when the configured ports change, so its port is counted as well.
    let ports = config.capture.ports.iter().chain(open_store.assigned_ports()).collect();
    xray.check_ports(&open_store).await?;
    let mut kernel = Kernel::open(&KernelOptions {
        instance: &config.agent.instance,
        hook: config.capture.hook,
        ports: &ports,
        ledger_id: open_store.ledger_id(),
        log: config.capture.kernel_log,
    })?;
    let connections: Arc<dyn ConnectionCounter> = kernel.counters();
    let reader: Arc<dyn CounterReader> = kernel.counters();
    let store = match take_up(open_store, &mut kernel, &config) {
        Ok(store) => store,
        Err(error) => {
            kernel.take_back();
            return Err(error);
        }
    };

    if !config.xray.access_log && store.forget_domains().await? {
        tracing::info!("what was recorded of visited domains is removed");
    }
    let (store, kernel) = (Arc::new(store), Arc::new(Mutex::new(kernel)));
    telemetry.follow(&config.log.level, &store.snapshot().settings);
    let cut_off = Arc::new(CutOff::new(Arc::clone(&kernel), Means::End));
    let (reconciler, keeper, core_watcher) = xray.put_to_work(Arc::clone(&store), Arc::clone(&cut_off))?;
    let state = Arc::new(AgentState::new(config.agent.instance.clone()));
    state.set_ledger_writable(true);
    let mut agent = Agent {
        detach_on_exit,
        _locks: locks,
        http_address: http.as_ref().and_then(|listener| listener.local_addr().ok()),
        grpc_address: grpc.tcp.local_addr().context("the gRPC listener has no address")?,
        metrics_address: metrics.local_addr().context("the metrics listener has no address")?,
        http,
        grpc: Some(grpc),
        metrics: Some(metrics),
        api_key,
        api_key_origin,
        certificates,
        store,
        reconciler,
        keeper: Some(keeper),
        core_watcher: Some(core_watcher),
        kernel,
        cut_off,
        reader,
        connections,
        rates: Arc::new(Rates::default()),
        state,
        network: watcher.reader(),
        watcher: Some(watcher),
        live: Live::new(config.clone()),
        telemetry,
        manager,
        failed_keys: Arc::new(FailedKeys::new(config.http.failed_keys_per_minute)),
        gateway: None,
        config,
    };
    attach(&agent).await?;
    leave_predecessor(&agent).await?;
    events::note_start(&agent.store).await;
    if let Some(keeper) = &mut agent.keeper {
        keeper.begin().await;
    }
    // Loading the programs has read the kernel's type information, some hundred thousand small pieces, on this thread, which
    // does not rest as the runtime's own do.
    kernel::give_back_freed_memory();
    Ok(agent)
}

/// Puts the ledger to work on the kernel's counters.
fn take_up(open_store: OpenStore, kernel: &mut Kernel, config: &Config) -> Result<Store> {
    let ledger_id = open_store.ledger_id();
    let ports = config.capture.ports.iter().collect();
    let store = open_store
        .start(kernel.counters(), &kernel.origin(), ports, Box::new(SocketProbe))
        .context("the ledger cannot take up the kernel's counters")?;
    kernel.adopt(ledger_id)?;
    Ok(store)
}

/// A start on interfaces that are all missing is a mistake; one that is missing among others may come.
async fn check_interfaces(watcher: &NetworkWatcher, config: &Config) -> Result<()> {
    let network = watcher
        .reader()
        .read()
        .await
        .context("the network's interfaces cannot be read")?;
    let plan = plan::plan(&network, &config.capture.interfaces);
    if !plan.targets.is_empty() {
        return Ok(());
    }
    let present: Vec<&str> = network
        .interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    match &config.capture.interfaces {
        Interfaces::Named(names) => bail!(
            "no interface to count on: there is no {}; this host has {}",
            names.join(" and no "),
            present.join(", ")
        ),
        Interfaces::Auto => bail!(
            "no interface to count on: none of {} has an IP address; name one with --interface",
            present.join(", ")
        ),
    }
}

fn bind(
    config: &Config,
    with_gateway: bool,
    undo: &mut Undo,
) -> Result<(Option<TcpListener>, grpc::Listeners, TcpListener)> {
    let http = if with_gateway {
        Some(listen(config.http.listen, "REST", "--http")?)
    } else {
        None
    };
    let tcp = listen(config.grpc.listen, "gRPC", "--grpc")?;
    let metrics = listen(config.metrics.listen, "metrics", "--metrics")?;
    let path = socket_path(&config.agent.instance);
    // Whoever made it is gone: the instance's lock is ours.
    let _ = std::fs::remove_file(&path);
    undo.watch_file(path.clone());
    let unix = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    Ok((http, grpc::Listeners { tcp, unix }, metrics))
}

fn listen(address: SocketAddr, what: &str, flag: &str) -> Result<TcpListener> {
    // Bound and listening within this thread, the one that may have kept the right to bind low ports.
    let listener = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        rights::with_low_ports(|| socket.bind(address))?;
        socket.listen(LISTEN_BACKLOG)
    };
    match listener() {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is in use by another program: stop it, or choose another {what} address with {flag}")
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => bail!(
            "cannot listen on {address} for {what}: ports this low take cap_net_bind_service; give it to the user that \
             this runs as, or choose another address with {flag}"
        ),
        Err(error) => bail!("cannot listen on {address} for {what} ({error}): choose another address with {flag}"),
    }
}

/// The first attachment. Where nothing can be attached the start has failed; so it has where XDP was asked for and a
/// driver cannot run it, because nothing else would be exact there.
async fn attach(agent: &Agent) -> Result<()> {
    let plan = agent
        .follower()
        .apply()
        .await
        .context("the network's interfaces cannot be read")?;
    agent.lock_kernel().remove_stale_filters(&plan.left_out);
    for warning in plan.warnings {
        tracing::warn!("{warning}");
    }
    let problems = agent.state.problems();
    let needs_every_driver = agent.config.capture.hook == HookChoice::Xdp;
    if agent.state.attached().is_empty() || (needs_every_driver && !problems.is_empty()) {
        agent.lock_kernel().take_back();
        bail!("nothing can be counted: {}", problems.join("; "));
    }
    if let ConnectionWatch::Incomplete(reason) = agent.lock_kernel().watch_connections() {
        tracing::warn!(reason, "open connections are taken from the socket tables");
    }
    Ok(())
}

/// Books and removes the maps that an earlier start counted into, where this one has moved to others.
async fn leave_predecessor(agent: &Agent) -> Result<()> {
    let Some(predecessor) = agent.lock_kernel().settled_predecessor() else {
        return Ok(());
    };
    let Predecessor { counters, origin } = predecessor;
    let booked = agent.store.book_past_life(counters, origin).await;
    booked.context("what the earlier maps counted cannot be booked; the next start tries again")?;
    agent.lock_kernel().forget_predecessor()?;
    tracing::info!("moved to new maps; what the earlier ones counted is booked");
    Ok(())
}
