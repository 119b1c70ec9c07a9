//! Real Memcached servers on free ports; they die with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use super::process::{Process, free_port, wait_until};

/// A server, which loses all items when it ends.
pub(crate) struct Memcached {
    process: Process,
    pub(crate) port: u16,
    arguments: Vec<String>,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts it with more arguments, such as `["-m", "1"]`.
    pub(crate) fn with(more: &[&str]) -> Self {
        let arguments: Vec<String> = more.iter().copied().map(str::to_owned).collect();
        loop {
            let port = free_port();
            let mut process = launch(port, &arguments);
            // Another test may have taken the port first.
            if listens(&mut process, port) {
                return Self {
                    process,
                    port,
                    arguments,
                };
            }
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again on its port, with nothing in it.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(self.port, &self.arguments);
        assert!(
            listens(&mut self.process, self.port),
            "memcached does not start again"
        );
    }

    /// Sends it a line, and returns the lines of its response up to one that begins with `end`.
    pub(crate) fn ask(&self, line: &str, end: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it is there");
        write!(stream, "{line}\r\n").expect("it listens");
        let lines = BufReader::new(stream)
            .lines()
            .map(|line| line.expect("it responds"));
        let mut response = Vec::new();
        for line in lines {
            let last = line.starts_with(end);
            response.push(line);
            if last {
                break;
            }
        }
        response
    }

    /// Returns how many commands about items it received: loads, and changes.
    pub(crate) fn commands(&self) -> (u64, u64) {
        let stats = self.ask("stats", "END");
        let count = |name: &str| -> u64 {
            let start = format!("STAT {name} ");
            let line = stats.iter().find_map(|line| line.strip_prefix(&start));
            line.expect("it counts that")
                .trim()
                .parse()
                .expect("a number")
        };
        let changes = count("cmd_set") + count("delete_hits") + count("delete_misses");
        (count("cmd_get"), changes)
    }
}

fn launch(port: u16, arguments: &[String]) -> Process {
    // Even a killed test does not leave it behind.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "memcached", "-u", "root"])
        .args(["-l", "127.0.0.1", "-p", &port.to_string()])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command)
}

/// Waits until the server listens; `false` if it ended instead.
fn listens(process: &mut Process, port: u16) -> bool {
    let mut ended = false;
    wait_until("the server listens", || {
        ended = process.has_ended();
        ended || process.listens_on(port)
    });
    !ended
}
