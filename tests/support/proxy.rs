//! A wire between a client and a server that delays, loses, or is cut, as the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// It listens on a port of its own and passes on what comes, both ways. It ends with the test's
/// process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    /// New connections are as dead as the old ones.
    loses: AtomicBool,
    /// Milliseconds that each answer waits.
    delay: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Nothing arrives any more, and nobody is told.
    dead: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let wire = Arc::new(Wire::default());
        let own = listener.local_addr().expect("it has one").port();
        let accepting = Arc::clone(&wire);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is down is one that hangs up.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    accepting.join(client, server);
                }
            }
        });
        Self { port: own, wire }
    }

    /// From now on nothing arrives, on the connections that there are and on new ones.
    pub(crate) fn lose(&self) {
        self.wire.loses.store(true, Ordering::SeqCst);
        for connection in &*self.wire.connections.lock().unwrap() {
            connection.dead.store(true, Ordering::SeqCst);
        }
    }

    /// New connections work again; those that lost something stay dead.
    pub(crate) fn heal(&self) {
        self.wire.loses.store(false, Ordering::SeqCst);
        self.delay(Duration::ZERO);
    }

    /// Every answer waits so long.
    pub(crate) fn delay(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("it is short");
        self.wire.delay.store(millis, Ordering::SeqCst);
    }

    /// Cuts all connections; new ones work.
    pub(crate) fn cut(&self) {
        for connection in self.wire.connections.lock().unwrap().drain(..) {
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket can be set so");
        }
        let dead = Arc::new(AtomicBool::new(self.loses.load(Ordering::SeqCst)));
        for answers in [false, true] {
            let (from, to) = match answers {
                false => (&client, &server),
                true => (&server, &client),
            };
            let (from, to) = (from.try_clone(), to.try_clone());
            let (from, to) = (from.expect("a socket"), to.expect("a socket"));
            let (wire, dead) = (Arc::clone(self), Arc::clone(&dead));
            thread::spawn(move || wire.pass_on(from, to, &dead, answers));
        }
        let connection = Connection {
            client,
            server,
            dead,
        };
        self.connections.lock().unwrap().push(connection);
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream, dead: &AtomicBool, answers: bool) {
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let delay = self.delay.load(Ordering::SeqCst);
            if answers && delay > 0 {
                thread::sleep(Duration::from_millis(delay));
            }
            if dead.load(Ordering::SeqCst) {
                continue;
            }
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        if !dead.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        }
    }
}
