//! The stack machine that a pickle is a program for: it makes values, and looks up, builds and
//! calls nothing that one names.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::ErrorKind;
use super::spelling::{decimal, from_twos_complement, iso_8601, latin_1, unescape, unquote};

/// The longest pickle or JSON text that is read, in bytes.
pub(super) const MAX_INPUT: usize = 1 << 20;
/// How much of one pickle may be copied, in items and bytes. A memo lets a small one name the same
/// thing many times.
const MAX_COPIED: usize = 4 * MAX_INPUT;

/// Where a value stands in a pickle's list of values.
///
/// Values name each other by place, so that nothing is copied when a memo names it twice, and
/// nothing recurses when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct At(pub(super) u32);

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
    /// A list, set or frozenset.
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

/// Returns the name of a class or function, as far as an error may show it: who wrote the pickle
/// wrote it.
pub(super) fn printable(name: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._<>".contains(c);
    if name.len() <= 100 && name.chars().all(is_name) {
        name
    } else {
        "(a name that is not shown)"
    }
}

/// The machine, and how far it came.
pub(super) struct Machine<'a> {
    input: &'a [u8],
    rest: &'a [u8],
    /// Where in the input the instruction begins that is carried out.
    pub(super) offset: usize,
    pub(super) nodes: Vec<Node<'a>>,
    /// Where in the input each began.
    pub(super) offsets: Vec<usize>,
    stack: Vec<At>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, At>,
    copied: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            rest: input,
            offset: 0,
            nodes: Vec::new(),
            offsets: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        }
    }

    /// Reads all of the input, of protocol 0 to 5, and returns the outermost value.
    pub(super) fn run(&mut self) -> Result<At, ErrorKind> {
        if self.input.len() > MAX_INPUT {
            self.offset = MAX_INPUT;
            return Err(ErrorKind::TooLarge);
        }
        let root = self.steps()?;
        self.offset = self.input.len() - self.rest.len();
        if !self.rest.is_empty() {
            return Err(ErrorKind::Malformed("there is something after its end"));
        }
        Ok(root)
    }

    fn steps(&mut self) -> Result<At, ErrorKind> {
        loop {
            self.offset = self.input.len() - self.rest.len();
            let op = self.byte()?;
            match op {
                // PROTO, FRAME
                0x80 => {
                    if self.byte()? > 5 {
                        return Err(ErrorKind::Malformed("its protocol is newer than 5"));
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
                    let id = u32::try_from(self.memo.len()).map_err(|_| ErrorKind::TooLarge)?;
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
                        .ok_or(ErrorKind::Malformed("a float in it is none"))?;
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
                    let (Node::Text(module), Node::Text(name)) = (self.get(module), self.get(name))
                    else {
                        return Err(ErrorKind::Malformed("a class's name in it is no text"));
                    };
                    let class = qualified(module, name)?;
                    self.copies(class.len())?;
                    self.push(Node::Global(class));
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
                        _ => return Err(ErrorKind::Malformed("it gives a state to no object")),
                    }
                }

                // PERSID, BINPERSID, EXT1, EXT2, EXT4, NEXT_BUFFER, READONLY_BUFFER
                b'P' | b'Q' | 0x82..=0x84 | 0x97 | 0x98 => {
                    return Err(ErrorKind::Type(
                        "an object that is kept outside of the pickle".into(),
                    ));
                }
                _ => return Err(ErrorKind::Malformed("it holds an unknown instruction")),
            }
        }
    }

    fn copies(&mut self, items_or_bytes: usize) -> Result<(), ErrorKind> {
        self.copied = self.copied.saturating_add(items_or_bytes);
        match self.copied > MAX_COPIED {
            true => Err(ErrorKind::TooLarge),
            false => Ok(()),
        }
    }

    /// Counts what a function is given: some copy it, and a memo gives one list to many.
    fn pay_for(&mut self, arguments: At) -> Result<(), ErrorKind> {
        let size = |at: &At| match self.get(*at) {
            Node::Items(items) | Node::Tuple(items) => items.len(),
            Node::Text(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            Node::Global(name) => name.len(),
            _ => 0,
        };
        let Node::Tuple(arguments) = self.get(arguments) else {
            return Ok(());
        };
        let sizes = arguments.iter().map(size).fold(0, usize::saturating_add);
        self.copies(arguments.len().saturating_add(sizes))
    }

    /// Returns what the few harmless functions give that Python's own types are pickled with.
    fn reduce(&self, function: At, arguments: At) -> Result<Node<'a>, ErrorKind> {
        let (Node::Global(function), Node::Tuple(arguments)) =
            (self.get(function), self.get(arguments))
        else {
            return Err(ErrorKind::Malformed("it calls what is no function"));
        };
        let refused = || {
            let name = printable(function);
            Err(ErrorKind::Type(format!("what `{name}` would make")))
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
            ("decimal.Decimal", [Node::Text(text)]) => Node::Text(text.clone()),
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
        self.offsets.push(self.offset);
        self.stack.push(at);
    }

    fn push_text(&mut self, bytes: &'a [u8]) -> Result<(), ErrorKind> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| ErrorKind::Type("a str that is no text (a lone surrogate)".into()))?;
        self.push(Node::Text(text.into()));
        Ok(())
    }

    fn push_object(&mut self, class: At) -> Result<(), ErrorKind> {
        let Node::Global(class) = self.get(class) else {
            return Err(ErrorKind::Malformed("it makes an object of no class"));
        };
        let class = class.clone();
        self.copies(class.len())?;
        self.push(Node::Object { class, state: None });
        Ok(())
    }

    fn top(&self) -> Result<At, ErrorKind> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(UNDERFLOW);
        }
        self.stack.last().copied().ok_or(UNDERFLOW)
    }

    fn pop(&mut self) -> Result<At, ErrorKind> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<At>, ErrorKind> {
        let mark = self.marks.pop().ok_or(UNDERFLOW)?;
        Ok(self.stack.split_off(mark))
    }

    fn memoize(&mut self, id: u32) -> Result<(), ErrorKind> {
        let top = self.top()?;
        self.memo.insert(id, top);
        Ok(())
    }

    fn recall(&mut self, id: u32) -> Result<(), ErrorKind> {
        let at = *self
            .memo
            .get(&id)
            .ok_or(ErrorKind::Malformed("it recalls what it did not keep"))?;
        self.stack.push(at);
        Ok(())
    }

    fn extend(&mut self, new: Vec<At>) -> Result<(), ErrorKind> {
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Items(items) => items.extend(new),
            Node::Object { class, .. } => {
                let name = printable(class);
                return Err(ErrorKind::Type(format!("an object of the class `{name}`")));
            }
            _ => return Err(ErrorKind::Malformed("it appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[At]) -> Result<(), ErrorKind> {
        let new = pairs(items)?;
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Dict(all) => all.extend(new),
            Node::Object { class, .. } => {
                let name = printable(class);
                return Err(ErrorKind::Type(format!("an object of the class `{name}`")));
            }
            _ => return Err(ErrorKind::Malformed("it sets a key of what is no dict")),
        }
        Ok(())
    }

    fn class_lines(&mut self) -> Result<String, ErrorKind> {
        let not_text = |_| ErrorKind::Malformed("a class's name in it is no text");
        let module = std::str::from_utf8(self.line()?).map_err(not_text)?;
        let name = std::str::from_utf8(self.line()?).map_err(not_text)?;
        qualified(module, name)
    }

    fn byte(&mut self) -> Result<u8, ErrorKind> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ErrorKind> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(ErrorKind::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ErrorKind> {
        self.take(N)?.try_into().map_err(|_| ErrorKind::Truncated)
    }

    fn counted_4(&mut self) -> Result<&'a [u8], ErrorKind> {
        let len = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| ErrorKind::Truncated)?)
    }

    fn counted_8(&mut self) -> Result<&'a [u8], ErrorKind> {
        let len = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| ErrorKind::Truncated)?)
    }

    fn line(&mut self) -> Result<&'a [u8], ErrorKind> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or(ErrorKind::Truncated)?)?;
        self.byte()?;
        Ok(line)
    }

    fn number_line(&mut self) -> Result<u32, ErrorKind> {
        std::str::from_utf8(self.line()?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(ErrorKind::Malformed("a place of its memo is no number"))
    }
}

const UNDERFLOW: ErrorKind = ErrorKind::Malformed("its stack holds less than it takes");

/// Returns the full name of a class or function.
fn qualified(module: &str, name: &str) -> Result<String, ErrorKind> {
    if module.len() + name.len() > 256 {
        return Err(ErrorKind::Malformed("a class's name in it is too long"));
    }
    Ok(format!("{module}.{name}"))
}

fn pairs(items: &[At]) -> Result<Vec<(At, At)>, ErrorKind> {
    let (pairs, []) = items.as_chunks::<2>() else {
        return Err(ErrorKind::Malformed("a key in it has no value"));
    };
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
