//! Real processes: programs of this project that a test starts and ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Returns a cargo command for this project, as a shell would start it.
///
/// The environment of a test contains variables that cargo sets for the package. Build scripts that read them
/// would run again, here and at the next build of the tests: `ring`, and all crates that need it.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Returns the path of an example of this project. Builds it if necessary.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        // If a test is run alone, the examples are not built.
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--examples"]);
        cargo.args(["--no-default-features", "--features", &features()]);
        assert!(
            cargo.status().expect("cargo runs").success(),
            "the examples do not build"
        );
    });
    let mut path = std::env::current_exe().expect("a program knows where it is");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

/// Returns the features of these tests: the examples have the same.
fn features() -> String {
    let all = [
        ("redis", cfg!(feature = "redis")),
        ("memcached", cfg!(feature = "memcached")),
        ("postgres", cfg!(feature = "postgres")),
        ("mysql", cfg!(feature = "mysql")),
        ("sqlite", cfg!(feature = "sqlite")),
        ("perl", cfg!(feature = "perl")),
        ("import", cfg!(feature = "import")),
        ("metrics", cfg!(feature = "metrics")),
        ("cli", cfg!(feature = "cli")),
    ];
    let on = all.iter().filter(|(_, is_on)| *is_on);
    on.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// The argument before those of a program.
const ARGUMENTS: &str = "arguments-of-the-program";

/// Returns the command that starts the program `test`, which is an ignored test of this binary.
///
/// The test harness takes the arguments that follow for names of tests, which do not exist.
pub(crate) fn program(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it is"));
    command.args([
        "--ignored",
        "--exact",
        "--quiet",
        "--nocapture",
        test,
        ARGUMENTS,
    ]);
    command
}

/// Runs `main` with its arguments and exits, if this process was started as a [`program`].
pub(crate) fn run_program(main: impl FnOnce(&[String])) {
    let mut arguments = std::env::args().skip_while(|argument| argument != ARGUMENTS);
    if arguments.next().is_some() {
        main(&arguments.collect::<Vec<_>>());
        std::process::exit(0);
    }
}

/// A process that dies with the test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?} does not start: {error}")),
        )
    }

    /// Kills it, as `kill -9` does, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Sends it a signal by name. After `STOP` all of its threads are stopped.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            sent.expect("kill runs").success(),
            "there is no process to send {name}"
        );
        let asked = Instant::now();
        while name == "STOP" && !self.is_stopped() {
            assert!(asked.elapsed() < Duration::from_secs(20), "it goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns whether all of its threads are stopped by a signal.
    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id()));
        let mut threads = threads.expect("it runs").filter_map(Result::ok);
        threads.all(|thread| {
            // The name, in brackets, may hold spaces.
            let line = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = line.rsplit_once(") ").map(|(_, rest)| rest);
            state.is_none_or(|state| state.starts_with(['T', 'Z']))
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns whether it listens on `port` of 127.0.0.1: this process, and not another one that took
    /// the port first.
    pub(crate) fn listens_on(&self, port: u16) -> bool {
        const LISTENING: &str = "0A";
        let local = format!("0100007F:{port:04X}");
        let sockets = fs::read_to_string("/proc/net/tcp").expect("Linux tells its sockets");
        let inode = sockets.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let found = fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&LISTENING);
            found.then(|| fields[9].to_owned())
        });
        let Some(socket) = inode.map(|inode| format!("socket:[{inode}]")) else {
            return false;
        };
        let files = fs::read_dir(format!("/proc/{}/fd", self.id()));
        let mut files = files.into_iter().flatten().flatten();
        files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*socket))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it was started").is_some()
    }

    /// Waits until it ends, and returns whether it succeeded.
    pub(crate) fn wait(&mut self) -> bool {
        self.0.wait().expect("it was started").success()
    }

    pub(crate) fn stdout(&mut self) -> impl BufRead + use<> {
        BufReader::new(self.0.stdout.take().expect("its output is piped"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs the worker, whose last line of output is a number, to its end.
pub(crate) fn worker(act: &str, directory: &Path, id: &str, times: u64) -> Command {
    let mut command = program("programs::worker");
    command
        .arg(act)
        .arg(directory)
        .args([id, &times.to_string()])
        .stdout(Stdio::piped());
    command
}

/// An application on a free port of this machine: an example of this project, or a program of the
/// tests.
pub(crate) struct Server {
    process: Process,
    origin: String,
    log: std::sync::Arc<Mutex<String>>,
}

impl Server {
    /// Starts an application with the given `ROCKET_` settings (an empty one is not set), in a
    /// directory of its own so that it reads no `Rocket.toml`.
    pub(crate) fn start(name: &str, directory: &Path, settings: &[(&str, &str)]) -> Self {
        Self::try_start(name, directory, settings)
            .unwrap_or_else(|log| panic!("{name} does not launch:\n{log}"))
    }

    /// As [`start`](Self::start). Returns its output if it does not launch.
    pub(crate) fn try_start(
        name: &str,
        directory: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        let command = match name {
            "crowd" | "shared" => program(&format!("programs::{name}")),
            _ => Command::new(example(name)),
        };
        Self::launch(command, directory, settings)
    }

    /// The same for the application that `command` starts.
    pub(crate) fn launch(
        mut command: Command,
        directory: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        command
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .env("ROCKET_PORT", "0")
            .env("ROCKET_CLI_COLORS", "false");
        command.env(
            "ROCKET_SECRET_KEY",
            "hPRYyVRiMyxpw5sBB1XeCMN1kFsDCqKvBi2QJxBVHQk=",
        );
        for (name, value) in settings {
            match *value {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        let mut child = command.spawn().expect("the application is built");
        let log = std::sync::Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let stderr = child.stderr.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        for output in [
            Box::new(stdout) as Box<dyn std::io::Read + Send>,
            Box::new(stderr),
        ] {
            let (log, sender) = (log.clone(), sender.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, origin)) = line.rsplit_once("launched from ") {
                        let _ = sender.send(origin.trim().to_owned());
                    }
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        drop(sender);
        let process = Process(child);
        match receiver.recv_timeout(Duration::from_secs(30)) {
            Ok(origin) => Ok(Self {
                process,
                origin,
                log,
            }),
            Err(_) => Err(log.lock().unwrap().clone()),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns its output so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a request with `cookie`, and returns status, `Set-Cookie` (its name and value) and
    /// body.
    pub(crate) fn get(&self, path: &str, cookie: Option<&str>) -> (u16, Option<String>, String) {
        self.send(path, cookie.map(|cookie| ("Cookie", cookie)))
    }

    /// The same, with any header.
    pub(crate) fn send(
        &self,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> (u16, Option<String>, String) {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let mut request = agent.get(self.url(path));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let mut response = request
            .call()
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        let set = response.headers().get_all("Set-Cookie").iter();
        let set = set
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .map(str::to_owned)
            .next();
        let body = response.body_mut().read_to_string().expect("it is text");
        (response.status().as_u16(), set, body)
    }
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it did not come to pass: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns a port that is free, like the second port that a node of a cluster takes.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = listener.local_addr().expect("it has one").port();
        if port < 50_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
