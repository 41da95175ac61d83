//! Serving the services: TCP for those who have the API key, the unix socket for its owner.

use std::sync::Arc;
use std::time::Duration;

use portmeter_listener::tls::ServerTls;
use portmeter_listener::{Connections, FailedKeys, connections_that_fit};
use portmeter_proto::FILE_DESCRIPTOR_SET;
use portmeter_proto::api_key::ApiKey;
use portmeter_proto::reason::DETAILS_DESCRIPTOR_SET;
use portmeter_proto::v1::history_service_server::HistoryServiceServer;
use portmeter_proto::v1::traffic_service_server::TrafficServiceServer;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::Services;
use super::auth::RequireApiKey;
use super::calls::{CallFigures, CallsLayer};
use super::deadline::DeadlineLayer;
use super::incoming::incoming;

/// How often a quiet connection is asked whether the other side is still there, and how long it may take to say so.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest metadata of a call, in bytes; a key and a deadline take a hundred.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Most calls of one connection at a time, streams included.
const STREAMS_MAX: u32 = 256;

/// The sockets, bound before anything was changed.
pub struct Listeners {
    /// For clients that have the API key.
    pub tcp: TcpListener,
    /// For the user who runs the agent.
    pub unix: UnixListener,
}

/// What protects the services over TCP.
pub struct Protection {
    /// The key that callers send.
    pub api_key: ApiKey,
    /// TLS, where it is spoken.
    pub tls: Option<ServerTls>,
    /// Most connections at a time; beyond it those without the key make room.
    pub connections_max: usize,
    /// Wrong keys by address.
    pub failed_keys: Arc<FailedKeys>,
}

/// Serves until `shutdown`, then lets running calls finish. Each call is noted in `calls`.
pub async fn serve<H: Health>(
    listeners: Listeners,
    services: Services,
    health: HealthServer<H>,
    protection: Protection,
    calls: CallFigures,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let require_key = RequireApiKey::new(protection.api_key, protection.failed_keys);
    let with_key = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .layer(CallsLayer(calls.clone()))
        .layer(DeadlineLayer)
        .layer(InterceptorLayer::new(require_key));
    let connections = Connections::new(connections_that_fit(protection.connections_max));
    let incoming = incoming(listeners.tcp, protection.tls, connections, shutdown.clone());
    let tcp = routes(with_key, services.clone(), health.clone())
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let without_key = Server::builder().layer(CallsLayer(calls)).layer(DeadlineLayer);
    let unix = routes(without_key, services, health)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listeners.unix), shutdown.cancelled_owned());
    tokio::try_join!(tcp, unix)?;
    Ok(())
}

fn routes<L: Clone, H: Health>(mut server: Server<L>, services: Services, health: HealthServer<H>) -> Router<L> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(DETAILS_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let well_formed = "the committed descriptors are well formed";
    server
        .add_service(health)
        .add_service(v1.expect(well_formed))
        // What grpcio's reflection client still asks for.
        .add_service(v1alpha.expect(well_formed))
        .add_service(services.keys)
        .add_service(TrafficServiceServer::from_arc(services.traffic))
        .add_service(HistoryServiceServer::from_arc(services.history))
        .add_service(services.ports)
        .add_service(services.system)
        .add_service(services.xray)
        .add_service(services.backups)
        .add_service(services.events)
        .add_service(services.settings)
        .add_service(services.collector)
        .add_service(services.checks)
        .add_service(services.domains)
}
