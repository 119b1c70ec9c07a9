//! The progress of a command that lasts, on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on stderr that counts. There is none if stderr is not a terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Begins to count, for example `sessions copied`.
    pub(super) fn of(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {pos} {msg} ({per_sec}, {elapsed})");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self(bar)
    }

    /// As [`of`](Self::of), for a command that writes to stdout meanwhile.
    pub(super) fn beside_output(what: &'static str) -> Self {
        match std::io::stdout().is_terminal() {
            true => Self(ProgressBar::hidden()),
            false => Self::of(what),
        }
    }

    /// Counts one more.
    pub(super) fn tick(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
