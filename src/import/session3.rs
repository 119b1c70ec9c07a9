//! The import of a session of Session3, which is a pickled object.

use super::error::{holds, not_a_session};
use super::node::{At, Node};
use super::pickle::Pickle;
use super::{Named, PICKLED, json_object, values};
use crate::change::TOKENS;
use crate::decode_error::DecodeError;
#[cfg(doc)]
use crate::decode_error::DecodeErrorKind;
use crate::record::Record;

/// The attributes that every session of Session3 has.
const OWN: [&str; 6] = [
    "id",
    "user",
    "_remote_address",
    "_creation_time",
    "_access_time",
    "_form_tokens",
];

/// The end of the year 9999.
const YEAR_9999: u64 = 253_402_300_799;

/// Returns the session that Session3 keeps as `bytes`.
///
/// The class of the session may be one of the application. The entries of the attribute `data`, in
/// which a `DictSession` keeps its values, become values, and so do all attributes that are not
/// Session3's own. Form tokens remain form tokens. The user may be `None`, text or a whole number.
///
/// # Errors
///
/// [`DecodeErrorKind::NotASession`] when `bytes` are not an object with Session3's attributes; another error
/// when they cannot be read, or hold a value without a form in JSON.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::{DecodeErrorKind, import};
///
/// // pickle.dumps({"visits": 3}, 2): a dict, which is not a session of Session3.
/// let error = import::session3(b"\x80\x02}q\x00X\x06\x00\x00\x00visitsq\x01K\x03s.").unwrap_err();
/// assert_eq!(error.kind(), DecodeErrorKind::NotASession);
/// ```
pub fn session3(bytes: &[u8]) -> Result<Record, DecodeError> {
    let pickle = Pickle::read(bytes, PICKLED)?;
    let something_else = || not_a_session(PICKLED);
    let Node::Object {
        state: Some(state), ..
    } = pickle.node(pickle.root)
    else {
        return Err(something_else());
    };
    if !matches!(pickle.node(*state), Node::Dict(_)) {
        return Err(something_else());
    }
    let attributes = pickle.dict(*state)?;
    if !OWN.iter().all(|name| attributes.contains_key(name)) {
        return Err(something_else());
    }
    let time = |name| match pickle.node(attributes[name]) {
        // The conversion saturates: a time before 1970 becomes 0.
        Node::Float(seconds) if seconds.is_finite() => Ok((*seconds as u64).min(YEAR_9999)),
        _ => Err(pickle.refuse(attributes[name])),
    };
    let address = pickle
        .text(attributes["_remote_address"])
        .and_then(|text| text.parse().ok());
    let mut record = Record::new(time("_creation_time")?, address);
    record.accessed = time("_access_time")?.max(record.created);
    let user = attributes["user"];
    record.user = match pickle.node(user) {
        Node::None => None,
        Node::Int(digits) => Some(digits.clone()),
        _ => Some(text(&pickle, user)?),
    };
    let tokens = pickle.items(attributes["_form_tokens"])?;
    // Those are the newest, and as many as a session may have.
    for &token in &tokens[tokens.len().saturating_sub(TOKENS)..] {
        record.tokens.push(text(&pickle, token)?);
    }

    // All attributes at once, so that the bounds apply to their sum.
    for (name, value) in values(&pickle, *state)? {
        let inner = match name.as_str() {
            name if OWN.contains(&name) => continue,
            "data" if matches!(pickle.node(attributes["data"]), Node::Dict(_)) => {
                json_object(value.get().as_bytes())?
            }
            _ => Named::from_iter([(name, value)]),
        };
        for (name, value) in inner {
            if record.values.get(&name).is_some() {
                let twice = "an attribute and a value with the same name";
                return Err(holds(twice).of(PICKLED));
            }
            record.put(&name, value.get());
        }
    }
    Ok(record)
}

fn text(pickle: &Pickle<'_>, at: At) -> Result<String, DecodeError> {
    let text = pickle.text(at).ok_or_else(|| pickle.refuse(at))?;
    Ok(text.to_owned())
}
