//! One connection, to one server or to a cluster, which all requests share until it breaks.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, RedisResult, Value};
use rocket::tokio;
use rocket::tokio::sync::oneshot;

use super::connect::{connect, connect_cluster};
use super::sentinel::find_master;
use super::settings::{Servers, Settings};

/// An open connection. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    transport: Transport,
    broken: Arc<AtomicBool>,
    /// Ends the task that watches the runtime, when the last clone is dropped.
    _watch: Arc<oneshot::Sender<Infallible>>,
}

#[derive(Clone)]
enum Transport {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Marks a connection as broken when it is dropped.
struct BreakOnDrop(Arc<AtomicBool>);

impl Drop for BreakOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Connection {
    pub(super) async fn open(settings: &Settings) -> RedisResult<Self> {
        let broken = Arc::new(AtomicBool::new(false));
        let transport = match &settings.servers {
            Servers::Single(server) => Transport::Single(connect(settings, server, &broken).await?),
            Servers::Cluster(nodes) => Transport::Cluster(connect_cluster(settings, nodes).await?),
            Servers::Sentinel { sentinels, master } => {
                let master = find_master(settings, sentinels, master).await?;
                Transport::Single(connect(settings, &master, &broken).await?)
            }
        };
        // A connection works only as long as the runtime that opened it. Its clones may live longer,
        // in another runtime.
        let (watch, closed) = oneshot::channel();
        let break_on_drop = BreakOnDrop(Arc::clone(&broken));
        tokio::spawn(async move {
            let _break_on_drop = break_on_drop;
            let _ = closed.await;
        });
        Ok(Self {
            transport,
            broken,
            _watch: Arc::new(watch),
        })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Returns whether both are clones of one connection.
    pub(super) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.broken, &other.broken)
    }

    /// Sends a command, in a cluster perhaps to certain nodes.
    pub(super) async fn send(
        &mut self,
        command: &Cmd,
        routing: Option<&RoutingInfo>,
    ) -> RedisResult<Value> {
        match (&mut self.transport, routing) {
            (Transport::Single(connection), _) => connection.req_packed_command(command).await,
            (Transport::Cluster(connection), None) => connection.req_packed_command(command).await,
            (Transport::Cluster(connection), Some(routing)) => {
                let (command, routing) = (command.clone(), routing.clone());
                Box::pin(connection.route_command(command, routing)).await
            }
        }
    }

    /// Sends a command to the node that a cluster is moving the key to.
    pub(super) async fn send_asking(
        &mut self,
        command: &Cmd,
        node: SingleNodeRoutingInfo,
    ) -> RedisResult<Value> {
        let Transport::Cluster(connection) = &mut self.transport else {
            return self.send(command, None).await;
        };
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore();
        pipeline.add_command(command.clone());
        let responses = connection.route_pipeline(pipeline, 0, 2, node).await?;
        Ok(responses.into_iter().next_back().unwrap_or(Value::Nil))
    }
}
