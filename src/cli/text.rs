//! Texts for the terminal: times, ages, sizes, counts, and texts that visitors chose.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failure::Outcome;

/// Returns a duration as its largest unit: `45s`, `12m`, `5h`, `3d`.
pub(super) fn short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns a point in time, in seconds since 1970, as RFC 3339 writes it.
pub(super) fn time(seconds: u64) -> String {
    // Beyond the year 9999, the format has no room.
    let seconds = seconds.min(253_402_300_799);
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns a size in bytes with its unit.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Returns a number and its noun: `1 session`, `2 sessions`.
pub(super) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Returns a text that a visitor chose in a form that cannot control the terminal, and at most `most`
/// characters of it.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut plain = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == most {
            plain.pop();
            plain.push('…');
            break;
        }
        match controls_terminal(character) {
            true => plain.push('\u{fffd}'),
            false => plain.push(character),
        }
    }
    plain
}

/// Returns whether a terminal may take it for more than a character: for a command, or for a change of
/// the direction of the text.
fn controls_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes `bytes` to stdout.
pub(super) fn print(bytes: &[u8]) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_visitor_does_not_control_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\r\n\u{202e}", 20),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(plain("Firefox", 7), "Firefox");
        assert_eq!(plain("Firefox 128", 7), "Firefo…");
    }

    #[test]
    fn ages_and_sizes_are_short() {
        assert_eq!(
            [59, 60, 3600, 86_399, 259_200].map(short).join(" "),
            "59s 1m 1h 23h 3d"
        );
        assert_eq!(
            [999, 1234, 2_500_000].map(size).join(", "),
            "999 B, 1.2 kB, 2.5 MB"
        );
    }
}
