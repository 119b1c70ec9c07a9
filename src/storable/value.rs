//! The values of an image, and their contents.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::slice;

use super::arena::{Data, Entry, NO_CLASS, NO_NODE, Node, NodeId, Reference, Span};
use super::image::Image;
use super::string::{Encoding, PerlString};

impl Image<'_> {
    /// Returns the outermost value: the referent of the reference that `freeze` was called with.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // The output of `nfreeze(\5)`.
    /// let image = Image::parse(b"\x05\x0b\x08\x85")?;
    ///
    /// assert!(matches!(image.root().kind(), Kind::Integer(5)));
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn root(&self) -> Value<'_> {
        self.value(self.arena().root)
    }

    fn value(&self, node: NodeId) -> Value<'_> {
        Value {
            image: self,
            id: node,
        }
    }
}

/// One value of an [`Image`], from which others can be reached.
///
/// Two are equal if they are the same value, which Perl shares, and not if they have equal contents.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{Image, Kind};
///
/// // The output of `my $me = {}; $me->{me} = $me; nfreeze($me)`: a hash that contains itself.
/// let image = Image::parse(b"\x05\x0b\x03\0\0\0\x01\x04\0\0\0\0\0\0\0\0\x02me")?;
/// let root = image.root();
///
/// let Kind::Hash(mut entries) = root.kind() else { panic!("not a hash") };
/// let (key, value) = entries.next().expect("an entry");
/// assert_eq!(key.text().as_deref(), Some("me"));
/// assert_eq!(value.referent(), Some(root));
/// # Ok::<(), rocket_session_kit::DecodeError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Value<'i> {
    image: &'i Image<'i>,
    id: NodeId,
}

/// The kind of a [`Value`], with its contents.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Kind<'i> {
    /// Perl's `undef`.
    Undef,
    /// A boolean. Perl has booleans since 5.36; before that, only its own true and false count.
    Boolean(bool),
    /// An integer. One above `i64::MAX` is written as a string.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// A string. In network order, every number but an integer of 32 bits is one too.
    String(PerlString<'i>),
    /// A regular expression.
    Regexp {
        /// The text between the slashes.
        pattern: PerlString<'i>,
        /// The letters after the second slash.
        flags: PerlString<'i>,
    },
    /// A reference to another value: plain, weak or overloaded.
    Reference(Value<'i>),
    /// An array. Its elements are often references.
    Array(Elements<'i>),
    /// A hash. The last of several values with the same key counts, as in Perl.
    Hash(Entries<'i>),
}

impl<'i> Value<'i> {
    /// Returns the kind of this value.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // The output of `nfreeze([1, 2])`.
    /// let image = Image::parse(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x08\x82")?;
    ///
    /// let Kind::Array(elements) = image.root().kind() else { panic!("not an array") };
    /// let kinds: Vec<_> = elements.map(|element| element.kind()).collect();
    /// assert!(matches!(kinds[..], [Kind::Integer(1), Kind::Integer(2)]));
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn kind(self) -> Kind<'i> {
        let arena = self.image.arena();
        match self.node().data {
            Data::Undef => Kind::Undef,
            Data::Boolean(boolean) => Kind::Boolean(boolean),
            Data::Integer(integer) => Kind::Integer(integer),
            Data::Double(double) => Kind::Double(double),
            Data::String(span, true) => {
                Kind::String(PerlString::new(arena.bytes(span), Encoding::Utf8))
            }
            Data::String(span, false) => {
                Kind::String(PerlString::new(arena.bytes(span), Encoding::Unknown))
            }
            Data::Regexp(span) => {
                let after = span.range().end;
                let flags = Span {
                    start: after as u32 + 1,
                    length: arena.image[after].into(),
                };
                let [pattern, flags] =
                    [span, flags].map(|span| PerlString::new(arena.bytes(span), Encoding::Unknown));
                Kind::Regexp { pattern, flags }
            }
            Data::Reference(reference) => Kind::Reference(self.image.value(reference.target)),
            Data::Array(span) => Kind::Array(Elements::new(self.image, span)),
            Data::Hash(span) => Kind::Hash(Entries::new(self.image, span)),
        }
    }

    /// Returns the name of the class that this value is blessed into.
    ///
    /// Perl blesses the referent, not the reference: for a reference, call this on its
    /// [`referent`](Self::referent).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Value};
    ///
    /// // The output of `nfreeze({ user => bless {}, "User" })`.
    /// let image = Image::parse(b"\x05\x0b\x03\0\0\0\x01\x04\x11\x04User\x03\0\0\0\0\0\0\0\x04user")?;
    /// let user = image.root().get("user").expect("the user");
    ///
    /// assert_eq!(user.class(), None);
    /// assert_eq!(user.referent().and_then(Value::class).as_deref(), Some("User"));
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn class(self) -> Option<Cow<'i, str>> {
        let class = self.node().class;
        if class == NO_CLASS {
            return None;
        }
        let arena = self.image.arena();
        let name = arena.bytes(arena.classes[class as usize]);
        PerlString::new(name, Encoding::Unknown).text()
    }

    /// Follows references, one after the other, and returns the value at their end.
    ///
    /// A value that is not a reference is its own referent. `None` if the references form a circle.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // The output of `nfreeze(\\\5)`, and of `my $x; $x = \$x; nfreeze($x)`.
    /// let three = Image::parse(b"\x05\x0b\x04\x04\x08\x85")?;
    /// let circle = Image::parse(b"\x05\x0b\x04\0\0\0\0\0")?;
    ///
    /// assert!(matches!(three.root().referent().map(|end| end.kind()), Some(Kind::Integer(5))));
    /// assert_eq!(circle.root().referent(), None);
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn referent(self) -> Option<Self> {
        self.follow().map(|(referent, _)| referent)
    }

    /// Follows references to their end, and counts them.
    pub(super) fn follow(self) -> Option<(Self, usize)> {
        match self.node().data {
            Data::Reference(Reference { end: NO_NODE, .. }) => None,
            Data::Reference(Reference { end, steps, .. }) => {
                Some((self.image.value(end), steps as usize))
            }
            _ => Some((self, 0)),
        }
    }

    /// Returns the value under `key`, if this is a hash with that key, or a reference to one.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::Image;
    ///
    /// // The output of `nfreeze({ a => 1 })`.
    /// let image = Image::parse(b"\x05\x0b\x03\0\0\0\x01\x08\x81\0\0\0\x01a")?;
    ///
    /// assert!(image.root().get("a").is_some());
    /// assert!(image.root().get("b").is_none());
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn get(self, key: &str) -> Option<Self> {
        let Kind::Hash(mut entries) = self.referent()?.kind() else {
            return None;
        };
        entries.find_map(|(name, value)| (name.text()? == key).then_some(value))
    }

    pub(super) fn image(self) -> &'i Image<'i> {
        self.image
    }

    pub(super) fn offset(self) -> usize {
        self.node().offset as usize
    }

    fn node(self) -> &'i Node {
        &self.image.arena().nodes[self.id as usize]
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.image, other.image) && self.id == other.id
    }
}

impl Eq for Value<'_> {}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.image).cast::<()>().hash(state);
        self.id.hash(state);
    }
}

impl fmt::Debug for Value<'_> {
    /// Writes the offset of the value, and no data, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value(byte {})", self.offset())
    }
}

/// The elements of an array, in order.
#[derive(Clone)]
pub struct Elements<'i> {
    image: &'i Image<'i>,
    nodes: slice::Iter<'i, NodeId>,
}

impl<'i> Elements<'i> {
    pub(super) fn new(image: &'i Image<'i>, span: Span) -> Self {
        let nodes = image.arena().elements[span.range()].iter();
        Self { image, nodes }
    }
}

impl<'i> Iterator for Elements<'i> {
    type Item = Value<'i>;

    fn next(&mut self) -> Option<Self::Item> {
        self.nodes.next().map(|node| self.image.value(*node))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.nodes.size_hint()
    }
}

impl ExactSizeIterator for Elements<'_> {}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elements({})", self.len())
    }
}

/// The keys and values of a hash, in the order of the image. Perl defines no order.
#[derive(Clone)]
pub struct Entries<'i> {
    image: &'i Image<'i>,
    entries: slice::Iter<'i, Entry>,
}

impl<'i> Entries<'i> {
    pub(super) fn new(image: &'i Image<'i>, span: Span) -> Self {
        let entries = image.arena().entries[span.range()].iter();
        Self { image, entries }
    }
}

impl<'i> Iterator for Entries<'i> {
    type Item = (PerlString<'i>, Value<'i>);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries
            .next()
            .map(|entry| (self.image.arena().key(entry), self.image.value(entry.value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entries({})", self.len())
    }
}
