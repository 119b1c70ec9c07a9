//! The small parts of an image: strings, the keys of hashes, classes and back-references.

use super::arena::{ClassId, Data, Entry, NodeId, Span};
use super::decode::{Decoder, refused};
use super::error::{Result, invalid};
use super::opcode::*;
use super::string::Encoding;
use crate::decode_error::{DecodeErrorKind, Refused};

impl Decoder<'_> {
    /// Reads the key that follows a value, and returns the entry; `None` for a placeholder, which says
    /// that a restricted hash allows the key.
    pub(super) fn entry(&mut self, value: NodeId, flagged: bool) -> Result<Option<Entry>> {
        let at = self.input.offset();
        let flags = if flagged { self.input.byte()? } else { 0 };
        if flags & KEY_OBJECT != 0 {
            return Err(refused(Refused::KeyObject, at));
        }
        let encoding = match flags {
            _ if flags & KEY_UTF8 != 0 => Encoding::Utf8,
            _ if flags & KEY_WAS_UTF8 != 0 => Encoding::Latin1,
            _ => Encoding::Unknown,
        };
        let key = self.long()?;
        Ok((flags & KEY_PLACEHOLDER == 0).then_some(Entry {
            key,
            encoding,
            value,
        }))
    }

    /// Reads the number of a value that precedes this one.
    pub(super) fn back_reference(&mut self, at: usize) -> Result<NodeId> {
        let node = NodeId::from_be_bytes(self.input.array()?);
        let known = (node as usize) < self.arena.nodes.len();
        if known {
            Ok(node)
        } else {
            Err(invalid(DecodeErrorKind::Tag, at))
        }
    }

    /// Reads the name of a class. The object follows.
    pub(super) fn named_class(&mut self) -> Result<ClassId> {
        let at = self.input.offset();
        let name = match self.input.byte()? {
            first if first & LONG_CLASS != 0 => self.long()?,
            length => self.span(length.into(), at)?,
        };
        self.arena.classes.push(name);
        Ok(self.arena.classes.len() as ClassId - 1)
    }

    /// Reads the number of a class whose name precedes this one. The object follows.
    pub(super) fn numbered_class(&mut self) -> Result<ClassId> {
        let at = self.input.offset();
        let class = match self.input.byte()? {
            first if first & LONG_CLASS != 0 => self.layout.number(&mut self.input)?,
            class => class.into(),
        };
        let known = (class as usize) < self.arena.classes.len();
        if known {
            Ok(class)
        } else {
            Err(invalid(DecodeErrorKind::Class, at))
        }
    }

    /// Reads the pattern and the flags of a regular expression.
    pub(super) fn regexp(&mut self) -> Result<Data> {
        let long = self.input.byte()? & LONG_PATTERN != 0;
        let pattern = if long { self.long()? } else { self.short()? };
        self.short()?;
        Ok(Data::Regexp(pattern))
    }

    /// Passes over a string whose length has one byte.
    pub(super) fn short(&mut self) -> Result<Span> {
        let at = self.input.offset();
        let length = self.input.byte()?;
        self.span(length.into(), at)
    }

    /// Passes over a string whose length has four bytes.
    pub(super) fn long(&mut self) -> Result<Span> {
        let at = self.input.offset();
        let length = self.layout.length(&mut self.input, 1)?;
        self.span(length, at)
    }

    fn span(&mut self, length: u32, length_at: usize) -> Result<Span> {
        let start = self.input.offset() as u32;
        match self.input.take(length as usize) {
            Ok(_) => Ok(Span { start, length }),
            Err(_) => Err(invalid(DecodeErrorKind::Length, length_at)),
        }
    }
}
