//! Serving the services: TCP for those who have the API key, the unix socket for its owner.

use portmeter_proto::FILE_DESCRIPTOR_SET;
use portmeter_proto::api_key::ApiKey;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::Services;
use super::auth::RequireApiKey;

/// The sockets, bound before anything was changed.
pub struct Listeners {
    /// For clients that have the API key.
    pub tcp: TcpListener,
    /// For the user who runs the agent.
    pub unix: UnixListener,
}

/// Serves until `shutdown`, then lets running calls finish.
pub async fn serve<H: Health>(
    listeners: Listeners,
    services: Services,
    health: HealthServer<H>,
    api_key: ApiKey,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let with_key = Server::builder()
        .tcp_nodelay(true)
        .layer(InterceptorLayer::new(RequireApiKey(api_key)));
    let tcp = routes(with_key, services.clone(), health.clone()).serve_with_incoming_shutdown(
        TcpListenerStream::new(listeners.tcp),
        shutdown.clone().cancelled_owned(),
    );
    let unix = routes(Server::builder(), services, health)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listeners.unix), shutdown.cancelled_owned());
    tokio::try_join!(tcp, unix)?;
    Ok(())
}

fn routes<L: Clone, H: Health>(mut server: Server<L>, services: Services, health: HealthServer<H>) -> Router<L> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let well_formed = "the committed descriptors are well formed";
    server
        .add_service(health)
        .add_service(v1.expect(well_formed))
        // What grpcio's reflection client still asks for.
        .add_service(v1alpha.expect(well_formed))
        .add_service(services.keys)
        .add_service(services.traffic)
        .add_service(services.history)
        .add_service(services.ports)
        .add_service(services.system)
        .add_service(services.xray)
        .add_service(services.backups)
}
