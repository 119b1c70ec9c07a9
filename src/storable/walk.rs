//! The walk through an image while it becomes a Rust value, within its bounds.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde::de::DeserializeSeed;

use super::cost;
use super::error::{Result, invalid};
use super::image::Image;
use super::scalar::Scalar;
use super::string::PerlString;
use super::value::{Kind, Value};
use crate::decode_error::DecodeErrorKind;

/// One walk through an image, from a value to all values inside.
pub(super) struct Walk<'de> {
    max_depth: usize,
    /// How many bytes of memory may still be used.
    budget: Cell<usize>,
    /// The arrays and hashes around the current value.
    open: RefCell<HashSet<Value<'de>>>,
}

impl<'de> Walk<'de> {
    /// Returns a walk of values of `image`.
    pub(super) fn new(image: &Image<'_>) -> Self {
        Self {
            max_depth: image.options().max_depth,
            budget: Cell::new(image.budget()),
            open: RefCell::default(),
        }
    }

    /// Takes so many bytes of memory from the budget.
    pub(super) fn spend(&self, bytes: usize, offset: usize) -> Result<()> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget
            .set(left.ok_or_else(|| invalid(DecodeErrorKind::Growth, offset))?);
        Ok(())
    }
}

/// A value, and its place in the walk.
#[derive(Clone, Copy)]
pub(super) struct Place<'w, 'de> {
    pub(super) walk: &'w Walk<'de>,
    pub(super) value: Value<'de>,
    /// How many references, arrays, hashes, and wrappers of the Rust type are around the value.
    depth: usize,
}

impl<'w, 'de> Place<'w, 'de> {
    /// Returns the place of the outermost value.
    pub(super) fn outermost(walk: &'w Walk<'de>, value: Value<'de>) -> Self {
        Self {
            walk,
            value,
            depth: 0,
        }
    }

    /// Follows references to their end, and returns the kind of the value there.
    pub(super) fn meet(&mut self) -> Result<Kind<'de>> {
        let mut references = self.follow()?;
        let kind = self.value.kind();
        self.walk.spend(cost::of(&kind), self.value.offset())?;

        if matches!(kind, Kind::Array(_) | Kind::Hash(_)) && self.depth > 0 {
            // In Perl there is a reference between any two containers. Each counts, also where the
            // image leaves it out.
            references = references.max(1);
        }
        *self = self.deeper(references)?;
        Ok(kind)
    }

    /// Moves to the end of all references, and counts them.
    pub(super) fn follow(&mut self) -> Result<usize> {
        let offset = self.value.offset();
        let end = self.value.follow();
        let (value, references) = end.ok_or_else(|| invalid(DecodeErrorKind::Cycle, offset))?;
        self.value = value;
        Ok(references)
    }

    /// Returns the place that is so many levels deeper.
    pub(super) fn deeper(mut self, levels: usize) -> Result<Self> {
        self.depth += levels;
        if self.depth > self.walk.max_depth {
            return Err(invalid(DecodeErrorKind::Depth, self.value.offset()));
        }
        Ok(self)
    }

    pub(super) fn scalar(self, kind: Kind<'de>) -> Scalar<'de> {
        let levels_left = self.walk.max_depth - self.depth;
        Scalar {
            kind,
            offset: self.value.offset(),
            levels_left,
        }
    }
}

/// The inside of an array or a hash. Dropping it leaves the array or hash.
pub(super) struct Inside<'w, 'de> {
    walk: &'w Walk<'de>,
    value: Value<'de>,
    /// The depth of the places inside.
    depth: usize,
}

impl<'w, 'de> Inside<'w, 'de> {
    pub(super) fn enter(place: Place<'w, 'de>) -> Result<Self> {
        let Place { walk, value, depth } = place.deeper(1)?;
        if !walk.open.borrow_mut().insert(value) {
            return Err(invalid(DecodeErrorKind::Cycle, value.offset()));
        }
        Ok(Self { walk, value, depth })
    }

    pub(super) fn read<T: DeserializeSeed<'de>>(
        &self,
        value: Value<'de>,
        seed: T,
    ) -> Result<T::Value> {
        seed.deserialize(self.place(value))
            .map_err(|error| error.at(value.offset()))
    }

    pub(super) fn read_key<T: DeserializeSeed<'de>>(
        &self,
        key: PerlString<'de>,
        seed: T,
    ) -> Result<T::Value> {
        let place = self.place(self.value);
        self.walk.spend(cost::of_text(key), self.value.offset())?;
        seed.deserialize(place.scalar(Kind::String(key)))
    }

    pub(super) fn place(&self, value: Value<'de>) -> Place<'w, 'de> {
        Place {
            walk: self.walk,
            value,
            depth: self.depth,
        }
    }
}

impl Drop for Inside<'_, '_> {
    fn drop(&mut self) {
        self.walk.open.borrow_mut().remove(&self.value);
    }
}
