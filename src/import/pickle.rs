//! Python's pickles, read as data: nothing that one names is ever looked up, built or called.

use std::borrow::Cow;
use std::collections::HashMap;

use indexmap::IndexMap;

use super::Refused;

/// The longest pickle that is read, in bytes.
pub(super) const MAX_INPUT: usize = 1 << 20;
/// The longest JSON text that one pickle may become, in bytes.
const MAX_OUTPUT: usize = 1 << 20;
/// How often an item may be looked at while JSON is written. A memo lets a small pickle name one
/// list many times, in lists that are themselves named many times.
const MAX_STEPS: usize = 1 << 20;
/// How deep lists and dicts may be nested. Below what JSON parsers take, which is 128.
const MAX_DEPTH: usize = 100;
/// The largest whole number, in bytes: what Python writes as `LONG1`, about 614 digits.
const MAX_INT: usize = 255;

/// Where a value stands in [`Pickle::nodes`].
///
/// Values name each other by place, so that nothing is copied when a memo names it twice, and
/// nothing recurses when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct At(u32);

/// One value of a pickle.
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    /// Decimal digits, with a sign when it is negative.
    Int(String),
    Float(f64),
    Text(Cow<'a, str>),
    /// `bytes`, `bytearray`, and what Python 2 called `str`.
    Bytes(Cow<'a, [u8]>),
    /// A list, tuple, set or frozenset.
    Items(Vec<At>),
    Tuple(Vec<At>),
    Dict(Vec<(At, At)>),
    /// The name of a class or function.
    Global(String),
    Object {
        class: String,
        state: Option<At>,
    },
}

/// A pickle that was read: its values, and which of them is the outermost.
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    pub(super) root: At,
}

impl<'a> Pickle<'a> {
    /// Reads all of `bytes`, of protocol 0 to 5.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Refused> {
        if bytes.len() > MAX_INPUT {
            return Err(Refused::TooLarge);
        }
        let mut machine = Machine {
            rest: bytes,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        let root = machine.run()?;
        if !machine.rest.is_empty() {
            return Err(Refused::Malformed("there is something after its end"));
        }
        Ok(Self {
            nodes: machine.nodes,
            root,
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

    /// Returns what the dict at `at` maps, as Python would: the last of two equal keys counts, in
    /// the place of the first.
    pub(super) fn dict(&self, at: At) -> Result<IndexMap<&str, At>, Refused> {
        let Node::Dict(pairs) = self.node(at) else {
            return Err(self.refuse(at));
        };
        let mut dict = IndexMap::with_capacity(pairs.len());
        for &(key, value) in pairs {
            let name = self.text(key).ok_or_else(|| {
                let Refused::Type(found) = self.refuse(key) else {
                    return Refused::Type("a key that is no text".into());
                };
                Refused::Type(format!("a dict's key that is {found}"))
            })?;
            dict.insert(name, value);
        }
        Ok(dict)
    }

    /// Returns the items of the list, tuple or set at `at`.
    pub(super) fn items(&self, at: At) -> Result<&[At], Refused> {
        match self.node(at) {
            Node::Items(items) | Node::Tuple(items) => Ok(items),
            _ => Err(self.refuse(at)),
        }
    }

    /// Returns the error that tells what is at `at`, and not its value.
    pub(super) fn refuse(&self, at: At) -> Refused {
        Refused::Type(match self.node(at) {
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
        })
    }

    /// Returns the value at `at` as JSON text.
    pub(super) fn json(&self, at: At) -> Result<String, Refused> {
        let mut writer = Writer {
            pickle: self,
            out: String::new(),
            path: Vec::new(),
            steps: 0,
        };
        writer.write(at)?;
        Ok(writer.out)
    }
}

/// A class's name is written by who wrote the pickle: it comes into an error only as a name.
fn printable(name: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._<>".contains(c);
    if name.len() <= 100 && name.chars().all(is_name) {
        name
    } else {
        "(a name that is not shown)"
    }
}

struct Writer<'p, 'a> {
    pickle: &'p Pickle<'a>,
    out: String,
    /// What is being written: a value in here that comes again contains itself.
    path: Vec<At>,
    steps: usize,
}

impl Writer<'_, '_> {
    fn write(&mut self, at: At) -> Result<(), Refused> {
        if self.path.contains(&at) {
            return Err(Refused::Recursive);
        }
        if self.path.len() > MAX_DEPTH {
            return Err(Refused::TooDeep);
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
                let text = self.pickle.text(at).ok_or(self.pickle.refuse(at))?;
                self.string(text)?;
            }
            Node::Items(items) | Node::Tuple(items) => {
                self.step(items.len())?;
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
            Node::Dict(pairs) => {
                self.step(pairs.len())?;
                self.path.push(at);
                self.out.push('{');
                for (n, (name, value)) in self.pickle.dict(at)?.into_iter().enumerate() {
                    if n > 0 {
                        self.out.push(',');
                    }
                    self.string(name)?;
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
        self.step(1)
    }

    fn string(&mut self, text: &str) -> Result<(), Refused> {
        if text.len() > MAX_OUTPUT {
            return Err(Refused::TooLarge);
        }
        let json = serde_json::to_string(text)
            .map_err(|_| Refused::Type("a str that is no text".into()))?;
        self.out.push_str(&json);
        Ok(())
    }

    fn step(&mut self, items: usize) -> Result<(), Refused> {
        self.steps += items;
        if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
            return Err(Refused::TooLarge);
        }
        Ok(())
    }
}

/// The stack machine that a pickle is a program for.
struct Machine<'a> {
    rest: &'a [u8],
    nodes: Vec<Node<'a>>,
    stack: Vec<At>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, At>,
    /// How much was given to functions, in items and bytes: some copy it, and a memo lets a small
    /// pickle give one list to many.
    copied: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<At, Refused> {
        loop {
            let op = self.byte()?;
            match op {
                // PROTO, FRAME
                0x80 => {
                    if self.byte()? > 5 {
                        return Err(Refused::Malformed("its protocol is newer than 5"));
                    }
                }
                0x95 => drop(self.take(8)?),
                // STOP
                b'.' => return self.pop(),

                // MARK, POP, POP_MARK, DUP
                b'(' => self.marks.push(self.stack.len()),
                b'0' => {
                    if self.marks.last() == Some(&self.stack.len()) {
                        self.marks.pop();
                    } else {
                        self.pop()?;
                    }
                }
                b'1' => drop(self.pop_mark()?),
                b'2' => self.stack.push(self.top()?),

                // PUT, BINPUT, LONG_BINPUT, MEMOIZE
                b'p' => {
                    let id = self.number_line()?;
                    self.memoize(id)?;
                }
                b'q' => {
                    let id = self.byte()?;
                    self.memoize(id.into())?;
                }
                b'r' => {
                    let id = u32::from_le_bytes(self.array()?);
                    self.memoize(id)?;
                }
                0x94 => {
                    let id = u32::try_from(self.memo.len()).map_err(|_| Refused::TooLarge)?;
                    self.memoize(id)?;
                }
                // GET, BINGET, LONG_BINGET
                b'g' => {
                    let id = self.number_line()?;
                    self.recall(id)?;
                }
                b'h' => {
                    let id = self.byte()?;
                    self.recall(id.into())?;
                }
                b'j' => {
                    let id = u32::from_le_bytes(self.array()?);
                    self.recall(id)?;
                }

                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.push(Node::None),
                0x88 => self.push(Node::Bool(true)),
                0x89 => self.push(Node::Bool(false)),

                // INT, LONG, FLOAT
                b'I' => {
                    let node = match self.line()? {
                        b"00" => Node::Bool(false),
                        b"01" => Node::Bool(true),
                        digits => Node::Int(decimal(digits)?),
                    };
                    self.push(node);
                }
                b'L' => {
                    let digits = self.line()?;
                    let digits = digits.strip_suffix(b"L").unwrap_or(digits);
                    self.push(Node::Int(decimal(digits)?));
                }
                b'F' => {
                    let float = std::str::from_utf8(self.line()?)
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .ok_or(Refused::Malformed("a float in it is none"))?;
                    self.push(Node::Float(float));
                }
                // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
                b'J' => {
                    let int = i32::from_le_bytes(self.array()?);
                    self.push(Node::Int(int.to_string()));
                }
                b'K' => {
                    let int = self.byte()?;
                    self.push(Node::Int(int.to_string()));
                }
                b'M' => {
                    let int = u16::from_le_bytes(self.array()?);
                    self.push(Node::Int(int.to_string()));
                }
                0x8a => {
                    let len = self.byte()?;
                    let bytes = self.take(len.into())?;
                    self.push(Node::Int(from_twos_complement(bytes)?));
                }
                0x8b => {
                    let bytes = self.counted_4()?;
                    self.push(Node::Int(from_twos_complement(bytes)?));
                }
                b'G' => {
                    let float = f64::from_be_bytes(self.array()?);
                    self.push(Node::Float(float));
                }

                // STRING, BINSTRING, SHORT_BINSTRING: what Python 2 called `str`
                b'S' => {
                    let bytes = unquote(self.line()?)?;
                    self.push(Node::Bytes(bytes.into()));
                }
                // BINBYTES as well
                b'T' | b'B' => {
                    let bytes = self.counted_4()?;
                    self.push(Node::Bytes(bytes.into()));
                }
                // SHORT_BINBYTES as well
                b'U' | b'C' => {
                    let len = self.byte()?;
                    let bytes = self.take(len.into())?;
                    self.push(Node::Bytes(bytes.into()));
                }
                // BINBYTES8, BYTEARRAY8
                0x8e | 0x96 => {
                    let bytes = self.counted_8()?;
                    self.push(Node::Bytes(bytes.into()));
                }

                // UNICODE, BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                b'V' => {
                    let text = unescape(self.line()?)?;
                    self.push(Node::Text(text.into()));
                }
                b'X' => {
                    let bytes = self.counted_4()?;
                    self.push_text(bytes)?;
                }
                0x8c => {
                    let len = self.byte()?;
                    let bytes = self.take(len.into())?;
                    self.push_text(bytes)?;
                }
                0x8d => {
                    let bytes = self.counted_8()?;
                    self.push_text(bytes)?;
                }

                // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
                b')' => self.push(Node::Tuple(Vec::new())),
                0x85..=0x87 => {
                    let len = usize::from(op - 0x84);
                    let from = self.stack.len().checked_sub(len).ok_or(UNDERFLOW)?;
                    if self.marks.last().is_some_and(|&mark| mark > from) {
                        return Err(UNDERFLOW);
                    }
                    let items = self.stack.split_off(from);
                    self.push(Node::Tuple(items));
                }
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Node::Tuple(items));
                }

                // EMPTY_LIST, EMPTY_SET, LIST, FROZENSET, APPEND, APPENDS, ADDITEMS
                b']' | 0x8f => self.push(Node::Items(Vec::new())),
                b'l' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.push(Node::Items(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.extend(items)?;
                }

                // EMPTY_DICT, DICT, SETITEM, SETITEMS
                b'}' => self.push(Node::Dict(Vec::new())),
                b'd' => {
                    let items = self.pop_mark()?;
                    self.push(Node::Dict(pairs(&items)?));
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set(&items)?;
                }

                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let class = self.class_lines()?;
                    self.push(Node::Global(class));
                }
                0x93 => {
                    let name = self.pop()?;
                    let module = self.pop()?;
                    match (self.get(module), self.get(name)) {
                        (Node::Text(module), Node::Text(name)) => {
                            let class = qualified(module, name)?;
                            self.push(Node::Global(class));
                        }
                        _ => return Err(Refused::Malformed("a class's name in it is no text")),
                    }
                }
                // REDUCE
                b'R' => {
                    let arguments = self.pop()?;
                    let function = self.pop()?;
                    self.pay_for(arguments)?;
                    let node = self.reduce(function, arguments)?;
                    self.push(node);
                }
                // NEWOBJ, NEWOBJ_EX
                0x81 | 0x92 => {
                    self.pop()?;
                    if op == 0x92 {
                        self.pop()?;
                    }
                    let class = self.pop()?;
                    self.push_object(class)?;
                }
                // INST, OBJ: objects of Python 2's old classes
                b'i' => {
                    let class = self.class_lines()?;
                    self.pop_mark()?;
                    self.push(Node::Object { class, state: None });
                }
                b'o' => {
                    let class = *self.pop_mark()?.first().ok_or(UNDERFLOW)?;
                    self.push_object(class)?;
                }
                // BUILD
                b'b' => {
                    let new = self.pop()?;
                    let object = self.top()?;
                    match &mut self.nodes[object.0 as usize] {
                        Node::Object { state, .. } => *state = Some(new),
                        _ => return Err(Refused::Malformed("it gives a state to no object")),
                    }
                }

                // PERSID, BINPERSID, EXT1, EXT2, EXT4, NEXT_BUFFER, READONLY_BUFFER
                b'P' | b'Q' | 0x82..=0x84 | 0x97 | 0x98 => {
                    return Err(Refused::Type(
                        "an object that is kept outside of the pickle".into(),
                    ));
                }
                _ => return Err(Refused::Malformed("it holds an unknown instruction")),
            }
        }
    }

    /// Counts what a function is given.
    fn pay_for(&mut self, arguments: At) -> Result<(), Refused> {
        let size = |at: &At| match self.get(*at) {
            Node::Items(items) | Node::Tuple(items) => items.len(),
            Node::Text(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        if let Node::Tuple(arguments) = self.get(arguments) {
            // Of a tuple that is itself given to many, each item counts each time.
            self.copied += arguments.len() + arguments.iter().map(size).sum::<usize>();
        }
        if self.copied > 2 * MAX_INPUT {
            return Err(Refused::TooLarge);
        }
        Ok(())
    }

    /// Returns what the few harmless functions give that Python's own types are pickled with.
    fn reduce(&self, function: At, arguments: At) -> Result<Node<'a>, Refused> {
        let (Node::Global(function), Node::Tuple(arguments)) =
            (self.get(function), self.get(arguments))
        else {
            return Err(Refused::Malformed("it calls what is no function"));
        };
        let refused = || {
            let name = printable(function);
            Err(Refused::Type(format!("what `{name}` would make")))
        };
        let arguments: Vec<_> = arguments.iter().map(|&at| self.get(at)).collect();
        Ok(match (function.as_str(), &arguments[..]) {
            ("collections.defaultdict", [] | [Node::Global(_) | Node::None]) => {
                Node::Dict(Vec::new())
            }
            ("collections.OrderedDict", []) => Node::Dict(Vec::new()),
            ("collections.OrderedDict", [Node::Items(items)]) => {
                let mut all = Vec::with_capacity(items.len());
                for &item in items {
                    match self.get(item) {
                        Node::Items(pair) | Node::Tuple(pair) if pair.len() == 2 => {
                            all.push((pair[0], pair[1]));
                        }
                        _ => return refused(),
                    }
                }
                Node::Dict(all)
            }
            (
                "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset",
                rest,
            ) => match rest {
                [] => Node::Items(Vec::new()),
                [Node::Items(items) | Node::Tuple(items)] => Node::Items(items.clone()),
                _ => return refused(),
            },
            (
                "builtins.bytes"
                | "builtins.bytearray"
                | "__builtin__.bytes"
                | "__builtin__.bytearray",
                rest,
            ) => match rest {
                [] => Node::Bytes(Cow::Borrowed(b"")),
                [Node::Bytes(bytes)] => Node::Bytes(bytes.clone()),
                [Node::Text(text), Node::Text(_)] => Node::Bytes(latin_1(text)?.into()),
                _ => return refused(),
            },
            ("_codecs.encode", [Node::Text(text), Node::Text(codec)])
                if matches!(&**codec, "latin1" | "latin-1") =>
            {
                Node::Bytes(latin_1(text)?.into())
            }
            (
                "copy_reg._reconstructor" | "copyreg._reconstructor",
                [Node::Global(class), Node::Global(base), Node::None],
            ) if matches!(base.as_str(), "__builtin__.object" | "builtins.object") => {
                Node::Object {
                    class: class.clone(),
                    state: None,
                }
            }
            ("datetime.datetime" | "datetime.date", [Node::Bytes(packed)]) => {
                match iso_8601(packed) {
                    Some(text) => Node::Text(text.into()),
                    None => return refused(),
                }
            }
            _ => return refused(),
        })
    }

    fn get(&self, at: At) -> &Node<'a> {
        &self.nodes[at.0 as usize]
    }

    fn push(&mut self, node: Node<'a>) {
        // Each comes from at least one byte of the input, whose length is bounded.
        let at = At(u32::try_from(self.nodes.len()).expect("fewer nodes than bytes"));
        self.nodes.push(node);
        self.stack.push(at);
    }

    fn push_text(&mut self, bytes: &'a [u8]) -> Result<(), Refused> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refused::Type("a str that is no text (a lone surrogate)".into()))?;
        self.push(Node::Text(text.into()));
        Ok(())
    }

    fn push_object(&mut self, class: At) -> Result<(), Refused> {
        let Node::Global(class) = self.get(class) else {
            return Err(Refused::Malformed("it makes an object of no class"));
        };
        let class = class.clone();
        self.push(Node::Object { class, state: None });
        Ok(())
    }

    fn top(&self) -> Result<At, Refused> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(UNDERFLOW);
        }
        self.stack.last().copied().ok_or(UNDERFLOW)
    }

    fn pop(&mut self) -> Result<At, Refused> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<At>, Refused> {
        let mark = self.marks.pop().ok_or(UNDERFLOW)?;
        Ok(self.stack.split_off(mark))
    }

    fn memoize(&mut self, id: u32) -> Result<(), Refused> {
        let top = self.top()?;
        self.memo.insert(id, top);
        Ok(())
    }

    fn recall(&mut self, id: u32) -> Result<(), Refused> {
        let at = *self
            .memo
            .get(&id)
            .ok_or(Refused::Malformed("it recalls what it did not keep"))?;
        self.stack.push(at);
        Ok(())
    }

    fn extend(&mut self, new: Vec<At>) -> Result<(), Refused> {
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Items(items) => items.extend(new),
            Node::Object { class, .. } => {
                let name = printable(class);
                return Err(Refused::Type(format!("an object of the class `{name}`")));
            }
            _ => return Err(Refused::Malformed("it appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[At]) -> Result<(), Refused> {
        let new = pairs(items)?;
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Dict(all) => all.extend(new),
            Node::Object { class, .. } => {
                let name = printable(class);
                return Err(Refused::Type(format!("an object of the class `{name}`")));
            }
            _ => return Err(Refused::Malformed("it sets a key of what is no dict")),
        }
        Ok(())
    }

    fn class_lines(&mut self) -> Result<String, Refused> {
        let not_text = |_| Refused::Malformed("a class's name in it is no text");
        let module = std::str::from_utf8(self.line()?).map_err(not_text)?;
        let name = std::str::from_utf8(self.line()?).map_err(not_text)?;
        qualified(module, name)
    }

    fn byte(&mut self) -> Result<u8, Refused> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Refused::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        self.take(N)?.try_into().map_err(|_| Refused::Truncated)
    }

    fn counted_4(&mut self) -> Result<&'a [u8], Refused> {
        let len = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| Refused::Truncated)?)
    }

    fn counted_8(&mut self) -> Result<&'a [u8], Refused> {
        let len = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| Refused::Truncated)?)
    }

    fn line(&mut self) -> Result<&'a [u8], Refused> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or(Refused::Truncated)?)?;
        self.byte()?;
        Ok(line)
    }

    fn number_line(&mut self) -> Result<u32, Refused> {
        std::str::from_utf8(self.line()?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Refused::Malformed("a place of its memo is no number"))
    }
}

const UNDERFLOW: Refused = Refused::Malformed("its stack holds less than it takes");

/// A class's name may not be long: an object in a loop would copy it again and again.
fn qualified(module: &str, name: &str) -> Result<String, Refused> {
    if module.len() + name.len() > 256 {
        return Err(Refused::Malformed("a class's name in it is too long"));
    }
    Ok(format!("{module}.{name}"))
}

fn pairs(items: &[At]) -> Result<Vec<(At, At)>, Refused> {
    let (pairs, []) = items.as_chunks::<2>() else {
        return Err(Refused::Malformed("a key in it has no value"));
    };
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

/// Returns the decimal number as JSON writes it.
fn decimal(text: &[u8]) -> Result<String, Refused> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refused::Malformed("an int in it is none"));
    }
    let digits = std::str::from_utf8(digits)
        .map_err(|_| Refused::Malformed("an int in it is none"))?
        .trim_start_matches('0');
    match digits {
        "" => Ok("0".into()),
        _ if digits.len() > 5 * MAX_INT / 2 => {
            Err(Refused::Type("an int of more than 600 digits".into()))
        }
        _ => Ok(format!("{sign}{digits}")),
    }
}

/// Returns the little-endian number in decimal.
fn from_twos_complement(bytes: &[u8]) -> Result<String, Refused> {
    if bytes.len() > MAX_INT {
        return Err(Refused::Type("an int of more than 600 digits".into()));
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            (*byte, carry) = (!*byte).overflowing_add(carry.into());
        }
        if carry {
            magnitude.push(1);
        }
    }
    // Nine decimal digits at a time, the lowest first.
    let mut groups: Vec<u64> = vec![0];
    for &byte in magnitude.iter().rev() {
        let mut carry = u64::from(byte);
        for group in &mut groups {
            let sum = *group * 256 + carry;
            *group = sum % 1_000_000_000;
            carry = sum / 1_000_000_000;
        }
        if carry > 0 {
            groups.push(carry);
        }
    }
    let mut text = String::from(if negative { "-" } else { "" });
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    decimal(text.as_bytes())
}

/// Returns what Python 2's `repr` of a string stands for.
fn unquote(line: &[u8]) -> Result<Vec<u8>, Refused> {
    const BAD: Refused = Refused::Malformed("a string in it is not written as Python does");
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(BAD),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&quoted @ (b'\\' | b'\'' | b'"')) => quoted,
            Some(b'x') => {
                let hex = bytes.as_slice().get(..2).ok_or(BAD)?;
                bytes = bytes.as_slice()[2..].iter();
                u8::try_from(code(hex).ok_or(BAD)?).map_err(|_| BAD)?
            }
            _ => return Err(BAD),
        });
    }
    Ok(out)
}

/// Returns the text that Python's codec `raw-unicode-escape` wrote.
fn unescape(line: &[u8]) -> Result<String, Refused> {
    const BAD: Refused = Refused::Malformed("a str in it is not written as Python does");
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                out.push(char::from(byte));
                rest = after;
                if let ([b'\\', ..], Some((&next, after))) = (&[byte][..], after.split_first()) {
                    out.push(char::from(next));
                    rest = after;
                }
                continue;
            }
        };
        let code = code(rest.get(2..2 + digits).ok_or(BAD)?).ok_or(BAD)?;
        out.push(
            char::from_u32(code)
                .ok_or_else(|| Refused::Type("a str that is no text (a lone surrogate)".into()))?,
        );
        rest = &rest[2 + digits..];
    }
    Ok(out)
}

fn code(hex: &[u8]) -> Option<u32> {
    let all = hex.iter().all(u8::is_ascii_hexdigit);
    let hex = all.then(|| std::str::from_utf8(hex).ok()).flatten()?;
    u32::from_str_radix(hex, 16).ok()
}

fn latin_1(text: &str) -> Result<Vec<u8>, Refused> {
    text.chars()
        .map(|c| u8::try_from(c).map_err(|_| Refused::Malformed("bytes in it are none")))
        .collect()
}

/// Returns a date or a time without a zone as Python's `isoformat()` does.
fn iso_8601(packed: &[u8]) -> Option<String> {
    let (&[high, low, month, day], time) = packed.split_first_chunk::<4>()?;
    let year = u16::from_be_bytes([high, low]);
    // The highest bit tells the second of two equal hours, when clocks are put back.
    let month = month & 0x7f;
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    let &[hour, minute, second, a, b, c] = time else {
        return time.is_empty().then_some(date);
    };
    let micros = u32::from_be_bytes([0, a, b, c]);
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let time = format!("{date}T{hour:02}:{minute:02}:{second:02}");
    Some(match micros {
        0 => time,
        _ => format!("{time}.{micros:06}"),
    })
}
