//! The whole agent: builds the parts in order, runs them, drains them.
//!
//! A start changes nothing before everything it needs is there: configuration, rights, locks on data and instance,
//! listeners, store, kernel, in this order. A failed one takes back what it made.

mod events;
mod greeting;
mod reload;
mod services;
mod start;
mod tls;
mod xray;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use portmeter_daemon::service_manager::ServiceManager;
use portmeter_daemon::signals::HangUps;
use portmeter_gateway::{Backend, GatewayConfig, LiveConfig, LocalServices, RequestFigures, Server};
use portmeter_listener::FailedKeys;
use portmeter_proto::api_key::ApiKey;
use portmeter_proto::v1::{
    backup_service_server, check_service_server, collector_service_server, domain_service_server, event_service_server,
    history_service_server, key_service_server, port_service_server, settings_service_server, system_service_server,
    traffic_service_server, xray_service_server,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::api_key::Origin;
use crate::config::{Config, Flags, Live, PanelAuth};
use crate::connections;
use crate::counters::{ConnectionCounter, CounterReader};
use crate::cut_off::CutOff;
use crate::domains::{self, Recording};
use crate::follow::Follower;
use crate::grpc::{self, CallFigures, Changes, Services};
use crate::host::Processors;
use crate::instance::{Locks, Undo, socket_path};
use crate::kernel::{Kernel, KernelLog};
use crate::metrics::{self, MetricsSource};
use crate::network::rtnetlink::{NetworkReader, NetworkWatcher};
use crate::reconciler::{Keeper, Reconciler, Watcher as CoreWatcher};
use crate::restart::{Ending, Restart};
use crate::retention;
use crate::rights::GivenKey;
use crate::sampler::{self, Sampler};
use crate::services::Rates;
use crate::state::AgentState;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::watchdog::Watchdog;
use crate::xray::access_log;
use reload::Reloader;
use tls::Certificates;

/// How long running calls may take to finish after the agent was told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What to run.
pub struct Options {
    /// The checked configuration.
    pub config: Config,
    /// What the command line has set of it, for when it is read again.
    pub flags: Flags,
    /// Whether this process serves REST too.
    pub with_gateway: bool,
    /// Whether programs and pins are removed when the agent stops.
    pub detach_on_exit: bool,
    /// The API key that the operator gives.
    pub given_key: GivenKey,
    /// The log that runs.
    pub telemetry: Telemetry,
    /// Who is told how the agent is.
    pub manager: ServiceManager,
}

/// Runs the agent until `stop`, or until it is asked to begin anew, with the rights that [`crate::rights::settle`] has left;
/// `undo` is what that has made. At each of `hang_ups` the configuration is read again. `announce` is given the text for the
/// user once everything is up.
pub async fn run(
    options: Options,
    mut undo: Undo,
    stop: CancellationToken,
    hang_ups: HangUps,
    announce: impl FnOnce(&str),
) -> Result<Ending> {
    let began = Instant::now();
    let restart = Restart::new(options.flags.clone(), stop);
    let agent = start::start(options, &mut undo).await?;
    undo.keep();
    agent.tell_that_it_runs(began.elapsed());
    announce(&agent.greeting());
    agent.run_until(Arc::new(restart), hang_ups).await
}

/// A started agent.
struct Agent {
    /// What it was started with.
    config: Config,
    /// What is in force.
    live: Live,
    telemetry: Telemetry,
    manager: ServiceManager,
    failed_keys: Arc<FailedKeys>,
    /// The settings of the gateway in this process.
    gateway: Option<LiveConfig>,
    detach_on_exit: bool,
    _locks: Locks,
    /// Taken when it is served; `None` where the gateway runs elsewhere.
    http: Option<TcpListener>,
    /// Taken when they are served.
    grpc: Option<grpc::Listeners>,
    /// Taken when it is served.
    metrics: Option<TcpListener>,
    http_address: Option<SocketAddr>,
    grpc_address: SocketAddr,
    metrics_address: SocketAddr,
    api_key: ApiKey,
    api_key_origin: Origin,
    certificates: Certificates,
    store: Arc<Store>,
    reconciler: Reconciler,
    /// Taken when they keep the core at the wanted state.
    keeper: Option<Keeper>,
    core_watcher: Option<CoreWatcher>,
    kernel: Arc<Mutex<Kernel>>,
    cut_off: Arc<CutOff>,
    reader: Arc<dyn CounterReader>,
    connections: Arc<dyn ConnectionCounter>,
    rates: Arc<Rates>,
    state: Arc<AgentState>,
    network: NetworkReader,
    /// Taken when the network is followed.
    watcher: Option<NetworkWatcher>,
}

impl Agent {
    fn follower(&self) -> Follower {
        Follower {
            kernel: Arc::clone(&self.kernel),
            reader: self.network.clone(),
            live: self.live.clone(),
            state: Arc::clone(&self.state),
            store: Arc::clone(&self.store),
        }
    }

    fn metrics_source(&self, calls: CallFigures, requests: Option<RequestFigures>) -> MetricsSource {
        MetricsSource {
            reader: Arc::clone(&self.reader),
            kernel: Arc::clone(&self.kernel),
            store: Arc::clone(&self.store),
            state: Arc::clone(&self.state),
            reconciler: self.reconciler.clone(),
            calls,
            requests,
            live: self.live.clone(),
        }
    }

    /// Runs every part until it is told to end, or until one of them ends by itself, which none should.
    async fn run_until(mut self, restart: Arc<Restart>, hang_ups: HangUps) -> Result<Ending> {
        let shutdown = restart.shutdown();
        let (reporter, health) = tonic_health::server::health_reporter();
        set_health(&reporter, ServingStatus::Serving).await;
        let processors = Arc::new(Processors::default());
        let services = self.services(&restart, &processors);
        let changes = services.changes.clone();
        let mut tasks = self.spawn(services, health, &restart);
        tasks.spawn(done(processors.run(shutdown.clone())));
        tasks.spawn(done(self.reloader(&restart).run(hang_ups, shutdown.clone())));
        self.manager.status(&self.watchdog().status());
        self.manager.ready();

        let ended = shutdown.run_until_cancelled(tasks.join_next()).await;
        // Told to stop, the parts may be quicker to end than this is to be told.
        let was_told = shutdown.is_cancelled();
        shutdown.cancel();
        match restart.ending() {
            Ending::Stopped => self.manager.stopping(),
            // The same process goes on.
            Ending::Restart => self.manager.reloading(),
        }
        tracing::info!("stopping");
        set_health(&reporter, ServingStatus::NotServing).await;
        drain(&mut tasks, &changes).await;
        events::note_stop(&self.store, was_told).await;
        self.finish(restart.ending()).await?;
        let _ = std::fs::remove_file(socket_path(&self.config.agent.instance));
        tracing::info!("stopped");
        match ended {
            Some(Some(Ok(Err(error)))) => Err(error),
            Some(_) if !was_told => bail!("a part of the agent ended by itself; the log says more"),
            _ => Ok(restart.ending()),
        }
    }

    /// Starts every part as a task of its own.
    fn spawn<H: Health>(
        &mut self,
        services: Services,
        health: HealthServer<H>,
        restart: &Arc<Restart>,
    ) -> JoinSet<Result<()>> {
        let shutdown = &restart.shutdown();
        let mut tasks = JoinSet::new();
        if let (Some(keeper), Some(watcher)) = (self.keeper.take(), self.core_watcher.take()) {
            let (live, restart) = (self.live.clone(), Arc::clone(restart));
            // An agent that begins anew goes on with the core that runs.
            let stop_core = move || live.now().xray.stop_with_agent && restart.ending() == Ending::Stopped;
            tasks.spawn(done(keeper.run(shutdown.clone(), stop_core)));
            tasks.spawn(done(watcher.run(shutdown.clone())));
            tasks.spawn(done(Arc::clone(&self.cut_off).run(shutdown.clone())));
        }
        let sampler = Sampler {
            reader: Arc::clone(&self.reader),
            rates: Arc::clone(&self.rates),
            store: Arc::clone(&self.store),
            state: Arc::clone(&self.state),
        };
        tasks.spawn(done(sampler.run(shutdown.clone())));
        tasks.spawn(done(retention::clean_up(
            Arc::clone(&self.store),
            self.live.clone(),
            shutdown.clone(),
        )));
        tasks.spawn(done(domains::run(self.recording(), shutdown.clone())));
        let (store, state) = (Arc::clone(&self.store), Arc::clone(&self.state));
        tasks.spawn(done(sampler::book(store, state, self.live.clone(), shutdown.clone())));
        if self.manager.is_there() {
            tasks.spawn(done(self.watchdog().run(shutdown.clone())));
        }
        if let Some(log) = self.kernel_log() {
            tasks.spawn(done(log.run(shutdown.clone())));
        }
        let (counter, state) = (Arc::clone(&self.connections), Arc::clone(&self.state));
        tasks.spawn(done(connections::reconcile(counter, state, shutdown.clone())));
        let calls = CallFigures::default();
        let requests = self.http.as_ref().map(|_| RequestFigures::default());
        if let Some(listener) = self.metrics.take() {
            let source = self.metrics_source(calls.clone(), requests.clone());
            tasks.spawn(done(metrics::serve(listener, source, shutdown.clone())));
        }
        let follower = self.follower();
        if let Some(watcher) = self.watcher.take() {
            tasks.spawn(done(follower.run(watcher, shutdown.clone())));
        }
        if let Some((listener, requests)) = self.http.take().zip(requests) {
            tasks.spawn(done(self.gateway(
                listener,
                services.clone(),
                requests,
                shutdown.clone(),
            )));
        }
        for certificate in [&self.certificates.http, &self.certificates.grpc].into_iter().flatten() {
            tasks.spawn(done(certificate.clone().follow(shutdown.clone())));
        }
        if let Some(listeners) = self.grpc.take() {
            let protection = grpc::Protection {
                api_key: self.api_key.clone(),
                tls: self.certificates.grpc.clone(),
                connections_max: self.config.grpc.connections_max,
                failed_keys: Arc::clone(&self.failed_keys),
            };
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                let served = grpc::serve(listeners, services, health, protection, calls, shutdown).await;
                served.context("the gRPC server failed")
            });
        }
        tasks
    }

    fn watchdog(&self) -> Watchdog {
        Watchdog {
            manager: self.manager,
            store: Arc::clone(&self.store),
            rates: Arc::clone(&self.rates),
            state: Arc::clone(&self.state),
            reconciler: self.reconciler.clone(),
            live: self.live.clone(),
        }
    }

    fn reloader(&self, restart: &Arc<Restart>) -> Reloader {
        Reloader {
            restart: Arc::clone(restart),
            live: self.live.clone(),
            store: Arc::clone(&self.store),
            reconciler: self.reconciler.clone(),
            network: self.network.clone(),
            failed_keys: Arc::clone(&self.failed_keys),
            gateway: self.gateway.clone(),
            telemetry: self.telemetry.clone(),
            manager: self.manager,
        }
    }

    /// Whether and how visited domains are recorded.
    fn recording(&self) -> Recording {
        Recording {
            store: Arc::clone(&self.store),
            is_enabled: self.config.xray.access_log,
            configuration: self.config.xray_configuration(),
            own_file: access_log::path_in(&self.config.agent.data_dir),
            interval: Duration::from_secs(self.config.ledger.commit_interval_seconds),
            retention_days: self.config.xray.access_log_retention_days,
        }
    }

    /// What the kernel programs tell, where that is wanted.
    fn kernel_log(&self) -> Option<KernelLog> {
        if !self.config.capture.kernel_log {
            return None;
        }
        let taken = self.lock_kernel().take_log();
        taken
            .inspect_err(|error| tracing::warn!(%error, "the kernel programs' log cannot be read"))
            .ok()
    }

    /// REST over the services of this process.
    fn gateway(
        &mut self,
        listener: TcpListener,
        services: Services,
        requests: RequestFigures,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let panel_auth = self.config.http.panel_auth;
        if panel_auth == PanelAuth::Open {
            tracing::warn!("the panel's routes answer without the API key");
        }
        let local = LocalServices::default()
            .with_lists(services.history, services.traffic)
            .with(services.keys)
            .with(services.ports)
            .with(services.system)
            .with(services.xray)
            .with(services.backups)
            .with(services.events)
            .with(services.settings)
            .with(services.collector)
            .with(services.checks)
            .with(services.domains);
        let backend = Backend::in_process(&local).expect("every service is given");
        let http = &self.config.http;
        let listen = listener.local_addr().unwrap_or(http.listen);
        let config = LiveConfig::from(GatewayConfig::of(http, self.api_key.clone(), listen));
        self.gateway = Some(config.clone());
        let server = Server {
            listener,
            router: portmeter_gateway::measured_router(backend, config, requests),
            tls: self.certificates.http.clone(),
            limits: http.limits(),
        };
        server.run(shutdown)
    }

    /// The last booking. When the programs are to go, they go first, so that it is the last word.
    async fn finish(&self, ending: Ending) -> Result<()> {
        if !self.detach_on_exit || ending == Ending::Restart {
            let closed = self.store.close().await;
            return closed.context("the last booking failed; the next start makes up for it");
        }
        self.lock_kernel().detach_all();
        let closed = self.store.close().await;
        closed.context("the last booking failed; the pinned counters stay for the next start")?;
        self.lock_kernel().remove_pins();
        Ok(())
    }

    fn lock_kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().expect("nothing panics while it holds this lock")
    }
}

/// A task that cannot fail.
async fn done(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}

/// Lets running calls finish, and changes whose callers have gone, for as long as that is bearable.
async fn drain(tasks: &mut JoinSet<Result<()>>, changes: &Changes) {
    let all = async {
        while tasks.join_next().await.is_some() {}
        changes.finished().await;
    };
    if tokio::time::timeout(DRAIN_LIMIT, all).await.is_err() {
        tracing::warn!(
            "some calls did not finish in {} s and are cut off",
            DRAIN_LIMIT.as_secs()
        );
        tasks.shutdown().await;
    }
}

/// The server as a whole and each service, as gRPC's health protocol names them.
async fn set_health(reporter: &HealthReporter, status: ServingStatus) {
    let names = [
        "",
        key_service_server::SERVICE_NAME,
        traffic_service_server::SERVICE_NAME,
        history_service_server::SERVICE_NAME,
        port_service_server::SERVICE_NAME,
        system_service_server::SERVICE_NAME,
        xray_service_server::SERVICE_NAME,
        backup_service_server::SERVICE_NAME,
        event_service_server::SERVICE_NAME,
        settings_service_server::SERVICE_NAME,
        collector_service_server::SERVICE_NAME,
        check_service_server::SERVICE_NAME,
        domain_service_server::SERVICE_NAME,
    ];
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}
