//! The servers of the stores, started on free ports for the time of a benchmark.

#![allow(dead_code, reason = "no benchmark needs all of it")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// A server that dies with this program.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn redis() -> Self {
        let arguments = ["--save", "", "--bind", "127.0.0.1"];
        Self::start("redis-server", &arguments, "--port")
    }

    /// It keeps at most 64 MiB, or `megabytes`.
    pub(crate) fn memcached(megabytes: Option<usize>) -> Self {
        let memory = megabytes.unwrap_or(64).to_string();
        let arguments = ["-l", "127.0.0.1", "-u", "root", "-c", "4096", "-m", &memory];
        Self::start("memcached", &arguments, "-p")
    }

    /// Starts `program`, which takes its port after the argument `port`.
    fn start(program: &str, arguments: &[&str], port: &str) -> Self {
        let free = free_port();
        let child = Command::new(program)
            .args(arguments)
            .args([port, &free.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        while TcpStream::connect(("127.0.0.1", free)).is_err() {
            std::thread::yield_now();
        }
        Self { child, port: free }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port of this machine that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    listener.local_addr().expect("it has an address").port()
}
