//! A small client of HTTP: one connection, kept alive, of one visitor.

use std::process::{Child, Command};
use std::time::Duration;

use rocket::tokio::io::{AsyncReadExt, AsyncWriteExt};
use rocket::tokio::net::TcpStream;
use rocket::tokio::time::sleep;

use crate::server::free_port;

/// The process that serves the application. It dies with this program.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
}

impl Process {
    /// Starts the application on the store at `address`, and waits until it serves.
    pub(crate) async fn start(address: &str) -> Self {
        let port = free_port();
        let program = std::env::current_exe().expect("a program knows where it is");
        let child = Command::new(program)
            .args(["serve", address, &port.to_string()])
            .spawn()
            .expect("this program starts again");
        let mut process = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let ended = process.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the application did not launch");
            sleep(Duration::from_millis(10)).await;
        }
        process
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    response: Vec<u8>,
    /// The header with the visitor's cookie, once there is one.
    cookie: String,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = stream.expect("the server is there");
        stream.set_nodelay(true).expect("it can be set");
        Self {
            stream,
            response: Vec::new(),
            cookie: String::new(),
        }
    }

    /// Sends a request, and returns whether it succeeded.
    pub(crate) async fn get(&mut self, path: &str) -> bool {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{}\r\n", self.cookie);
        let sent = self.stream.write_all(request.as_bytes()).await;
        sent.expect("the server is there");
        self.response.clear();
        loop {
            let read = self.stream.read_buf(&mut self.response).await;
            assert!(read.expect("it responds") > 0, "the server hung up");
            if let Some((head, _)) = parts(&self.response) {
                if self.cookie.is_empty()
                    && let Some(cookie) = header(head, "set-cookie")
                {
                    let cookie = cookie.split(';').next().unwrap_or(cookie);
                    self.cookie = format!("Cookie: {cookie}\r\n");
                }
                return head.starts_with("HTTP/1.1 200");
            }
        }
    }

    /// Sends a request that must succeed, and returns the response as a number.
    pub(crate) async fn number(&mut self, path: &str) -> u64 {
        assert!(self.get(path).await, "{path} failed");
        let (_, body) = parts(&self.response).expect("it is complete");
        body.parse().unwrap_or(0)
    }
}

/// Returns head and body of a response that is complete.
fn parts(response: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(response).expect("it is text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = header(head, "content-length").map_or(0, |n| n.parse().expect("it is a number"));
    (body.len() >= length).then_some((head, body))
}

fn header<'r>(head: &'r str, name: &str) -> Option<&'r str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}
