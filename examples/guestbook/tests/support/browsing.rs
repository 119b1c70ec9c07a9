//! What the tests of this application do with a browser beyond pages and forms.

use fantoccini::Locator;
use fantoccini::actions::{
    InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction,
};
use fantoccini::wd::WebDriverCompatibleCommand;
use rocket::http::Cookie;
use serde_json::{Value, json};
use ureq::http::Method;
use url::{ParseError, Url};

use super::browser::Browser;
use super::process::wait_until;

impl Browser {
    /// The status of the response that the page came with.
    pub(crate) fn status(&self) -> u64 {
        let status =
            self.run("return performance.getEntriesByType('navigation')[0].responseStatus");
        status.as_u64().expect("a status is a number")
    }

    pub(crate) fn title(&self) -> String {
        self.wait("its title", self.client.title())
    }

    /// The path of the open page, with its query.
    pub(crate) fn path(&self) -> String {
        let url = self.wait("its address", self.client.current_url());
        url[url::Position::BeforePath..].to_owned()
    }

    /// Whether the page has an element.
    pub(crate) fn shows(&self, selector: &str) -> bool {
        !self.texts(selector).is_empty()
    }

    /// Whether the page has an element, be it visible or not.
    pub(crate) fn has_part(&self, selector: &str) -> bool {
        self.run(&format!(
            "return document.querySelector({}) !== null",
            json!(selector)
        )) == true
    }

    /// The texts of all elements that `selector` finds.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let found = self.client.find_all(Locator::Css(selector));
        let found = self.wait(selector, found);
        found
            .iter()
            .map(|one| self.wait(selector, one.text()))
            .collect()
    }

    /// Waits until the page has an element with this text in it.
    pub(crate) fn wait_for(&self, selector: &str, text: &str) {
        let script = format!(
            "return Array.from(document.querySelectorAll({}), one => one.innerText)",
            json!(selector)
        );
        let mut last = Value::Null;
        let found = |last: &Value| {
            let texts = last.as_array().into_iter().flatten();
            texts
                .filter_map(Value::as_str)
                .any(|one| one.contains(text))
        };
        let there = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the page shows a text", || {
                last = self.run(&script);
                found(&last)
            });
        }));
        assert!(there.is_ok(), "{selector} shows {last}, and not: {text}");
    }

    /// Waits until so many tabs are there and have loaded, and returns to this one.
    pub(crate) fn wait_for_tabs(&self, count: usize) {
        let here = self.tab();
        let windows = || self.wait("its tabs", self.client.windows());
        wait_until("the tabs are open", || windows().len() == count);
        for tab in windows() {
            self.wait("a tab", self.client.switch_to_window(tab));
            wait_until("a tab has loaded", || {
                self.run("return location.href !== 'about:blank' && document.readyState")
                    == "complete"
            });
        }
        self.switch_to(&here);
    }

    /// The text that a field refers to as the description of its error, or nothing.
    pub(crate) fn error_of(&self, name: &str) -> String {
        let text = self.run(&format!(
            "const field = document.querySelector('main [name={name}]');
             if (field.getAttribute('aria-invalid') !== 'true') return '';
             const ids = (field.getAttribute('aria-describedby') || '').split(' ').filter(id => id);
             return ids.map(id => document.getElementById(id).innerText).join(' ');"
        ));
        text.as_str().expect("it is a text").to_owned()
    }

    /// Makes the browser send another `User-Agent`.
    pub(crate) fn call_itself(&self, name: &str) {
        self.devtools("Network.setUserAgentOverride", &json!({"userAgent": name}));
    }

    /// The cookie of the session, if there is one.
    pub(crate) fn session_cookie(&self) -> Option<Cookie<'static>> {
        let mut cookies = self.cookies();
        cookies.retain(|cookie| cookie.name().ends_with("id"));
        assert!(cookies.len() <= 1, "one session has one cookie");
        cookies.pop()
    }

    /// Sets a cookie for the host of the open page, as it was read.
    pub(crate) fn set_cookie(&self, cookie: Cookie<'static>) {
        self.wait("a cookie", self.client.add_cookie(cookie));
    }

    /// Goes back to the page before, as the button of the browser does.
    pub(crate) fn back(&self) {
        self.wait("back", self.client.back());
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub(crate) fn keys(&self, keys: &str) {
        let presses = keys.chars().flat_map(|value| {
            let (down, up) = (KeyAction::Down { value }, KeyAction::Up { value });
            [down, up]
        });
        let keys = presses.fold(KeyActions::new("keyboard".into()), InputSource::then);
        self.wait("keys", self.client.perform_actions(keys));
    }

    /// Clicks twice on an element, as a nervous hand does.
    pub(crate) fn double_click(&self, selector: &str) {
        let button = MOUSE_BUTTON_LEFT;
        let element = self.find(selector);
        let mouse = MouseActions::new("mouse".into()).then(PointerAction::MoveToElement {
            element,
            duration: None,
            x: 0.0,
            y: 0.0,
        });
        let clicks = [
            PointerAction::Down { button },
            PointerAction::Up { button },
            PointerAction::Down { button },
            PointerAction::Up { button },
        ];
        let mouse = clicks.into_iter().fold(mouse, InputSource::then);
        self.leave_by(|| self.wait("clicks", self.client.perform_actions(mouse)));
    }

    /// Opens another tab, to which all commands go from now on.
    pub(crate) fn new_tab(&self) -> String {
        let tab = self.wait("another tab", self.client.new_window(true));
        let tab = String::from(tab.handle);
        self.switch_to(&tab);
        tab
    }

    /// The tab to which commands go.
    pub(crate) fn tab(&self) -> String {
        self.wait("its tab", self.client.window()).into()
    }

    /// Sends all commands to this tab from now on.
    pub(crate) fn switch_to(&self, tab: &str) {
        let tab = tab.try_into().expect("it is a handle");
        self.wait("a tab", self.client.switch_to_window(tab));
    }

    /// Closes all tabs but one.
    pub(crate) fn close_tabs(&self) {
        let tabs = self.wait("its tabs", self.client.windows());
        for tab in &tabs[1..] {
            self.wait("a tab", self.client.switch_to_window(tab.clone()));
            self.wait("a tab", self.client.close_window());
        }
        self.wait("a tab", self.client.switch_to_window(tabs[0].clone()));
    }

    /// Shows pages from now on as a window of this size does, in a light or a dark colour scheme.
    pub(crate) fn look(&self, scheme: &str) {
        let size = json!({"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        self.devtools("Emulation.setScrollbarsHidden", &json!({"hidden": true}));
        let scheme = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": scheme}));
    }

    /// The window as a PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        self.wait("a screenshot", self.client.screenshot())
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({"cmd": command, "params": parameters}).to_string();
        self.wait(command, self.client.issue_cmd(DevTools(body)))
    }
}

/// ChromeDriver's own command, which the WebDriver protocol does not have.
#[derive(Debug)]
struct DevTools(String);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, driver: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        driver.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.clone()))
    }
}
