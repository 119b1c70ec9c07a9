//! The values of a pickle, written as JSON.

use super::error::{holds, too_large};
use super::machine::MAX_INPUT;
use super::node::{At, Node};
use super::pickle::Pickle;
use crate::decode_error::{DecodeError, DecodeErrorKind};

/// The length of the longest JSON text that a pickle may become, in bytes. It bounds the work too: a
/// value that a memo names again is written again.
const MAX_OUTPUT: usize = MAX_INPUT;
/// How deep lists and dicts may be nested. JSON parsers take 128 levels.
const MAX_DEPTH: usize = 100;

impl Pickle<'_> {
    /// Returns the value at `at` as JSON text.
    pub(super) fn json(&self, at: At) -> Result<String, DecodeError> {
        let mut writer = Writer::new(self);
        writer.write(at)?;
        Ok(writer.out)
    }
}

/// Writes values of a pickle as JSON.
struct Writer<'p, 'a> {
    pickle: &'p Pickle<'a>,
    out: String,
    /// The values that are not complete yet. One that is met again contains itself.
    path: Vec<At>,
}

impl<'p, 'a> Writer<'p, 'a> {
    fn new(pickle: &'p Pickle<'a>) -> Self {
        Self {
            pickle,
            out: String::new(),
            path: Vec::new(),
        }
    }

    /// Writes the value at `at`.
    fn write(&mut self, at: At) -> Result<(), DecodeError> {
        let fail = |error| self.pickle.about(at, error);
        if self.path.contains(&at) {
            let error = DecodeError::new(DecodeErrorKind::Cycle);
            return Err(fail(error.saying("a value in it contains itself")));
        }
        if self.path.len() > MAX_DEPTH {
            let error = DecodeError::new(DecodeErrorKind::Depth);
            return Err(fail(error.saying("it is nested too deep")));
        }
        match self.pickle.node(at) {
            Node::None => self.out.push_str("null"),
            Node::Bool(true) => self.out.push_str("true"),
            Node::Bool(false) => self.out.push_str("false"),
            Node::Int(digits) => self.out.push_str(digits),
            Node::Float(float) if float.is_finite() => {
                let json = serde_json::to_string(float).map_err(|_| self.pickle.refuse(at))?;
                self.out.push_str(&json);
            }
            Node::Text(_) | Node::Bytes(_) => {
                let text = self.pickle.text(at).ok_or_else(|| self.pickle.refuse(at))?;
                self.string(text).map_err(fail)?;
            }
            Node::Items(items) | Node::Tuple(items) => {
                self.path.push(at);
                self.out.push('[');
                for (n, &item) in items.iter().enumerate() {
                    if n > 0 {
                        self.out.push(',');
                    }
                    self.write(item)?;
                }
                self.out.push(']');
                self.path.pop();
            }
            Node::Dict(_) => {
                self.path.push(at);
                self.out.push('{');
                let entries = self.pickle.dict(at)?;
                for (n, (name, value)) in entries.into_iter().enumerate() {
                    if n > 0 {
                        self.out.push(',');
                    }
                    self.string(name).map_err(fail)?;
                    self.out.push(':');
                    self.write(value)?;
                }
                self.out.push('}');
                self.path.pop();
            }
            Node::Float(_) | Node::Global(_) | Node::Object { .. } => {
                return Err(self.pickle.refuse(at));
            }
        }
        if self.out.len() > MAX_OUTPUT {
            return Err(fail(too_large()));
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), DecodeError> {
        // The check comes before the text: a memo can name one long text many times.
        if self.out.len() + text.len() > MAX_OUTPUT {
            return Err(too_large());
        }
        let json = serde_json::to_string(text).map_err(|_| holds("a str that is no text"))?;
        self.out.push_str(&json);
        Ok(())
    }
}
