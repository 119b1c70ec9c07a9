//! A real browser: Chromium, driven by ChromeDriver over the WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2/>).

use std::fmt::Display;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rocket::http::Cookie;
use rocket::tokio::runtime::{Builder, Runtime};
use rocket::tokio::time::timeout;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, wait_until};

/// The longest time for one command.
const PATIENCE: Duration = Duration::from_secs(60);

/// ChromeDriver, and one Chromium with a profile of its own.
pub(crate) struct Browser {
    pub(crate) client: Client,
    runtime: Runtime,
    _driver: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser without any cookies.
    pub(crate) fn start() -> Self {
        Self::with(&json!({}))
    }

    /// The same with scripts disabled.
    pub(crate) fn without_scripts() -> Self {
        Self::with(&json!({"profile.managed_default_content_settings.javascript": 2}))
    }

    /// The same with preferences of Chromium. It accepts any certificate.
    pub(crate) fn with(preferences: &Value) -> Self {
        let profile = tempfile::tempdir().expect("there is room for a profile");
        let (driver, url) = driver();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is written as an object");
        };
        // One thread, on which connections also rest and close while no command runs.
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a thread can be started");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connected = builder.capabilities(capabilities).connect(&url);
        Self {
            client: wait(&runtime, "a browser starts", connected),
            runtime,
            _driver: driver,
            _profile: profile,
        }
    }
}

/// Starts ChromeDriver, and returns its address.
fn driver() -> (Process, String) {
    let mut driver = Command::new("chromedriver");
    driver
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut driver = Process::start(&mut driver);
    let mut lines = driver.stdout().lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        Some(port.trim_end_matches('.').to_owned())
    });
    let port = port.expect("chromedriver tells its port");
    (driver, format!("http://127.0.0.1:{port}/"))
}

/// Returns the result of a command. Fails the test if there is none.
fn wait<T, E: Display>(
    runtime: &Runtime,
    what: &str,
    command: impl Future<Output = Result<T, E>>,
) -> T {
    let result = runtime.block_on(async { timeout(PATIENCE, command).await });
    match result {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("{what}: {error}"),
        Err(_) => panic!("{what}: no response"),
    }
}

impl Browser {
    /// Opens a page, and returns the text that it shows.
    pub(crate) fn open(&self, url: &str) -> String {
        self.wait(url, self.client.goto(url));
        let text = self.run("return document.body.innerText");
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// The text that the page shows.
    pub(crate) fn text(&self) -> String {
        self.text_of("body")
    }

    /// The text that the element shows.
    pub(crate) fn text_of(&self, selector: &str) -> String {
        let text = self.wait(selector, self.find(selector).text());
        text.trim().to_owned()
    }

    /// The value of the field that `selector` finds.
    pub(crate) fn value(&self, selector: &str) -> String {
        let value = self.wait(selector, self.find(selector).prop("value"));
        value.unwrap_or_default()
    }

    /// Types `text` into the field that `selector` finds, in place of its value.
    pub(crate) fn type_in(&self, selector: &str, text: &str) {
        let field = self.find(selector);
        self.wait(selector, field.clear());
        self.wait(selector, field.send_keys(text));
    }

    /// Clicks on the element that `selector` finds, and waits for the next page.
    pub(crate) fn click(&self, selector: &str) {
        self.leave_by(|| self.press(selector));
    }

    /// The same without a next page.
    pub(crate) fn press(&self, selector: &str) {
        self.wait(selector, self.find(selector).click());
    }

    /// Does what leads to another page, and waits for that page.
    pub(crate) fn leave_by(&self, act: impl FnOnce()) {
        let page = self.find("html");
        act();
        // A busy browser responds before it leaves the page.
        wait_until("the page is left", || !self.has(&page));
    }

    /// Whether `element` is still part of the page.
    fn has(&self, element: &Element) -> bool {
        let name = async { timeout(PATIENCE, element.tag_name()).await };
        let name = self.runtime.block_on(name);
        name.expect("chromedriver responds").is_ok()
    }

    pub(crate) fn find(&self, selector: &str) -> Element {
        self.wait(selector, self.client.find(Locator::Css(selector)))
    }

    /// Runs JavaScript in the page, and returns what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.wait(script, self.client.execute(script, Vec::new()))
    }

    /// Runs JavaScript that awaits, and returns what it returns.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, e => done(String(e)))"
        );
        self.wait(&script, self.client.execute_async(&script, Vec::new()))
    }

    /// The cookies for the open page, as the browser itself knows them.
    pub(crate) fn cookies(&self) -> Vec<Cookie<'static>> {
        self.wait("cookies", self.client.get_all_cookies())
    }

    pub(crate) fn wait<T, E: Display>(
        &self,
        what: &str,
        command: impl Future<Output = Result<T, E>>,
    ) -> T {
        wait(&self.runtime, what, command)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session, ChromeDriver when it is dropped.
        let closed = async { timeout(PATIENCE, self.client.clone().close()).await };
        let _ = self.runtime.block_on(closed);
    }
}
