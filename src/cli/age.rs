//! Durations on the command line, such as `30d`, `12h` and `15m`.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
///
/// When `text` is none; the error is the end of a sentence.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a duration such as `30d`, `12h`, `15m` or `1d 6h`".to_owned())
}
