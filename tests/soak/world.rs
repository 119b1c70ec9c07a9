//! The state that all visitors share: two applications on one store, the faults, and the findings.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::findings::Findings;
use crate::model::Model;
use crate::support::process::free_port;
use crate::support::process::{Process, program};

/// The number of faults that a history begins with.
const REMEMBERED: usize = 80;

pub(crate) struct World {
    pub(crate) findings: Findings,
    pub(crate) started: Instant,
    /// The number of events after which no session need exist.
    epoch: AtomicU64,
    /// The number of times that the clocks were set back by an hour.
    backs: AtomicU64,
    /// The number of times that an application was killed.
    kills: AtomicU64,
    pub(crate) over: AtomicBool,
    /// Each request holds it for reading. A writer waits until no request is in flight.
    pub(crate) stop: RwLock<()>,
    weather: Mutex<VecDeque<String>>,
    pub(crate) ports: [u16; 2],
    /// The offset of each application's clock in seconds.
    pub(crate) offsets: [AtomicI64; 2],
    /// Whether the applications renew ids by age, so that each request may renew the session.
    pub(crate) renews_by_age: bool,
    there: PathBuf,
    journals: Mutex<Journals>,
    agent: ureq::Agent,
    pub(crate) succeeded: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) settled: AtomicU64,
    /// The model of each visitor, to check the applications' journals.
    models: Mutex<HashMap<String, Arc<Mutex<Model>>>>,
}

/// The part of the applications' journals that was read.
#[derive(Default)]
struct Journals {
    read: [u64; 2],
    /// Each accepted token and each shown message, with its number of times.
    noted: HashMap<String, u32>,
}

impl World {
    pub(crate) fn new(there: PathBuf, renews_by_age: bool) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A request that is sent again after a broken connection would count twice.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(30)));
        Self {
            findings: Findings::default(),
            started: Instant::now(),
            epoch: AtomicU64::new(0),
            backs: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            over: AtomicBool::new(false),
            stop: RwLock::new(()),
            weather: Mutex::default(),
            ports: [free_port(), free_port()],
            offsets: [AtomicI64::new(0), AtomicI64::new(0)],
            renews_by_age,
            there,
            journals: Mutex::default(),
            agent: config.build().new_agent(),
            succeeded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            models: Mutex::default(),
        }
    }

    /// Adds a visitor.
    pub(crate) fn meet(&self, name: String, model: Arc<Mutex<Model>>) {
        self.models.lock().unwrap().insert(name, model);
    }

    /// Milliseconds since the beginning.
    pub(crate) fn millis(&self) -> u128 {
        self.started.elapsed().as_millis()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Records that all clocks are set back by an hour.
    pub(crate) fn set_back(&self) {
        self.backs.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn backs(&self) -> u64 {
        self.backs.load(Ordering::SeqCst)
    }

    /// Records that an application is killed. Called before and after it.
    pub(crate) fn kill(&self) {
        self.kills.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn kills(&self) -> u64 {
        self.kills.load(Ordering::SeqCst)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Records that all sessions may be lost. Called before and after it.
    pub(crate) fn disaster(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn forecast(&self, event: &str) {
        let mut weather = self.weather.lock().unwrap();
        weather.push_back(format!("{:8} {event}", self.millis()));
        if weather.len() > REMEMBERED {
            weather.pop_front();
        }
    }

    pub(crate) fn weather(&self) -> Vec<String> {
        self.weather.lock().unwrap().iter().cloned().collect()
    }

    /// Starts an application, which dies with this thread.
    pub(crate) fn launch(&self, app: usize, sessions: &str) -> Process {
        let (port, offset) = (self.ports[app], self.offsets[app].load(Ordering::SeqCst));
        let log = std::fs::File::create(self.there.join(format!("log-{app}")));
        let log = log.expect("there is room for a file");
        let application = program("application");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(application.get_program())
            .args(application.get_args())
            .current_dir(&self.there)
            .env("ROCKET_PORT", port.to_string())
            .env("ROCKET_CLI_COLORS", "false")
            .env("ROCKET_LOG_LEVEL", "critical")
            .env("ROCKET_WORKERS", "4")
            .env(
                "ROCKET_SECRET_KEY",
                "hPRYyVRiMyxpw5sBB1XeCMN1kFsDCqKvBi2QJxBVHQk=",
            )
            .env("ROCKET_SESSIONS", sessions)
            .env("SOAK_JOURNAL", self.journal(app))
            .env("SOAK_OFFSET", offset.to_string())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(Stdio::from(log));
        let mut process = Process::start(&mut command);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ask(app, "/busy/nobody").is_none() {
            let log = || std::fs::read_to_string(self.there.join(format!("log-{app}")));
            assert!(
                Instant::now() < deadline,
                "it does not launch, or does not respond:\n{}",
                log().unwrap_or_default()
            );
            if process.has_ended() {
                // On a busy machine the store may be too slow for it.
                process = Process::start(&mut command);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    fn journal(&self, app: usize) -> PathBuf {
        self.there.join(format!("journal-{app}"))
    }

    /// Sends a request to an application that is about no visitor's session.
    pub(crate) fn ask(&self, app: usize, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[app]);
        let mut response = self.agent.get(url).call().ok()?;
        let good = response.status().as_u16() == 200;
        let body = response.body_mut().read_to_string().ok()?;
        good.then_some(body)
    }

    /// The same, repeated until there is a response.
    pub(crate) fn insist(&self, app: usize, path: &str) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(response) = self.ask(app, path) {
                return Some(response);
            }
            if Instant::now() > deadline {
                self.findings.add("the application does not recover", || {
                    format!(
                        "{path} at {}\n{}\n",
                        self.millis(),
                        self.weather().join("\n")
                    )
                });
                return None;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub(crate) fn agent(&self) -> &ureq::Agent {
        &self.agent
    }

    /// Returns whether a message was shown.
    pub(crate) fn was_shown(&self, visitor: &str, message: &str) -> bool {
        let journals = self.journals.lock().unwrap();
        journals
            .noted
            .contains_key(&format!("shown {visitor} {message}"))
    }

    /// Reads the applications' journals, and checks them.
    pub(crate) fn read_journals(&self) {
        let mut journals = self.journals.lock().unwrap();
        for app in [0, 1] {
            let mut file = std::fs::File::open(self.journal(app)).expect("it was made");
            file.seek(SeekFrom::Start(journals.read[app]))
                .expect("a file can be read from its middle");
            let mut reader = BufReader::new(file);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
                journals.read[app] += line.len() as u64;
                self.note(&mut journals.noted, line.trim_end());
                line.clear();
            }
        }
    }

    fn note(&self, noted: &mut HashMap<String, u32>, line: &str) {
        let history = || {
            let models = self.models.lock().unwrap();
            let model = visitor_of(line).and_then(|name| models.get(name));
            let known = model.map_or_else(String::new, |model| model.lock().unwrap().history());
            format!(
                "{line}\n{known}-- the weather\n{}\n",
                self.weather().join("\n")
            )
        };
        let mut words = line.split(' ');
        let (what, visitor, thing) = (words.next(), words.next(), words.next());
        let key = line.split(" by ").next().unwrap_or(line);
        let count = noted.entry(key.to_owned()).or_default();
        *count += 1;
        let twice = *count > 1;
        match (what, visitor, thing) {
            (Some("accepted"), ..) if twice => {
                self.findings
                    .add("a form token was accepted twice", history);
            }
            (Some("shown"), ..) if twice => self.findings.add("a message was shown twice", history),
            (Some("shown"), Some(visitor), Some(message))
                if message.split('.').next() != Some(visitor) =>
            {
                self.findings
                    .add("a message was shown to another visitor", history);
            }
            _ => {}
        }
    }
}

/// Returns the visitor that a line of a journal is about.
fn visitor_of(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}
