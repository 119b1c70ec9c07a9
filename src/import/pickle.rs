//! A pickle, decoded into values.

use indexmap::IndexMap;

use super::error::holds;
use super::machine::Machine;
use super::node::{At, Node, printable};
use crate::decode_error::DecodeError;

/// The values of a pickle, with the outermost one.
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    offsets: Vec<usize>,
    pub(super) root: At,
    /// The name of the input in errors.
    what: &'static str,
}

impl<'a> Pickle<'a> {
    /// Reads all of `bytes`, a pickle of protocol 0 to 5, which errors call `what`.
    pub(super) fn read(bytes: &'a [u8], what: &'static str) -> Result<Self, DecodeError> {
        let mut machine = Machine::new(bytes);
        let root = machine
            .run()
            .map_err(|error| error.of(what).at(machine.offset))?;
        Ok(Self {
            nodes: machine.nodes,
            offsets: machine.offsets,
            root,
            what,
        })
    }

    pub(super) fn node(&self, at: At) -> &Node<'a> {
        &self.nodes[at.0 as usize]
    }

    /// Returns the value at `at` if it is text, or bytes that are UTF-8.
    pub(super) fn text(&self, at: At) -> Option<&str> {
        match self.node(at) {
            Node::Text(text) => Some(text),
            Node::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Returns the items of the list, tuple or set at `at`.
    pub(super) fn items(&self, at: At) -> Result<&[At], DecodeError> {
        match self.node(at) {
            Node::Items(items) | Node::Tuple(items) => Ok(items),
            _ => Err(self.refuse(at)),
        }
    }

    /// Returns the error that names the type of the value at `at`, and does not show the value.
    pub(super) fn refuse(&self, at: At) -> DecodeError {
        self.about(at, holds(self.describe(at)))
    }

    /// Returns the error about the value at `at`, with its offset.
    pub(super) fn about(&self, at: At, error: DecodeError) -> DecodeError {
        error.of(self.what).at(self.offsets[at.0 as usize])
    }

    /// Returns the entries of the dict at `at`, in its order.
    ///
    /// Like Python's `json`, it makes text of a key that is a whole number.
    pub(super) fn dict(&self, at: At) -> Result<IndexMap<&str, At>, DecodeError> {
        let Node::Dict(pairs) = self.node(at) else {
            return Err(self.refuse(at));
        };
        let mut entries = IndexMap::with_capacity(pairs.len());
        for &(key, value) in pairs {
            let name = match self.node(key) {
                Node::Int(digits) => Some(digits.as_str()),
                _ => self.text(key),
            };
            let name = name.ok_or_else(|| {
                let found = self.describe(key);
                self.about(key, holds(format!("a dict's key that is {found}")))
            })?;
            // Python writes no key twice, but 1, "1" and b"1" are three keys. Refusing the second one
            // also bounds the work: a memo can name one long key many times.
            if entries.insert(name, value).is_some() {
                let same = "two keys of a dict with the same text";
                return Err(self.about(key, holds(same)));
            }
        }
        Ok(entries)
    }

    /// Returns what errors call the type of the value at `at`.
    pub(super) fn describe(&self, at: At) -> String {
        match self.node(at) {
            Node::None => "None".into(),
            Node::Bool(_) => "a bool".into(),
            Node::Int(_) => "an int".into(),
            Node::Float(float) if float.is_finite() => "a float".into(),
            Node::Float(_) => "a float that is infinite or no number".into(),
            Node::Text(_) => "a str".into(),
            Node::Bytes(bytes) if std::str::from_utf8(bytes).is_ok() => "bytes".into(),
            Node::Bytes(_) => "bytes that are not UTF-8".into(),
            Node::Items(_) => "a list or set".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::Dict(_) => "a dict".into(),
            Node::Global(name) => format!("the class or function `{}`", printable(name)),
            Node::Object { class, .. } => {
                format!("an object of the class `{}`", printable(class))
            }
        }
    }
}
