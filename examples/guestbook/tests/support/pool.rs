//! The browsers of all tests: a test leases some, and returns them clean for the next one.
//!
//! A browser starts in more than a second. When no test has one, all of them end: nothing stays behind after the last test.

use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::browser::Browser;

/// Browsers that run at the same time, at most.
const MOST: usize = 4;

/// What a browser lets pages do.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Everything.
    Usual,
    WithoutScripts,
    /// It stores no cookies.
    WithoutCookies,
}

struct Pool {
    leased: usize,
    idle: Vec<(Kind, Browser)>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    leased: 0,
    idle: Vec::new(),
});
static RETURNED: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A browser that no other test uses, without any cookies.
pub(crate) struct Leased {
    kind: Kind,
    browser: Option<Browser>,
}

/// Leases `N` browsers, each with a profile of its own.
pub(crate) fn lease<const N: usize>(kind: Kind) -> [Leased; N] {
    let browsers: Vec<_> = {
        let mut pool = pool();
        // All at once: two tests that wait for each other's second browser would wait forever.
        while pool.leased + N > MOST {
            pool = RETURNED.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.leased += N;
        let fitting = pool.idle.extract_if(.., |(idle, _)| *idle == kind);
        fitting.take(N).map(|(_, browser)| browser).collect()
    };
    let mut browsers = browsers.into_iter();
    // Each is a lease before the next one starts: a start that fails returns them.
    let mut leases = [(); N].map(|()| Leased {
        kind,
        browser: None,
    });
    for lease in &mut leases {
        lease.browser = Some(browsers.next().unwrap_or_else(|| start(kind)));
    }
    leases
}

fn start(kind: Kind) -> Browser {
    match kind {
        Kind::Usual => Browser::start(),
        Kind::WithoutScripts => Browser::without_scripts(),
        Kind::WithoutCookies => {
            Browser::with(&json!({"profile.default_content_setting_values.cookies": 2}))
        }
    }
}

/// Leaves nothing of one test for the next.
fn clean(browser: &Browser) {
    browser.close_tabs();
    browser.open("about:blank");
    for (command, parameters) in [
        ("Network.clearBrowserCookies", json!({})),
        ("Network.clearBrowserCache", json!({})),
        ("Emulation.clearDeviceMetricsOverride", json!({})),
        ("Emulation.setScrollbarsHidden", json!({"hidden": false})),
        ("Emulation.setEmulatedMedia", json!({"features": []})),
        ("Network.setUserAgentOverride", json!({"userAgent": ""})),
        ("Page.resetNavigationHistory", json!({})),
    ] {
        let _: Value = browser.devtools(command, &parameters);
    }
}

impl Deref for Leased {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        self.browser.as_ref().expect("it is there until the end")
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        // One that a failed test has used may be in any state.
        let browser = self.browser.take().filter(|_| !thread::panicking());
        if let Some(browser) = &browser {
            clean(browser);
        }
        let ended = {
            let mut pool = pool();
            pool.leased -= 1;
            pool.idle
                .extend(browser.map(|browser| (self.kind, browser)));
            let spare = (pool.leased + pool.idle.len()).saturating_sub(MOST);
            let ended = if pool.leased == 0 {
                pool.idle.len()
            } else {
                spare
            };
            pool.idle.drain(..ended).collect::<Vec<_>>()
        };
        RETURNED.notify_all();
        drop(ended);
    }
}
