//! The constructors of Python's own types that a pickle may name.
//!
//! None of them is run. The arguments alone determine the value.

use std::borrow::Cow;

use super::error::{holds, malformed};
use super::machine::Machine;
use super::node::{At, Node, printable};
use super::spelling::{iso_8601, latin_1};
use crate::decode_error::DecodeError;

impl<'a> Machine<'a> {
    /// Returns the value that `function` returns for `arguments`.
    pub(super) fn reduce(&mut self, function: At, arguments: At) -> Result<Node<'a>, DecodeError> {
        self.count_copied(self.cost(arguments))?;
        let (Node::Global(function), Node::Tuple(arguments)) =
            (self.get(function), self.get(arguments))
        else {
            return Err(malformed("it calls a value that is no function"));
        };
        let arguments: Vec<_> = arguments.iter().map(|&at| self.get(at)).collect();
        let node = match function.as_str() {
            "collections.defaultdict" | "collections.OrderedDict" => {
                self.dict(function, &arguments)
            }
            _ => result(function, &arguments)?,
        };
        node.ok_or_else(|| {
            let name = printable(function);
            holds(format!("the result of `{name}`"))
        })
    }

    /// Returns how much a function copies at most: the arguments, and their items and bytes.
    fn cost(&self, arguments: At) -> usize {
        let size = |at: &At| match self.get(*at) {
            Node::Items(items) | Node::Tuple(items) => items.len(),
            Node::Text(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            Node::Global(name) => name.len(),
            _ => 0,
        };
        let Node::Tuple(arguments) = self.get(arguments) else {
            return 0;
        };
        let sizes = arguments.iter().map(size).fold(0, usize::saturating_add);
        arguments.len().saturating_add(sizes)
    }

    /// Returns the dict that `function` makes, or `None` if it takes other arguments.
    fn dict(&self, function: &str, arguments: &[&Node<'a>]) -> Option<Node<'a>> {
        let items = match (function, arguments) {
            (_, []) => return Some(Node::Dict(Vec::new())),
            ("collections.defaultdict", [Node::Global(_) | Node::None]) => {
                return Some(Node::Dict(Vec::new()));
            }
            ("collections.OrderedDict", [Node::Items(items)]) => items,
            _ => return None,
        };
        let pair = |&item: &At| match self.get(item) {
            Node::Items(pair) | Node::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        items
            .iter()
            .map(pair)
            .collect::<Option<_>>()
            .map(Node::Dict)
    }
}

/// Returns the value that `function` returns for `arguments`, or `None` if it is not known, or takes
/// other arguments.
fn result<'a>(function: &str, arguments: &[&Node<'a>]) -> Result<Option<Node<'a>>, DecodeError> {
    Ok(Some(match (function, arguments) {
        (
            "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset",
            rest,
        ) => match rest {
            [] => Node::Items(Vec::new()),
            [Node::Items(items) | Node::Tuple(items)] => Node::Items(items.clone()),
            _ => return Ok(None),
        },
        (
            "builtins.bytes" | "builtins.bytearray" | "__builtin__.bytes" | "__builtin__.bytearray",
            rest,
        ) => match rest {
            [] => Node::Bytes(Cow::Borrowed(b"")),
            [Node::Bytes(bytes)] => Node::Bytes(bytes.clone()),
            [Node::Text(text), Node::Text(_)] => Node::Bytes(latin_1(text)?.into()),
            _ => return Ok(None),
        },
        ("_codecs.encode", [Node::Text(text), Node::Text(codec)])
            if matches!(&**codec, "latin1" | "latin-1") =>
        {
            Node::Bytes(latin_1(text)?.into())
        }
        (
            "copy_reg._reconstructor" | "copyreg._reconstructor",
            [Node::Global(class), Node::Global(base), Node::None],
        ) if matches!(base.as_str(), "__builtin__.object" | "builtins.object") => Node::Object {
            class: class.clone(),
            state: None,
        },
        ("decimal.Decimal", [Node::Text(text)]) => Node::Text(text.clone()),
        ("datetime.datetime" | "datetime.date", [Node::Bytes(packed)]) => {
            return Ok(iso_8601(packed).map(|text| Node::Text(text.into())));
        }
        _ => return Ok(None),
    }))
}
