//! A point in time, which a page shows in a `<time>` element.

use std::fmt;
use std::time::SystemTime;

use askama::filters::HtmlSafe;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A point in time, to the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(i64);

impl Moment {
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Returns the moment so many seconds after 1970.
    pub fn at(seconds: i64) -> Self {
        Self(seconds)
    }

    pub fn seconds(self) -> i64 {
        self.0
    }

    /// Returns it as machines read it, such as `2026-11-22T12:34:56Z`.
    pub fn iso(self) -> String {
        self.date().format(&Rfc3339).unwrap_or_default()
    }

    /// Returns it as people read it, such as `22 Nov 2026, 12:34 UTC`. A line breaks only after the
    /// comma.
    pub fn text(self) -> String {
        let format = format_description!(
            "[day padding:none]\u{a0}[month repr:short]\u{a0}[year], [hour]:[minute]\u{a0}UTC"
        );
        self.date().format(&format).unwrap_or_default()
    }

    fn date(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Self(OffsetDateTime::from(time).unix_timestamp())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<time datetime=\"{}\">{}</time>",
            self.iso(),
            self.text()
        )
    }
}

/// Its HTML consists of digits, letters and the element.
impl HtmlSafe for Moment {}
