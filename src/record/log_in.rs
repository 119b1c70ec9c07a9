//! The log-in of a session: when it was, and by what browser.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::unknown_fields::{UnknownFields, split};

/// The log-in of a session. A record has one while a user is logged in.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct LogIn {
    /// When the user last proved their identity, in seconds since 1970.
    pub(crate) at: u64,
    /// The `User-Agent` header of the request that logged the user in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// The fields that a newer version wrote.
    #[serde(flatten, skip_deserializing)]
    unknown: UnknownFields,
}

impl Serialize for LogIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for LogIn {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let (own, unknown) = split(source, |known| Self::deserialize(known))?;
        Ok(Self { unknown, ..own })
    }
}

impl LogIn {
    /// Returns a log-in at `at`, in seconds since 1970.
    pub(crate) fn new(at: u64) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// Returns its approximate size as JSON, in bytes.
    pub(super) fn size(&self) -> usize {
        let agent = self.agent.as_ref().map_or(0, String::len);
        64 + agent + self.unknown.size()
    }
}

#[cfg(test)]
mod tests {
    use crate::id::SessionId;
    use crate::record::Record;

    #[test]
    fn the_fields_of_a_newer_version_are_kept() {
        let login = r#""login":{"at":1763659000,"agent":"Browser","new":[1]}"#;
        let lifetime = r#""lifetime":{"idle":60,"absolute":600,"newer":{"a":null}}"#;
        let json = format!(
            r#"{{"rev":"1","expires":1,"v":1,"created":1,"accessed":1,"user":"alice",{login},{lifetime}}}"#
        );
        let id = SessionId::random();
        let mut record = Record::decode(json.into_bytes(), &id).expect("it is a record");
        assert_eq!(
            record.log_in.as_ref().map(|log_in| log_in.at),
            Some(1_763_659_000)
        );
        let saved = String::from_utf8(record.encode(&id, 1)).expect("JSON is UTF-8");
        assert!(saved.contains(login) && saved.contains(lifetime), "{saved}");
    }
}
