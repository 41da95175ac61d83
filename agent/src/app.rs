//! The whole agent: builds the parts in order, runs them, drains them.
//!
//! A start changes nothing before everything it needs is there: configuration, rights, locks on data and instance,
//! listeners, store, kernel, in this order. A failed one takes back what it made.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portmeter_gateway::{Backend, GatewayConfig};
use portmeter_proto::api_key::ApiKey;
use portmeter_proto::v1::{key_service_server, port_service_server, system_service_server, traffic_service_server};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::api_key::{self, Origin};
use crate::config::{Config, Interfaces, PanelAuth};
use crate::counters::CounterReader;
use crate::first_session::{self, Facts};
use crate::follow::Follower;
use crate::grpc::{self, Services, SystemSource};
use crate::instance::{Locks, Undo, socket_path};
use crate::kernel::{Hook, Kernel, KernelOptions};
use crate::network::plan;
use crate::network::rtnetlink::NetworkWatcher;
use crate::network::sockets::SocketProbe;
use crate::services::{KeyService, PortService, Rates, TrafficService};
use crate::state::AgentState;
use crate::store::{OpenStore, PortProbe, Store};
use crate::{rights, sampler};

/// How long running calls may take to finish after the agent was told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What to run.
pub struct Options {
    /// The checked configuration.
    pub config: Config,
    /// Whether this process serves REST too.
    pub with_gateway: bool,
    /// Whether programs and pins are removed when the agent stops.
    pub detach_on_exit: bool,
    /// The API key from the environment.
    pub api_key: Option<String>,
}

/// Runs the agent until `shutdown`. `announce` is given the text for the user once everything is up.
pub async fn run(options: Options, shutdown: CancellationToken, announce: impl FnOnce(&str)) -> Result<()> {
    let (agent, undo) = start(options).await?;
    undo.keep();
    announce(&agent.greeting());
    agent.run_until(shutdown).await
}

/// The sockets, bound and not yet served.
struct Sockets {
    http: Option<TcpListener>,
    grpc: grpc::Listeners,
}

/// A started agent.
struct Agent {
    config: Config,
    detach_on_exit: bool,
    _locks: Locks,
    sockets: Sockets,
    http_address: Option<SocketAddr>,
    grpc_address: SocketAddr,
    api_key: ApiKey,
    api_key_origin: Origin,
    store: Arc<Store>,
    kernel: Arc<Mutex<Kernel>>,
    reader: Arc<dyn CounterReader>,
    rates: Arc<Rates>,
    state: Arc<AgentState>,
    watcher: NetworkWatcher,
}

async fn start(options: Options) -> Result<(Agent, Undo)> {
    let Options {
        config,
        with_gateway,
        detach_on_exit,
        api_key,
    } = options;
    let given_key = api_key::given(api_key.as_deref(), config.http.api_key_file.as_deref())?;
    rights::check()?;
    let watcher = NetworkWatcher::open().context("rtnetlink cannot be opened")?;
    check_interfaces(&watcher, &config).await?;

    let mut undo = Undo::default();
    let locks = Locks::take(&config.agent.data_dir, &config.agent.instance, &mut undo)?;
    let sockets = bind(&config, with_gateway, &mut undo).await?;
    let (api_key, api_key_origin) = match given_key {
        Some(given) => given,
        None => api_key::kept_or_made(&config.agent.data_dir, &mut undo)?,
    };
    for suffix in ["", "-wal", "-shm"] {
        undo.watch_file(config.agent.data_dir.join(format!("ledger.db{suffix}")));
    }
    let open_store = OpenStore::open(&config.agent.data_dir)?;
    // A key keeps its port when the configured ports change, so its port is counted as well.
    let ports = config.capture.ports.iter().chain(open_store.assigned_ports()).collect();
    let mut kernel = Kernel::open(&KernelOptions {
        instance: &config.agent.instance,
        hook: config.capture.hook,
        ports: &ports,
        ledger_id: open_store.ledger_id(),
    })?;
    let reader: Arc<dyn CounterReader> = kernel.counters();
    let store = match take_up(open_store, &mut kernel, &config) {
        Ok(store) => store,
        Err(error) => {
            kernel.take_back();
            return Err(error);
        }
    };

    let state = Arc::new(AgentState::new(config.agent.instance.clone()));
    state.set_ledger_writable(true);
    let agent = Agent {
        detach_on_exit,
        _locks: locks,
        http_address: sockets.http.as_ref().and_then(|listener| listener.local_addr().ok()),
        grpc_address: sockets
            .grpc
            .tcp
            .local_addr()
            .context("the gRPC listener has no address")?,
        sockets,
        api_key,
        api_key_origin,
        store: Arc::new(store),
        kernel: Arc::new(Mutex::new(kernel)),
        reader,
        rates: Arc::new(Rates::default()),
        state,
        watcher,
        config,
    };
    agent.attach().await?;
    Ok((agent, undo))
}

/// Puts the ledger to work on the kernel's counters.
fn take_up(open_store: OpenStore, kernel: &mut Kernel, config: &Config) -> Result<Store> {
    let ledger_id = open_store.ledger_id();
    let ports = config.capture.ports.iter().collect();
    let store = open_store
        .start(kernel.counters(), kernel.origin(), ports, Box::new(SocketProbe))
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

async fn bind(config: &Config, with_gateway: bool, undo: &mut Undo) -> Result<Sockets> {
    let http = if with_gateway {
        Some(listen(config.http.listen, "REST", "--http").await?)
    } else {
        None
    };
    let tcp = listen(config.grpc.listen, "gRPC", "--grpc").await?;
    let path = socket_path(&config.agent.instance);
    // Whoever made it is gone: the instance's lock is ours.
    let _ = std::fs::remove_file(&path);
    undo.watch_file(path.clone());
    let unix = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    Ok(Sockets {
        http,
        grpc: grpc::Listeners { tcp, unix },
    })
}

async fn listen(address: SocketAddr, what: &str, flag: &str) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is in use by another program: stop it, or choose another {what} address with {flag}")
        }
        Err(error) => bail!("cannot listen on {address} for {what} ({error}): choose another address with {flag}"),
    }
}

impl Agent {
    /// The first attachment. Where nothing can be attached the start has failed.
    async fn attach(&self) -> Result<()> {
        let plan = self
            .follower()
            .apply()
            .await
            .context("the network's interfaces cannot be read")?;
        for warning in plan.warnings {
            tracing::warn!("{warning}");
        }
        if self.state.attached().is_empty() {
            let problems = self.state.problems().join("; ");
            self.kernel
                .lock()
                .expect("nothing panics while it holds this lock")
                .take_back();
            bail!("nothing can be counted: {problems}");
        }
        Ok(())
    }

    fn follower(&self) -> Follower {
        Follower {
            kernel: Arc::clone(&self.kernel),
            reader: self.watcher.reader(),
            interfaces: self.config.capture.interfaces.clone(),
            state: Arc::clone(&self.state),
        }
    }

    fn greeting(&self) -> String {
        let attached = self.state.attached();
        let hook = match attached.first().map(|one| one.hook) {
            Some(Hook::Clsact) => "clsact",
            _ => "TCX",
        };
        first_session::text(&Facts {
            interfaces: attached.into_iter().map(|one| one.target.name).collect(),
            hook,
            ports: self.config.capture.ports.to_string(),
            http: self.http_address,
            grpc: self.grpc_address,
            socket: &socket_path(&self.config.agent.instance),
            api_key: &self.api_key_origin,
            next_port: self.next_port(),
        })
    }

    /// The port that a key made now would get.
    fn next_port(&self) -> Option<u16> {
        let snapshot = self.store.snapshot();
        let held = SocketProbe.held_ports().unwrap_or_default();
        let is_taken = |port: &u16| snapshot.entries.iter().any(|entry| entry.key.port == Some(*port));
        self.config
            .capture
            .ports
            .iter()
            .find(|port| !is_taken(port) && !held.contains(port))
    }

    fn services(&self, shutdown: &CancellationToken) -> Services {
        let system = SystemSource {
            state: Arc::clone(&self.state),
            kernel: Arc::clone(&self.kernel),
            reader: Arc::clone(&self.reader),
            store: Arc::clone(&self.store),
        };
        Services::new(
            KeyService::new(Arc::clone(&self.store)),
            TrafficService::new(
                Arc::clone(&self.store),
                Arc::clone(&self.reader),
                Arc::clone(&self.rates),
                self.watcher.reader(),
            ),
            PortService::new(Arc::clone(&self.store), Arc::new(self.config.capture.ports.clone())),
            Arc::new(system),
            shutdown.clone(),
        )
    }

    async fn run_until(self, shutdown: CancellationToken) -> Result<()> {
        let services = self.services(&shutdown);
        let (health_reporter, health) = tonic_health::server::health_reporter();
        set_health(&health_reporter, ServingStatus::Serving).await;

        let follower = self.follower();
        let (store, kernel) = (Arc::clone(&self.store), Arc::clone(&self.kernel));
        let commit_interval = Duration::from_secs(self.config.ledger.commit_interval_seconds);
        let socket = socket_path(&self.config.agent.instance);

        let mut tasks = JoinSet::new();
        tasks.spawn(sampler::sample(self.reader, self.rates, shutdown.clone()));
        tasks.spawn(sampler::book(
            Arc::clone(&store),
            Arc::clone(&self.state),
            commit_interval,
            shutdown.clone(),
        ));
        tasks.spawn(follower.run(self.watcher, shutdown.clone()));
        if let Some(listener) = self.sockets.http {
            let backend = Backend::in_process(
                services.keys.clone(),
                services.traffic.clone(),
                services.ports.clone(),
                services.system.clone(),
            );
            let panel_auth = self.config.http.panel_auth;
            if panel_auth == PanelAuth::Open {
                tracing::warn!("the panel's routes answer without the API key");
            }
            let gateway = GatewayConfig {
                api_key: self.api_key.clone(),
                panel_auth,
            };
            let router = portmeter_gateway::router(backend, gateway);
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                portmeter_gateway::serve(listener, router, shutdown).await;
            });
        }
        let stop = shutdown.clone();
        let (listeners, api_key) = (self.sockets.grpc, self.api_key);
        tasks.spawn(async move {
            if let Err(error) = grpc::serve(listeners, services, health, api_key, stop.clone()).await {
                tracing::error!(%error, "the gRPC server failed");
                stop.cancel();
            }
        });

        shutdown.cancelled().await;
        tracing::info!("stopping");
        set_health(&health_reporter, ServingStatus::NotServing).await;
        if tokio::time::timeout(DRAIN_LIMIT, async { while tasks.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            tracing::warn!(
                "some calls did not finish in {} s and are cut off",
                DRAIN_LIMIT.as_secs()
            );
            tasks.shutdown().await;
        }
        finish(&store, &kernel, self.detach_on_exit).await?;
        let _ = std::fs::remove_file(socket);
        tracing::info!("stopped");
        Ok(())
    }
}

/// The server as a whole and each service, as gRPC's health protocol names them.
async fn set_health(reporter: &HealthReporter, status: ServingStatus) {
    let names = [
        "",
        key_service_server::SERVICE_NAME,
        traffic_service_server::SERVICE_NAME,
        port_service_server::SERVICE_NAME,
        system_service_server::SERVICE_NAME,
    ];
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}

/// The last booking. With `detach_on_exit` the programs go first, so that it is the last word.
async fn finish(store: &Store, kernel: &Mutex<Kernel>, detach_on_exit: bool) -> Result<()> {
    if !detach_on_exit {
        return store
            .close()
            .await
            .context("the last booking failed; the next start makes up for it");
    }
    kernel
        .lock()
        .expect("nothing panics while it holds this lock")
        .detach_all();
    store
        .close()
        .await
        .context("the last booking failed; the pinned counters stay for the next start")?;
    kernel
        .lock()
        .expect("nothing panics while it holds this lock")
        .remove_pins();
    Ok(())
}
