//! The driver's errors: their text for the log, and what they mean for the next attempt.

use std::error::Error as _;

use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{RedisError, ServerErrorKind};

use super::settings::{Servers, Settings};
use crate::error::{Error, ErrorKind};

/// Returns an error that contains nothing that was sent or received.
pub(super) fn failure(settings: &Settings, act: &'static str, error: &RedisError) -> Error {
    let kind = match error.kind() {
        redis::ErrorKind::AuthenticationFailed | redis::ErrorKind::InvalidClientConfig => {
            ErrorKind::Config
        }
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => ErrorKind::Config,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, act)
        .at(&settings.servers)
        .because(reason(error))
}

/// Returns the cause in this crate's words: the driver's text may quote a key or a value.
fn reason(error: &RedisError) -> String {
    use redis::ErrorKind as Kind;

    if error.is_timeout() {
        return "it did not respond in time".into();
    }
    if error.is_connection_refusal() {
        return "the connection was refused; is the server running?".into();
    }
    match (error.kind(), error.code()) {
        (Kind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            "it refused the user or the password; check both in the URL".into()
        }
        (_, Some("OOM")) => "it has no memory left; see its `maxmemory`".into(),
        (_, Some("READONLY")) => "it is a replica, which accepts no writes".into(),
        (_, Some("NOREPLICAS")) => {
            "it has fewer replicas than its `min-replicas-to-write` demands".into()
        }
        (_, Some("LOADING")) => "it is still loading its data".into(),
        (_, Some("NOPERM")) => "its user lacks the right to a necessary command".into(),
        (Kind::RESP3NotSupported, _) => "it is too old; Redis 6.2 or newer is needed".into(),
        (Kind::MasterNameNotFoundBySentinel, _) => "no sentinel knows a master of that name".into(),
        (Kind::ClusterConnectionNotFound, _) => "no node of the cluster can be reached".into(),
        (Kind::Io, _) => match tls_error(error) {
            Some(error) => format!("TLS failed: {error}"),
            None => "the connection failed".into(),
        },
        (_, Some(code)) if code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            format!("it returned the error {code}")
        }
        (Kind::InvalidClientConfig, _) => "the driver cannot use these settings".into(),
        _ => "it returned an unexpected response".into(),
    }
}

/// Returns the error of TLS, perhaps about a certificate.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let mut cause = error.source()?;
    loop {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        let wrapped = cause.downcast_ref::<std::io::Error>();
        cause = match wrapped.and_then(std::io::Error::get_ref) {
            Some(wrapped) => wrapped,
            None => cause.source()?,
        };
    }
}

/// Returns whether the server refused a command without effect, and another attempt may succeed.
pub(super) fn was_refused(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, Moved, ReadOnly, TryAgain};
    matches!(
        error.kind(),
        redis::ErrorKind::Server(Ask | BusyLoading | Moved | ReadOnly | TryAgain)
    ) || error.code() == Some("NOREPLICAS")
}

/// Returns whether a new connection may work better.
pub(super) fn needs_reconnect(settings: &Settings, error: &RedisError) -> bool {
    use ServerErrorKind::{MasterDown, ReadOnly};
    if settings.is_cluster() {
        // The driver reconnects to single nodes by itself.
        return error.kind() == redis::ErrorKind::ClusterConnectionNotFound;
    }
    // One of the replicas may have taken the place of a master that lost them.
    let is_replaced =
        error.code() == Some("NOREPLICAS") && matches!(settings.servers, Servers::Sentinel { .. });
    is_replaced
        || error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            redis::ErrorKind::Server(MasterDown | ReadOnly)
        )
}

/// Returns the node that a cluster is moving the key to.
pub(super) fn ask_redirection(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    let is_ask = error.kind() == redis::ErrorKind::Server(ServerErrorKind::Ask);
    let (address, _) = error.redirect_node().filter(|_| is_ask)?;
    let (host, port) = address.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.into(),
        port: port.parse().ok()?,
    })
}
