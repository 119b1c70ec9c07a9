//! One server of the pool, with its idle connections and the CAS of its items.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use memcache::exp::Error as Cause;
use parking_lot::Mutex;
use rocket::tokio::net::lookup_host;
use rocket::tokio::sync::{OnceCell, Semaphore};

use super::cas::CasCache;
use super::connection::Connection;

/// One server of the pool.
pub(super) struct Node {
    /// Resolved at the first call.
    addresses: OnceCell<Vec<SocketAddr>>,
    idle: Mutex<Vec<Connection>>,
    /// Limits the number of connections.
    pub(super) permits: Semaphore,
    /// How many connections were opened.
    opened: AtomicU64,
    pub(super) cas: Mutex<CasCache>,
}

impl Node {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            addresses: OnceCell::new(),
            idle: Mutex::default(),
            permits: Semaphore::new(connections),
            opened: AtomicU64::new(0),
            cas: Mutex::default(),
        }
    }

    /// Returns how many connections were opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Returns an idle connection, if there is one that works.
    pub(super) fn idle(&self) -> Option<Connection> {
        loop {
            let connection = self.idle.lock().pop()?;
            if !connection.is_open() {
                // The others have most likely been closed for the same reason.
                self.close_idle(self.opened());
            } else if !connection.is_too_old() {
                return Some(connection);
            }
        }
    }

    pub(super) fn put_back(&self, connection: Connection) {
        let connection = connection.idle();
        self.idle.lock().push(connection);
    }

    /// Closes the idle ones of the first `opened` connections.
    pub(super) fn close_idle(&self, opened: u64) {
        self.idle
            .lock()
            .retain(|connection| connection.number > opened);
    }

    /// Opens a connection to the server at `address`.
    pub(super) async fn connect(&self, address: &str) -> Result<Connection, Cause> {
        let resolve = async || lookup_host(address).await.map(Iterator::collect);
        let addresses: &Vec<_> = self.addresses.get_or_try_init(resolve).await?;
        // A connection is counted once it is open. A CAS that is requested later comes from the same
        // run of the server, or is not sent over this connection.
        Connection::open(addresses, || self.opened.fetch_add(1, Ordering::SeqCst) + 1).await
    }
}
