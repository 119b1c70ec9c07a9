//! A proxy between a client and a server that delays, loses, holds or cuts, as the test demands.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rocket::tokio::runtime::Builder;
use rocket_session_kit::testing::Gate;
use rustix::net::sockopt::set_tcp_cork;

/// It listens on its own port and forwards bytes both ways. It ends with the test's
/// process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    /// New connections are dead like the old ones.
    loses: AtomicBool,
    /// Milliseconds that each response waits.
    delay: AtomicU64,
    /// Bytes a second, both ways together; 0 is unlimited.
    bandwidth: AtomicU64,
    /// The time at which the bytes so far have passed.
    busy_until: Mutex<Option<Instant>>,
    /// The number of connections to cut at their next request, before it is forwarded.
    cut_at_requests: AtomicU64,
    /// The number of connections to cut at their next response, which is lost.
    cut_at_responses: AtomicU64,
    /// How often a client sent something after a response, or as the first.
    round_trips: AtomicU64,
    /// Requests that contain these bytes wait at the gate.
    held_requests: Held,
    /// Responses that contain these bytes wait at the gate, and are the last of their connection.
    held_responses: Held,
    connections: Mutex<Vec<Connection>>,
}

type Held = Mutex<Option<(Vec<u8>, Gate)>>;

struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Nothing arrives any more, and neither side notices.
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
                // A server that is down closes the connection.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    accepting.join(client, server);
                }
            }
        });
        Self { port: own, wire }
    }

    /// From now on nothing arrives, on existing connections and on new ones.
    pub(crate) fn lose(&self) {
        self.wire.loses.store(true, Ordering::SeqCst);
        for connection in &*self.wire.connections.lock().unwrap() {
            connection.dead.store(true, Ordering::SeqCst);
        }
    }

    /// New connections work again; those that lost bytes stay dead.
    pub(crate) fn heal(&self) {
        self.wire.loses.store(false, Ordering::SeqCst);
        self.delay(Duration::ZERO);
        self.bandwidth(0);
        self.wire.cut_at_requests.store(0, Ordering::SeqCst);
        self.wire.cut_at_responses.store(0, Ordering::SeqCst);
    }

    /// Delays every response by this time.
    pub(crate) fn delay(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("it is short");
        self.wire.delay.store(millis, Ordering::SeqCst);
    }

    /// Limits all connections together to this many bytes a second; 0 is unlimited.
    pub(crate) fn bandwidth(&self, bytes: u64) {
        self.wire.bandwidth.store(bytes, Ordering::SeqCst);
    }

    /// Cuts all connections; new ones work.
    pub(crate) fn cut(&self) {
        for connection in self.wire.connections.lock().unwrap().drain(..) {
            connection.cut();
        }
    }

    /// Loses the next requests, and cuts their connections.
    pub(crate) fn cut_at_requests(&self, count: u64) {
        self.wire.cut_at_requests.store(count, Ordering::SeqCst);
    }

    /// Forwards the next requests, loses their responses, and cuts their connections.
    pub(crate) fn cut_at_responses(&self, count: u64) {
        self.wire.cut_at_responses.store(count, Ordering::SeqCst);
    }

    /// Returns how often a client has sent something and waited for the response.
    pub(crate) fn round_trips(&self) -> u64 {
        self.wire.round_trips.load(Ordering::SeqCst)
    }

    /// Makes every request that contains `bytes` wait at the returned gate.
    pub(crate) fn hold(&self, bytes: &[u8]) -> Gate {
        hold(&self.wire.held_requests, bytes)
    }

    /// Makes every response that contains `bytes` wait at the returned gate. Its connection ends with
    /// it, so the client notices as soon as it has the response.
    pub(crate) fn hold_last_response(&self, bytes: &[u8]) -> Gate {
        hold(&self.wire.held_responses, bytes)
    }
}

fn hold(held: &Held, bytes: &[u8]) -> Gate {
    let gate = Gate::new();
    *held.lock().unwrap() = Some((bytes.to_vec(), gate.clone()));
    gate
}

/// Returns the gate at which `bytes` wait, if there is one.
fn gate_of(held: &Held, bytes: &[u8]) -> Option<Gate> {
    let held = held.lock().unwrap();
    let (wanted, gate) = held.as_ref()?;
    let mut parts = bytes.windows(wanted.len());
    parts.any(|part| part == wanted).then(|| gate.clone())
}

impl Connection {
    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Wire {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket can be set so");
        }
        let dead = Arc::new(AtomicBool::new(self.loses.load(Ordering::SeqCst)));
        let sends = Arc::new(AtomicBool::new(false));
        for responses in [false, true] {
            let (from, to) = match responses {
                false => (&client, &server),
                true => (&server, &client),
            };
            let (from, to) = (from.try_clone(), to.try_clone());
            let (from, to) = (from.expect("a socket"), to.expect("a socket"));
            let (wire, dead) = (Arc::clone(self), Arc::clone(&dead));
            let sends = Arc::clone(&sends);
            thread::spawn(move || wire.pass_on(from, to, &dead, &sends, responses));
        }
        let connection = Connection {
            client,
            server,
            dead,
        };
        self.connections.lock().unwrap().push(connection);
    }

    fn pass_on(
        &self,
        mut from: TcpStream,
        mut to: TcpStream,
        dead: &AtomicBool,
        sends: &AtomicBool,
        responses: bool,
    ) {
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if !sends.swap(!responses, Ordering::SeqCst) && !responses {
                self.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            let delay = self.delay.load(Ordering::SeqCst);
            if responses && delay > 0 {
                thread::sleep(Duration::from_millis(delay));
            }
            if dead.load(Ordering::SeqCst) {
                continue;
            }
            let cuts = match responses {
                false => &self.cut_at_requests,
                true => &self.cut_at_responses,
            };
            let one_less = |left: u64| left.checked_sub(1);
            if cuts
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
            {
                break;
            }
            let gate = match responses {
                false => gate_of(&self.held_requests, &bytes[..read]),
                true => gate_of(&self.held_responses, &bytes[..read]),
            };
            if let Some(gate) = &gate {
                let runtime = Builder::new_current_thread().build();
                runtime.expect("it needs nothing").block_on(gate.pass());
            }
            if responses && gate.is_some() {
                // The response and the end arrive together.
                set_tcp_cork(&to, true).expect("a socket can be set so");
                let _ = to.write_all(&bytes[..read]);
                break;
            }
            if self.carry(&mut to, &bytes[..read]).is_err() {
                break;
            }
        }
        if !dead.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        }
    }

    /// Forwards bytes, a few at a time if they share a slow line with others.
    fn carry(&self, to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        let bandwidth = self.bandwidth.load(Ordering::SeqCst);
        if bandwidth == 0 {
            return to.write_all(bytes);
        }
        for part in bytes.chunks(4096) {
            let takes = Duration::from_nanos(part.len() as u64 * 1_000_000_000 / bandwidth);
            let mut busy = self.busy_until.lock().unwrap();
            let now = Instant::now();
            let through = busy.unwrap_or(now).max(now) + takes;
            *busy = Some(through);
            drop(busy);
            thread::sleep(through - now);
            to.write_all(part)?;
        }
        Ok(())
    }
}
