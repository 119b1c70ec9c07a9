//! What broke a promise, and how it came to that.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is known and not mended; a run of the usual length does not fail for it.
///
/// Seen once with memcached, seed 11, 80 s, `max_age` and a store that was being filled: a request of
/// before a log-in was answered 99 ms after the log-in, and sent the old cookie over the new one.
/// Most likely the store confirmed the old id right before the log-in moved the session, and that
/// response came late; this is not proven.
const KNOWN: [&str; 1] = ["a browser has a cookie that opens nothing while its session lives"];

/// How many histories are told of one kind.
const TOLD: usize = 2;

#[derive(Default)]
pub(crate) struct Findings(Mutex<BTreeMap<String, Kind>>);

#[derive(Default)]
struct Kind {
    count: u64,
    histories: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&self, name: &str, history: impl FnOnce() -> String) {
        let mut kinds = self.0.lock().unwrap();
        let kind = kinds.entry(name.to_owned()).or_default();
        kind.count += 1;
        if kind.histories.len() < TOLD {
            let history = history();
            // A run of hours need not end before somebody looks into it.
            eprintln!("found: {name}\n{history}");
            kind.histories.push(history);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap().values().map(|kind| kind.count).sum()
    }

    /// Returns all of them as text; `None` when there are none. `usual` leaves out what is known.
    pub(crate) fn told(&self, usual: bool) -> Option<String> {
        let mut kinds = self.0.lock().unwrap();
        if usual {
            for name in KNOWN {
                if let Some(kind) = kinds.remove(name) {
                    eprintln!("known, and left out: {} × {name}", kind.count);
                }
            }
        }
        let mut text = String::new();
        for (name, kind) in &*kinds {
            for history in &kind.histories {
                text += &format!("\n==== {name}\n{history}");
            }
        }
        for (name, kind) in &*kinds {
            text += &format!("{:6} × {name}\n", kind.count);
        }
        (!kinds.is_empty()).then_some(text)
    }
}
