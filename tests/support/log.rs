//! The log lines of this process.

use std::sync::{Mutex, Once};

use log::{LevelFilter, Log, Metadata, Record};

struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rocket_session_kit")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// Records this crate's log lines from now on. Rocket's own logger is then not used, so this comes before
/// the first `rocket::build()` of a test.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let is_first = log::set_logger(&KEPT).is_ok();
        assert!(is_first, "a test builds a Rocket before it keeps the log");
        log::set_max_level(LevelFilter::Trace);
    });
}

/// The lines so far that contain `text`.
pub(crate) fn lines_with(text: &str) -> Vec<String> {
    let kept = KEPT.0.lock().unwrap();
    kept.iter()
        .filter(|line| line.contains(text))
        .cloned()
        .collect()
}
