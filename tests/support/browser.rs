//! A real browser: Chromium, driven by ChromeDriver over the WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2/>).

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, wait_until};

/// ChromeDriver, and one window of Chromium.
pub(crate) struct Browser {
    session: String,
    agent: ureq::Agent,
    _driver: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser without any cookies.
    pub(crate) fn start() -> Self {
        Self::started(&json!({}))
    }

    /// The same with scripts disabled.
    pub(crate) fn without_scripts() -> Self {
        Self::started(&json!({"profile.managed_default_content_settings.javascript": 2}))
    }

    fn started(preferences: &Value) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver");
        driver
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut driver = Process::start(&mut driver);
        let port = driver
            .stdout()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("started successfully on port ")
                    .map(|(_, port)| port.trim_end_matches('.').to_owned())
            });
        let port = port.expect("chromedriver tells its port");
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let mut browser = Self {
            session: format!("http://127.0.0.1:{port}/session"),
            agent,
            _driver: driver,
            _profile: profile,
        };
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
            &format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let options = json!({"args": arguments, "prefs": preferences});
        let options = json!({"browserName": "chrome", "goog:chromeOptions": options});
        let started = browser.post("", &json!({"capabilities": {"alwaysMatch": options}}));
        let id = started["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Opens a page, and returns the text that it shows.
    pub(crate) fn open(&self, url: &str) -> String {
        self.post("/url", &json!({ "url": url }));
        self.run("return document.body.innerText")
            .as_str()
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// The text that the page shows.
    pub(crate) fn text(&self) -> String {
        let text = self.get(&format!("/element/{}/text", self.find("body")));
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// The value of the field that `selector` finds.
    pub(crate) fn value(&self, selector: &str) -> String {
        let value = self.get(&format!("/element/{}/property/value", self.find(selector)));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Types `text` into the field that `selector` finds, in place of its value.
    pub(crate) fn type_in(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(
            &format!("/element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Clicks on the element that `selector` finds, and waits for the next page.
    pub(crate) fn click(&self, selector: &str) {
        let (page, element) = (self.find("html"), self.find(selector));
        self.post(&format!("/element/{element}/click"), &json!({}));
        // A busy browser responds before it leaves the page.
        wait_until("the page is left", || !self.has(&page));
    }

    /// Whether `element` is still part of the page.
    fn has(&self, element: &str) -> bool {
        let url = format!("{}/element/{element}/name", self.session);
        let response = self.agent.get(url).call().expect("chromedriver responds");
        response.status().is_success()
    }

    fn find(&self, selector: &str) -> String {
        let how = json!({"using": "css selector", "value": selector});
        let found = self.post("/element", &how);
        let (_, id) = found
            .as_object()
            .and_then(|o| o.iter().next())
            .expect("it is found");
        id.as_str().expect("an element has an id").to_owned()
    }

    /// Runs JavaScript in the page, and returns what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs JavaScript that awaits, and returns what it returns.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, e => done(String(e)))"
        );
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// The cookies for the open page, as the browser itself knows them.
    pub(crate) fn cookies(&self) -> Vec<Value> {
        let cookies = self.get("/cookie");
        cookies.as_array().expect("cookies are a list").clone()
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.session);
        let mut response = self.agent.get(url).call().expect("chromedriver responds");
        let text = response.body_mut().read_to_string().unwrap();
        assert!(response.status().is_success(), "{path}: {text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        value["value"].clone()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self
            .agent
            .post(format!("{}{path}", self.session))
            .content_type("application/json");
        let mut response = request
            .send(body.to_string())
            .expect("chromedriver responds");
        let text = response
            .body_mut()
            .read_to_string()
            .expect("chromedriver responds with text");
        let value: Value = serde_json::from_str(&text).expect("chromedriver responds with JSON");
        assert!(response.status().is_success(), "{path}: {text}");
        value["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session, ChromeDriver when it is dropped.
        let _ = self.agent.delete(&self.session).call();
    }
}
