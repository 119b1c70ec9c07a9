//! The bytes of an image, read from the first to the last.

use super::error::{Result, invalid};
use crate::decode_error::DecodeErrorKind;

/// The bytes of an image, and the offset of the next one.
pub(super) struct Input<'a> {
    image: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(image: &'a [u8]) -> Self {
        Self { image, offset: 0 }
    }

    /// Returns the offset of the next byte.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.image.len() - self.offset
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = &self.image[self.offset..];
        let array = rest
            .first_chunk()
            .ok_or_else(|| invalid(DecodeErrorKind::Truncated, self.image.len()))?;
        self.offset += N;
        Ok(*array)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.image[self.offset..];
        let taken = rest
            .get(..length)
            .ok_or_else(|| invalid(DecodeErrorKind::Truncated, self.image.len()))?;
        self.offset += length;
        Ok(taken)
    }

    /// Skips `prefix` if it comes next, and returns whether it does.
    pub(super) fn skip(&mut self, prefix: &[u8]) -> bool {
        let found = self.image[self.offset..].starts_with(prefix);
        if found {
            self.offset += prefix.len();
        }
        found
    }
}
