//! New connections, by the driver: to one server, or to a cluster.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisResult, TlsCertificates,
};

use super::settings::{Settings, tcp};

/// Connects to one server. `broken` becomes true as soon as the server closes the connection.
pub(super) async fn connect(
    settings: &Settings,
    server: &ConnectionInfo,
    broken: &Arc<AtomicBool>,
) -> RedisResult<MultiplexedConnection> {
    install_crypto(server);
    let client = match certificates(settings) {
        Some(certificates) if is_tls(server) => {
            Client::build_with_tls(server.clone(), certificates)?
        }
        _ => Client::open(server.clone())?,
    };
    let broken = Arc::clone(broken);
    let on_push = move |push: PushInfo| -> Result<(), Infallible> {
        if push.kind == PushKind::Disconnection {
            broken.store(true, Ordering::Release);
        }
        Ok(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connection_timeout()))
        // Each command has its own time limit.
        .set_response_timeout(None)
        .set_push_sender(on_push);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Connects to a cluster.
pub(super) async fn connect_cluster(
    settings: &Settings,
    nodes: &[ConnectionInfo],
) -> RedisResult<ClusterConnection> {
    nodes.iter().for_each(install_crypto);
    let mut builder = ClusterClientBuilder::new(nodes.iter().cloned())
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(tcp())
        .connection_timeout(settings.connection_timeout())
        .response_timeout(settings.response_timeout())
        .overall_response_timeout(Some(settings.timeout))
        // The driver would also retry commands that must not be sent twice.
        .retries(0);
    if let Some(certificates) = certificates(settings) {
        builder = builder.certs(certificates);
    }
    builder.build()?.get_async_connection().await
}

fn certificates(settings: &Settings) -> Option<TlsCertificates> {
    settings.ca.clone().map(|root_cert| TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    })
}

/// Installs a cryptography provider for TLS, unless the application has chosen one itself.
fn install_crypto(server: &ConnectionInfo) {
    static ONCE: Once = Once::new();
    if is_tls(server) {
        ONCE.call_once(|| {
            // An error means that there is a provider already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
    }
}

fn is_tls(server: &ConnectionInfo) -> bool {
    matches!(server.addr(), ConnectionAddr::TcpTls { .. })
}
