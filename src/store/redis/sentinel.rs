//! The sentinels, which name the current master.

use std::io;
use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, RedisResult, Value};
use rocket::futures::future::select_ok;

use super::connect::connect;
use super::settings::Settings;

/// Returns the master.
///
/// It queries all sentinels at once, because one may be down or frozen. The first server that is
/// named by a sentinel, and that has the role of a master, wins.
pub(super) async fn find_master(
    settings: &Settings,
    sentinels: &[ConnectionInfo],
    master: &ConnectionInfo,
) -> RedisResult<ConnectionInfo> {
    let queries = sentinels
        .iter()
        .map(|sentinel| Box::pin(query(settings, sentinel, master)));
    select_ok(queries).await.map(|(server, _)| server)
}

/// Returns the master that one sentinel names.
async fn query(
    settings: &Settings,
    sentinel: &ConnectionInfo,
    master: &ConnectionInfo,
) -> RedisResult<ConnectionInfo> {
    let mut connection = connect(settings, sentinel, &Arc::default()).await?;
    let mut command = redis::cmd("SENTINEL");
    command
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(host(master.addr()));
    let Some((host, port)) = command.query_async(&mut connection).await? else {
        let unknown = redis::ErrorKind::MasterNameNotFoundBySentinel;
        return Err((unknown, "no such master").into());
    };
    let server = master.clone().set_addr(match master.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    });
    let mut connection = connect(settings, &server, &Arc::default()).await?;
    let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(server),
        // The sentinel has not noticed the fail-over yet.
        _ => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
    }
}

/// Returns the host of an address, or the whole path.
fn host(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    }
}
