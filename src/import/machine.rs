//! The stack machine that runs a pickle: it makes values, and calls no Python function.

use std::collections::HashMap;

use super::error::{holds, lone_surrogate, malformed, too_large, underflow};
use super::input::Input;
use super::node::{At, Node, printable};
use super::opcode::STOP;
use crate::decode_error::{DecodeError, DecodeErrorKind};

/// The length of the longest pickle or JSON text that is read, in bytes.
pub(super) const MAX_INPUT: usize = 1 << 20;
/// How many items and bytes of one pickle may be copied. With a memo, a small pickle can name one
/// large value many times.
const MAX_COPIED: usize = 4 * MAX_INPUT;

/// The machine while it runs.
pub(super) struct Machine<'a> {
    pub(super) input: Input<'a>,
    /// The offset of the current instruction.
    pub(super) offset: usize,
    pub(super) nodes: Vec<Node<'a>>,
    /// The offset of the instruction that made each node.
    pub(super) offsets: Vec<usize>,
    pub(super) stack: Vec<At>,
    /// The height of the stack at each mark.
    pub(super) marks: Vec<usize>,
    memo: HashMap<u32, At>,
    copied: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input: Input::new(input),
            offset: 0,
            nodes: Vec::new(),
            offsets: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        }
    }

    /// Runs the whole pickle, of protocol 0 to 5, and returns the outermost value.
    pub(super) fn run(&mut self) -> Result<At, DecodeError> {
        if self.input.len() > MAX_INPUT {
            self.offset = MAX_INPUT;
            return Err(too_large());
        }
        let root = loop {
            self.offset = self.input.offset();
            match self.input.byte()? {
                STOP => break self.pop()?,
                instruction => self.step(instruction)?,
            }
        };
        self.offset = self.input.offset();
        if !self.input.is_at_end() {
            let error = DecodeError::new(DecodeErrorKind::TrailingBytes);
            return Err(error.saying("there is something after its end"));
        }
        Ok(root)
    }

    /// Adds to what was copied so far.
    pub(super) fn count_copied(&mut self, items_or_bytes: usize) -> Result<(), DecodeError> {
        self.copied = self.copied.saturating_add(items_or_bytes);
        match self.copied > MAX_COPIED {
            true => Err(too_large()),
            false => Ok(()),
        }
    }

    pub(super) fn get(&self, at: At) -> &Node<'a> {
        &self.nodes[at.0 as usize]
    }

    pub(super) fn push(&mut self, node: Node<'a>) {
        // Each comes from at least one byte of the input, whose length is bounded.
        let at = At(u32::try_from(self.nodes.len()).expect("fewer nodes than bytes"));
        self.nodes.push(node);
        self.offsets.push(self.offset);
        self.stack.push(at);
    }

    pub(super) fn push_text(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| lone_surrogate())?;
        self.push(Node::Text(text.into()));
        Ok(())
    }

    pub(super) fn push_object(&mut self, class: At) -> Result<(), DecodeError> {
        let Node::Global(class) = self.get(class) else {
            return Err(malformed("it makes an object without a class"));
        };
        let class = class.clone();
        self.count_copied(class.len())?;
        self.push(Node::Object { class, state: None });
        Ok(())
    }

    pub(super) fn top(&self) -> Result<At, DecodeError> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(underflow());
        }
        self.stack.last().copied().ok_or_else(underflow)
    }

    pub(super) fn pop(&mut self) -> Result<At, DecodeError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Takes all values above the last mark.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<At>, DecodeError> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    /// Returns the number of the next entry that `MEMOIZE` makes.
    pub(super) fn next_memo(&self) -> Result<u32, DecodeError> {
        u32::try_from(self.memo.len()).map_err(|_| too_large())
    }

    pub(super) fn memoize(&mut self, id: u32) -> Result<(), DecodeError> {
        let top = self.top()?;
        self.memo.insert(id, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, id: u32) -> Result<(), DecodeError> {
        let at = *self.memo.get(&id).ok_or_else(|| {
            let error = DecodeError::new(DecodeErrorKind::Tag);
            error.saying("it recalls a value that it did not memoize")
        })?;
        self.stack.push(at);
        Ok(())
    }

    /// Adds items to the list or set on top of the stack.
    pub(super) fn extend(&mut self, new: Vec<At>) -> Result<(), DecodeError> {
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Items(items) => items.extend(new),
            Node::Object { class, .. } => {
                let name = printable(class);
                return Err(holds(format!("an object of the class `{name}`")));
            }
            _ => {
                return Err(malformed("it appends to a value that is no list"));
            }
        }
        Ok(())
    }

    /// Sets keys of the dict on top of the stack.
    pub(super) fn set(&mut self, items: &[At]) -> Result<(), DecodeError> {
        let new = pairs(items)?;
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Dict(all) => all.extend(new),
            Node::Object { class, .. } => {
                let name = printable(class);
                return Err(holds(format!("an object of the class `{name}`")));
            }
            _ => {
                return Err(malformed("it sets a key of a value that is no dict"));
            }
        }
        Ok(())
    }
}

/// Returns keys and values that alternate in `items` as pairs.
pub(super) fn pairs(items: &[At]) -> Result<Vec<(At, At)>, DecodeError> {
    let (pairs, []) = items.as_chunks::<2>() else {
        return Err(malformed("a key in it has no value"));
    };
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
