//! A pickle that was read: its values, as they are and as JSON.

use indexmap::IndexMap;

use super::error::{Error, ErrorKind};
use super::machine::{At, MAX_INPUT, Machine, Node, printable};

/// The longest JSON text that one pickle may become, in bytes. It bounds the work too: whatever is
/// looked at once more, as a memo names it, is written once more.
const MAX_OUTPUT: usize = MAX_INPUT;
/// How deep lists and dicts may be nested. Below what JSON parsers take, which is 128.
const MAX_DEPTH: usize = 100;

/// The values of a pickle, and which of them is the outermost.
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    offsets: Vec<usize>,
    pub(super) root: At,
    /// What it is, for errors.
    what: &'static str,
}

/// What is wrong, and with which value.
type Fault = (At, ErrorKind);

impl<'a> Pickle<'a> {
    /// Reads all of `bytes`, of protocol 0 to 5, which are `what`.
    pub(super) fn read(bytes: &'a [u8], what: &'static str) -> Result<Self, Error> {
        let mut machine = Machine::new(bytes);
        let root = machine
            .run()
            .map_err(|kind| Error::new(kind, what).at(machine.offset))?;
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

    /// Returns the value at `at` as text, if it is text: also bytes that are UTF-8.
    pub(super) fn text(&self, at: At) -> Option<&str> {
        match self.node(at) {
            Node::Text(text) => Some(text),
            Node::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Returns what the dict at `at` maps, in its order.
    pub(super) fn dict(&self, at: At) -> Result<IndexMap<&str, At>, Error> {
        self.entries(at).map_err(|fault| self.locate(fault))
    }

    /// Returns the items of the list, tuple or set at `at`.
    pub(super) fn items(&self, at: At) -> Result<&[At], Error> {
        match self.node(at) {
            Node::Items(items) | Node::Tuple(items) => Ok(items),
            _ => Err(self.refuse(at)),
        }
    }

    /// Returns the error that tells what is at `at`, and not its value.
    pub(super) fn refuse(&self, at: At) -> Error {
        self.locate((at, ErrorKind::Type(self.describe(at))))
    }

    /// Returns the value at `at` as JSON text.
    pub(super) fn json(&self, at: At) -> Result<String, Error> {
        let mut writer = Writer {
            pickle: self,
            out: String::new(),
            path: Vec::new(),
        };
        writer.write(at).map_err(|fault| self.locate(fault))?;
        Ok(writer.out)
    }

    fn locate(&self, (at, kind): Fault) -> Error {
        Error::new(kind, self.what).at(self.offsets[at.0 as usize])
    }

    /// As [`dict`](Self::dict). A whole number is a key in digits, as Python's `json` writes it.
    fn entries(&self, at: At) -> Result<IndexMap<&str, At>, Fault> {
        let Node::Dict(pairs) = self.node(at) else {
            return Err((at, ErrorKind::Type(self.describe(at))));
        };
        let mut entries = IndexMap::with_capacity(pairs.len());
        for &(key, value) in pairs {
            let name = match self.node(key) {
                Node::Int(digits) => Some(digits.as_str()),
                _ => self.text(key),
            };
            let name = name.ok_or_else(|| {
                let found = self.describe(key);
                (
                    key,
                    ErrorKind::Type(format!("a dict's key that is {found}")),
                )
            })?;
            // Python writes no key twice, but 1, "1" and b"1" are three. To refuse the second also
            // bounds the work: a memo can name one long key many times.
            if entries.insert(name, value).is_some() {
                let same = "two keys of a dict that are the same as text";
                return Err((key, ErrorKind::Type(same.into())));
            }
        }
        Ok(entries)
    }

    fn describe(&self, at: At) -> String {
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

struct Writer<'p, 'a> {
    pickle: &'p Pickle<'a>,
    out: String,
    /// What is being written: a value in here that comes again contains itself.
    path: Vec<At>,
}

impl Writer<'_, '_> {
    fn write(&mut self, at: At) -> Result<(), Fault> {
        let fail = |kind| (at, kind);
        if self.path.contains(&at) {
            return Err(fail(ErrorKind::Recursive));
        }
        if self.path.len() > MAX_DEPTH {
            return Err(fail(ErrorKind::TooDeep));
        }
        match self.pickle.node(at) {
            Node::None => self.out.push_str("null"),
            Node::Bool(true) => self.out.push_str("true"),
            Node::Bool(false) => self.out.push_str("false"),
            Node::Int(digits) => self.out.push_str(digits),
            Node::Float(float) if float.is_finite() => {
                let json = serde_json::to_string(float).map_err(|_| self.no_form(at))?;
                self.out.push_str(&json);
            }
            Node::Text(_) | Node::Bytes(_) => {
                let text = self.pickle.text(at).ok_or_else(|| self.no_form(at))?;
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
                let entries = self.pickle.entries(at)?;
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
                return Err(self.no_form(at));
            }
        }
        if self.out.len() > MAX_OUTPUT {
            return Err(fail(ErrorKind::TooLarge));
        }
        Ok(())
    }

    fn no_form(&self, at: At) -> Fault {
        (at, ErrorKind::Type(self.pickle.describe(at)))
    }

    fn string(&mut self, text: &str) -> Result<(), ErrorKind> {
        // Before it is written: a memo can name one long text many times.
        if self.out.len() + text.len() > MAX_OUTPUT {
            return Err(ErrorKind::TooLarge);
        }
        let json = serde_json::to_string(text)
            .map_err(|_| ErrorKind::Type("a str that is no text".into()))?;
        self.out.push_str(&json);
        Ok(())
    }
}
