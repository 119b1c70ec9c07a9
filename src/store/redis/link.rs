//! The way to the server: connections that are made when they are needed, and dropped when they
//! are of no more use.

use std::convert::Infallible;
use std::error::Error as _;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, TlsCertificates,
    Value,
};
use rocket::futures::future::select_ok;
use rocket::tokio;
use rocket::tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

/// Where the servers are, and how to talk to them.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) servers: Servers,
    /// Certificates in PEM, to be trusted instead of the system's.
    pub(super) ca: Option<Vec<u8>>,
    /// For one call.
    pub(super) timeout: Duration,
}

/// Which server to talk to.
#[derive(Clone)]
pub(super) enum Servers {
    One(ConnectionInfo),
    /// A cluster, by some of its nodes.
    Cluster(Vec<ConnectionInfo>),
    /// Whatever the sentinels say is the master.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        /// User, password and database of the master; its host is the master's name.
        master: ConnectionInfo,
    },
}

/// Whether a command may be sent again when the connection broke before the answer came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

/// What holds the connection that all requests share.
pub(super) struct Link {
    settings: Settings,
    current: Mutex<Option<Live>>,
    /// Held by whoever makes a connection, so that the others wait for that one.
    dialing: tokio::sync::Mutex<()>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) value: Value,
    /// The command was sent before, over a connection that broke, so that it may have been carried
    /// out twice.
    pub(super) repeated: bool,
}

/// A connection, and whether it is known to be of no more use.
#[derive(Clone)]
struct Live {
    connection: Connection,
    broken: Arc<AtomicBool>,
    /// Ends the task that looks after the runtime, with the last copy of this.
    _held: Arc<oneshot::Sender<Infallible>>,
}

/// Says that a connection is of no more use when it is dropped.
struct Breaks(Arc<AtomicBool>);

impl Drop for Breaks {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// How often a command is sent at most.
const TRIES: usize = 3;

/// How long to wait before another try where the server refused the first.
const PAUSE: Duration = Duration::from_millis(20);

impl Link {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            current: Mutex::default(),
            dialing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.settings.servers, Servers::Cluster(_))
    }

    /// Sends a command, and returns its answer.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        act: &'static str,
        command: &Cmd,
        again: Again,
    ) -> Result<T> {
        self.raw(command, again)
            .await
            .and_then(|answer| Ok(redis::from_redis_value(answer.value)?))
            .map_err(|error| self.failure(act, &error))
    }

    /// As [`ask`](Self::ask), with the driver's answer or error.
    pub(super) async fn raw(&self, command: &Cmd, again: Again) -> RedisResult<Answer> {
        self.send(command, again, None).await
    }

    /// Sends a command that changes nothing to certain nodes of a cluster.
    pub(super) async fn route(
        &self,
        act: &'static str,
        command: &Cmd,
        to: RoutingInfo,
    ) -> Result<Value> {
        self.send(command, Again::Yes, Some(&to))
            .await
            .map(|answer| answer.value)
            .map_err(|error| self.failure(act, &error))
    }

    /// Sends a command, again where that may help and does no harm, within the time for one call.
    async fn send(
        &self,
        command: &Cmd,
        again: Again,
        to: Option<&RoutingInfo>,
    ) -> RedisResult<Answer> {
        let try_some = async {
            let (mut tries, mut repeated, mut ask_at) = (1, false, None);
            loop {
                let mut live = self.live().await?;
                let sent = match ask_at.take() {
                    None => live.connection.send(command, to).await,
                    Some(node) => live.connection.asking(command, node).await,
                };
                let error = match sent {
                    Ok(Value::ServerError(error)) => RedisError::from(error),
                    Ok(value) => return Ok(Answer { value, repeated }),
                    Err(error) => error,
                };
                if self.is_of_no_more_use(&error) {
                    self.discard(&live);
                }
                let refused = was_refused(&error);
                let dropped = error.is_connection_dropped();
                if tries == TRIES || !(refused || again == Again::Yes && dropped) {
                    return Err(error);
                }
                if refused {
                    ask_at = asked_at(&error);
                    // A cluster's map is being drawn anew, or the data is being loaded.
                    tokio::time::sleep(PAUSE).await;
                }
                repeated |= dropped;
                tries += 1;
            }
        };
        match tokio::time::timeout(self.settings.timeout, try_some).await {
            Ok(answer) => answer,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Returns the connection, and makes one first when there is none.
    async fn live(&self) -> RedisResult<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let _dialing = self.dialing.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let live = self.dial().await?;
        *self.current.lock() = Some(live.clone());
        Ok(live)
    }

    fn current(&self) -> Option<Live> {
        let current = self.current.lock();
        let live = current.as_ref()?;
        (!live.broken.load(Ordering::Acquire)).then(|| live.clone())
    }

    /// Forgets a connection, unless there is a newer one already.
    fn discard(&self, live: &Live) {
        let mut current = self.current.lock();
        let is_current = |current: &Live| Arc::ptr_eq(&current.broken, &live.broken);
        if current.as_ref().is_some_and(is_current) {
            *current = None;
        }
    }

    async fn dial(&self) -> RedisResult<Live> {
        let broken = Arc::new(AtomicBool::new(false));
        let connection = match &self.settings.servers {
            Servers::One(server) => Connection::One(self.connect(server, &broken).await?),
            Servers::Cluster(nodes) => Connection::Cluster(self.join(nodes).await?),
            Servers::Sentinel { sentinels, master } => {
                let master = self.master(sentinels, master).await?;
                Connection::One(self.connect(&master, &broken).await?)
            }
        };
        // A connection ends with the runtime that it was made in, which another may outlive.
        let (held, released) = oneshot::channel();
        let breaks = Breaks(Arc::clone(&broken));
        tokio::spawn(async move {
            let _breaks = breaks;
            let _ = released.await;
        });
        Ok(Live {
            connection,
            broken,
            _held: Arc::new(held),
        })
    }

    /// Connects to one server. `broken` becomes true as soon as the server hangs up.
    async fn connect(
        &self,
        server: &ConnectionInfo,
        broken: &Arc<AtomicBool>,
    ) -> RedisResult<MultiplexedConnection> {
        install_crypto(server);
        let client = match self.certificates() {
            Some(certificates) if is_tls(server) => {
                Client::build_with_tls(server.clone(), certificates)?
            }
            _ => Client::open(server.clone())?,
        };
        let broken = Arc::clone(broken);
        let hear = move |push: PushInfo| -> std::result::Result<(), Infallible> {
            if push.kind == PushKind::Disconnection {
                broken.store(true, Ordering::Release);
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connection_timeout()))
            .set_response_timeout(Some(self.response_timeout()))
            .set_push_sender(hear);
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn join(&self, nodes: &[ConnectionInfo]) -> RedisResult<ClusterConnection> {
        nodes.iter().for_each(install_crypto);
        let mut builder = ClusterClientBuilder::new(nodes.iter().cloned())
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(tcp())
            .connection_timeout(self.connection_timeout())
            .response_timeout(self.response_timeout())
            .overall_response_timeout(Some(self.settings.timeout))
            // It would send again also what must not be.
            .retries(0);
        if let Some(certificates) = self.certificates() {
            builder = builder.certs(certificates);
        }
        builder.build()?.get_async_connection().await
    }

    /// Asks all sentinels at once, for one may be dead or frozen, and returns the master that the
    /// first to answer names and that says itself that it is one.
    async fn master(
        &self,
        sentinels: &[ConnectionInfo],
        master: &ConnectionInfo,
    ) -> RedisResult<ConnectionInfo> {
        let asked = sentinels
            .iter()
            .map(|sentinel| Box::pin(self.master_by(sentinel, master)));
        select_ok(asked).await.map(|(server, _)| server)
    }

    async fn master_by(
        &self,
        sentinel: &ConnectionInfo,
        master: &ConnectionInfo,
    ) -> RedisResult<ConnectionInfo> {
        let mut connection = self.connect(sentinel, &Arc::default()).await?;
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
        let mut connection = self.connect(&server, &Arc::default()).await?;
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(server),
            // The sentinel has not noticed yet.
            _ => Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()),
        }
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        self.settings.ca.clone().map(|root_cert| TlsCertificates {
            client_tls: None,
            root_cert: Some(root_cert),
        })
    }

    fn connection_timeout(&self) -> Duration {
        self.settings.timeout / 2
    }

    /// A little less than a call may take, so that the connection is found out in time.
    fn response_timeout(&self) -> Duration {
        self.settings.timeout.mul_f64(0.9)
    }

    /// Returns whether another connection may do better.
    fn is_of_no_more_use(&self, error: &RedisError) -> bool {
        use ServerErrorKind::{MasterDown, ReadOnly};
        if self.is_cluster() {
            // It makes its connections to single nodes anew by itself.
            return error.kind() == redis::ErrorKind::ClusterConnectionNotFound;
        }
        // A master that lost its replicas may have been replaced by one of them.
        let is_replaced = error.code() == Some("NOREPLICAS")
            && matches!(self.settings.servers, Servers::Sentinel { .. });
        is_replaced
            || error.is_io_error()
            || error.is_unrecoverable_error()
            || matches!(
                error.kind(),
                redis::ErrorKind::Server(MasterDown | ReadOnly)
            )
    }

    /// Returns an error without anything that was sent or received.
    pub(super) fn failure(&self, act: &'static str, error: &RedisError) -> Error {
        let kind = match error.kind() {
            redis::ErrorKind::AuthenticationFailed | redis::ErrorKind::InvalidClientConfig => {
                ErrorKind::Config
            }
            _ if error.code() == Some("NOAUTH") || error.code() == Some("WRONGPASS") => {
                ErrorKind::Config
            }
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, act)
            .at(&self.settings.servers)
            .because(reason(error))
    }
}

/// Tells what went wrong, in words of our own: the driver's may quote a key or a value.
fn reason(error: &RedisError) -> String {
    use redis::ErrorKind as Kind;

    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    if error.is_connection_refusal() {
        return "the connection was refused; is the server running?".into();
    }
    match (error.kind(), error.code()) {
        (Kind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            "it refused the user or the password; check both in the URL".into()
        }
        (_, Some("OOM")) => "it has no memory left; see its `maxmemory`".into(),
        (_, Some("READONLY")) => "it is a replica, which nothing can be written to".into(),
        (_, Some("NOREPLICAS")) => {
            "it has not the replicas that its `min-replicas-to-write` asks for".into()
        }
        (_, Some("LOADING")) => "it is still loading its data".into(),
        (_, Some("NOPERM")) => "its user may not use a command that is needed".into(),
        (Kind::RESP3NotSupported, _) => "it is too old; Redis 6.2 or newer is needed".into(),
        (Kind::MasterNameNotFoundBySentinel, _) => "no sentinel knows a master of that name".into(),
        (Kind::ClusterConnectionNotFound, _) => "no node of the cluster can be reached".into(),
        (Kind::Io, _) => match tls_error(error) {
            Some(error) => format!("TLS failed: {error}"),
            None => "the connection was lost, or could not be made".into(),
        },
        (_, Some(code)) if code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            format!("it answered with the error {code}")
        }
        (Kind::InvalidClientConfig, _) => "the driver cannot use these settings".into(),
        _ => "it answered something that was not expected".into(),
    }
}

/// Returns what TLS found wrong, with a certificate perhaps.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let mut cause = error.source()?;
    loop {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        let inner = cause.downcast_ref::<std::io::Error>();
        cause = match inner.and_then(std::io::Error::get_ref) {
            Some(inner) => inner,
            None => cause.source()?,
        };
    }
}

/// Returns whether the server did nothing about a command but refuse it, and another may do it.
fn was_refused(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, Moved, ReadOnly, TryAgain};
    matches!(
        error.kind(),
        redis::ErrorKind::Server(Ask | BusyLoading | Moved | ReadOnly | TryAgain)
    ) || error.code() == Some("NOREPLICAS")
}

/// Returns the node that a cluster moves the key to.
fn asked_at(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    let is_ask = error.kind() == redis::ErrorKind::Server(ServerErrorKind::Ask);
    let (address, _) = error.redirect_node().filter(|_| is_ask)?;
    let (host, port) = address.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.into(),
        port: port.parse().ok()?,
    })
}

impl Connection {
    async fn send(&mut self, command: &Cmd, to: Option<&RoutingInfo>) -> RedisResult<Value> {
        match (self, to) {
            (Self::One(connection), _) => connection.req_packed_command(command).await,
            (Self::Cluster(connection), None) => connection.req_packed_command(command).await,
            (Self::Cluster(connection), Some(to)) => {
                connection.route_command(command.clone(), to.clone()).await
            }
        }
    }

    /// Sends a command to a node that a cluster is moving the key to.
    async fn asking(&mut self, command: &Cmd, node: SingleNodeRoutingInfo) -> RedisResult<Value> {
        let Self::Cluster(connection) = self else {
            return self.send(command, None).await;
        };
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore();
        pipeline.add_command(command.clone());
        let answers = connection.route_pipeline(pipeline, 0, 2, node).await?;
        Ok(answers.into_iter().next_back().unwrap_or(Value::Nil))
    }
}

/// Makes TLS work without a word from the application, unless it chose its cryptography itself.
fn install_crypto(server: &ConnectionInfo) {
    static ONCE: Once = Once::new();
    if is_tls(server) {
        ONCE.call_once(|| {
            // An error says that there is one already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
    }
}

/// Returns the host of an address; of a path, all of it.
fn host(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    }
}

fn is_tls(server: &ConnectionInfo) -> bool {
    matches!(server.addr(), ConnectionAddr::TcpTls { .. })
}

/// How connections notice that packets are lost on the way.
pub(super) fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(2));
    settings
}

impl fmt::Display for Servers {
    /// Hosts and ports only: a URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Cluster(nodes) => nodes,
            Self::Sentinel { sentinels, .. } => sentinels,
        };
        for (at, server) in some.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", server.addr())?;
        }
        Ok(())
    }
}
