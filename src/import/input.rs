//! The bytes of a pickle, read from the first to the last.

use super::error::{malformed, truncated};
use crate::decode_error::DecodeError;

/// The bytes of a pickle, and the rest that is not read yet.
pub(super) struct Input<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self { all, rest: all }
    }

    /// Returns the length of the whole pickle.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the offset of the next byte.
    pub(super) fn offset(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| truncated())
    }

    /// Reads bytes after their number in one byte.
    pub(super) fn counted_1(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.byte()?;
        self.take(len.into())
    }

    /// Reads bytes after their number in four bytes.
    pub(super) fn counted_4(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| truncated())?)
    }

    /// Reads bytes after their number in eight bytes.
    pub(super) fn counted_8(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| truncated())?)
    }

    /// Reads a line, and returns it without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or_else(truncated)?)?;
        self.byte()?;
        Ok(line)
    }

    /// Reads a line with the number of an entry of the memo.
    pub(super) fn memo_line(&mut self) -> Result<u32, DecodeError> {
        std::str::from_utf8(self.line()?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| malformed("an entry of its memo has no number"))
    }

    /// Reads two lines with the module and the name of a class or function.
    pub(super) fn class_lines(&mut self) -> Result<String, DecodeError> {
        let not_text = |_| malformed("the name of a class in it is not text");
        let module = std::str::from_utf8(self.line()?).map_err(not_text)?;
        let name = std::str::from_utf8(self.line()?).map_err(not_text)?;
        qualified(module, name)
    }
}

/// Returns the full name of a class or function.
pub(super) fn qualified(module: &str, name: &str) -> Result<String, DecodeError> {
    if module.len() + name.len() > 256 {
        return Err(malformed("the name of a class in it is too long"));
    }
    Ok(format!("{module}.{name}"))
}
