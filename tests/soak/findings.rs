//! The broken promises, and the requests that led to them.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// The number of histories that are printed for one kind.
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
            // A run of hours does not stop at the first finding.
            eprintln!("found: {name}\n{history}");
            kind.histories.push(history);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap().values().map(|kind| kind.count).sum()
    }

    /// Returns all of them as text; `None` when there are none.
    pub(crate) fn report(&self) -> Option<String> {
        let kinds = self.0.lock().unwrap();
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
