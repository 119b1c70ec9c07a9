//! The start of every session's bytes: all that a store may read of them.

use std::ops::Range;

use super::Revision;

/// The start of every session's bytes: all that a store may read of them.
///
/// It looks like `{"rev":"9f86d081884c7d65","expires":1763745460,` and is the start of a JSON
/// object.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::store::{RecordHeader, Revision};
///
/// let bytes = br#"{"rev":"9f86d081884c7d65","expires":1763745460,"v":1}"#;
/// let header = RecordHeader::read(bytes).unwrap();
/// assert_eq!(header.revision, Revision(0x9f86_d081_884c_7d65));
/// assert_eq!(header.expires, 1_763_745_460);
/// assert_eq!(RecordHeader::read(b"garbage"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The save that wrote these bytes.
    pub revision: Revision,
    /// When the session expires unless it is saved again, in seconds since 1970.
    pub expires: u64,
}

impl RecordHeader {
    /// The greatest length of a header, in bytes.
    pub const MAX_LEN: usize = 64;
    /// The position of the revision's 16 hex digits.
    pub const REVISION: Range<usize> = 8..24;

    /// Returns the header of `bytes`, of which the first [`MAX_LEN`](Self::MAX_LEN) are enough;
    /// `None` when there is no header.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let revision = bytes.strip_prefix(br#"{"rev":""#)?.get(..16)?;
        let expires = bytes
            .get(Self::REVISION.end..)?
            .strip_prefix(br#"","expires":"#)?;
        let digits = expires
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .filter(|&at| expires[at] == b',')?;
        Some(Self {
            revision: Revision(lower_hex(revision)?),
            expires: std::str::from_utf8(&expires[..digits]).ok()?.parse().ok()?,
        })
    }
}

/// Returns the number that these lower-case digits are.
fn lower_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_header_is_read() {
        let complete = br#"{"rev":"00000000000000ff","expires":12,"v":1}"#;
        assert_eq!(
            RecordHeader::read(complete),
            Some(RecordHeader {
                revision: Revision(255),
                expires: 12
            })
        );
        let digits = complete.iter().position(|&b| b == b'1');
        let comma = digits.expect("there is a digit 1") + 3;
        for cut in 0..comma {
            assert_eq!(RecordHeader::read(&complete[..cut]), None, "cut at {cut}");
        }
        for invalid in [
            &br#"{"rev":"00000000000000FF","expires":12,"#[..],
            br#"{"rev":"+0000000000000ff","expires":12,"#,
            br#"{"rev":"00000000000000ff","expires":-1,"#,
            br#"{"rev":"00000000000000ff","expires":,"#,
            br#"{"rev":"00000000000000ff","expires":99999999999999999999999,"#,
            br#" {"rev":"00000000000000ff","expires":12,"#,
        ] {
            let text = String::from_utf8_lossy(invalid);
            assert_eq!(RecordHeader::read(invalid), None, "{text}");
        }
    }
}
