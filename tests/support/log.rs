//! The log lines of this process.

use std::sync::{Mutex, OnceLock};

use log::{LevelFilter, Log, Metadata, Record};

struct Kept(Mutex<Vec<String>>);

static KEPT: OnceLock<Kept> = OnceLock::new();

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

/// Records this crate's log lines from now on. Rocket's own logger is then not used.
pub(crate) fn keep() {
    let kept = KEPT.get_or_init(|| Kept(Mutex::default()));
    if log::set_logger(kept).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

/// The lines so far that contain `text`.
pub(crate) fn lines_with(text: &str) -> Vec<String> {
    let kept = KEPT.get().expect("`keep` was called").0.lock().unwrap();
    kept.iter()
        .filter(|line| line.contains(text))
        .cloned()
        .collect()
}
