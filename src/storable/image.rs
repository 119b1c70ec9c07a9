//! An image, decoded: what a caller walks who wants more than a Rust type can hold.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::slice;

use super::arena::{Arena, Data, Entry, NO_CLASS, NO_NODE, Node, NodeId, Reference, Span};
use super::decode::decode;
use super::error::Error;
use super::options::Options;
use super::string::{Encoding, PerlString};

/// An image of Perl's Storable, decoded.
///
/// Use it to see what a Rust type cannot hold: the classes of objects, which things are shared, and
/// cycles. Decoding, walking, cloning and dropping it take no stack, however deep the image is
/// nested.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{Image, Kind};
///
/// // What `nfreeze(bless [], "Foo")` returns.
/// let image = Image::parse(b"\x05\x0b\x11\x03Foo\x02\0\0\0\0")?;
///
/// assert_eq!(image.root().class().as_deref(), Some("Foo"));
/// assert!(matches!(image.root().kind(), Kind::Array(elements) if elements.len() == 0));
/// # Ok::<(), rocket_session_kit::storable::Error>(())
/// ```
#[derive(Clone)]
pub struct Image<'a> {
    arena: Arena<'a>,
    options: Options,
}

impl<'a> Image<'a> {
    /// Returns the image that `bytes` are, with or without the magic number `pst0` that files begin
    /// with.
    ///
    /// # Errors
    ///
    /// When the bytes are not a whole image of a version between 2.0 and 2.12, when something
    /// follows it, or when it holds what cannot be had without running Perl code: see
    /// [`Refused`](super::Refused).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{ErrorKind, Image};
    ///
    /// // What `nstore({}, $file)` writes, and something else.
    /// assert!(Image::parse(b"pst0\x05\x0b\x03\0\0\0\0").is_ok());
    /// assert_eq!(Image::parse(b"{}").unwrap_err().kind(), ErrorKind::NotAnImage);
    /// ```
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_with(bytes, Options::new())
    }

    /// Returns the image that `bytes` are, as [`parse`](Self::parse) does, by other [`Options`].
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Options};
    ///
    /// let image = b"\x05\x0b\x05\n";
    ///
    /// assert!(Image::parse(image).is_err());
    /// assert!(Image::parse_with(image, Options::new().trailing_bytes(true)).is_ok());
    /// ```
    pub fn parse_with(bytes: &'a [u8], options: Options) -> Result<Self, Error> {
        Ok(Self {
            arena: decode(bytes, options.trailing_bytes)?,
            options,
        })
    }

    /// Returns what was frozen: the thing that the reference given to `freeze` referred to.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // What `nfreeze(\5)` returns.
    /// let image = Image::parse(b"\x05\x0b\x08\x85")?;
    ///
    /// assert!(matches!(image.root().kind(), Kind::Integer(5)));
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
    /// ```
    pub fn root(&self) -> Value<'_> {
        self.value(self.arena.root)
    }

    pub(super) fn options(&self) -> Options {
        self.options
    }

    /// Returns how many bytes of memory a value of it may take, beside what the image takes itself.
    pub(super) fn budget(&self) -> usize {
        let in_all = self.options.budget(self.size());
        in_all.saturating_sub(self.arena.memory())
    }

    /// Returns how many bytes the image has.
    pub(super) fn size(&self) -> usize {
        self.arena.image.len()
    }

    fn value(&self, node: NodeId) -> Value<'_> {
        Value {
            image: self,
            id: node,
        }
    }
}

impl fmt::Debug for Image<'_> {
    /// Writes how much the image holds. What it holds may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Image({} bytes, {} values)",
            self.size(),
            self.arena.nodes.len()
        )
    }
}

/// One thing of an [`Image`]: a place to read it, and to go on from.
///
/// Two are equal when they are the same thing, which was shared in Perl, and not when they hold the
/// same.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{Image, Kind};
///
/// // What `my $me = {}; $me->{me} = $me; nfreeze($me)` returns: a hash that contains itself.
/// let image = Image::parse(b"\x05\x0b\x03\0\0\0\x01\x04\0\0\0\0\0\0\0\0\x02me")?;
/// let root = image.root();
///
/// let Kind::Hash(mut entries) = root.kind() else { panic!("not a hash") };
/// let (key, value) = entries.next().expect("an entry");
/// assert_eq!(key.text().as_deref(), Some("me"));
/// assert_eq!(value.referent(), Some(root));
/// # Ok::<(), rocket_session_kit::storable::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Value<'i> {
    image: &'i Image<'i>,
    id: NodeId,
}

/// What a [`Value`] is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Kind<'i> {
    /// Perl's `undef`.
    Undef,
    /// A boolean, of which Perl makes a difference since 5.36. Before that, only its own true and
    /// false are ones.
    Boolean(bool),
    /// An integer. One above `i64::MAX` is written as a string.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// A string, and in images in network order every number that is not an integer of 32 bits.
    String(PerlString<'i>),
    /// A regular expression.
    Regexp {
        /// The text between the slashes.
        pattern: PerlString<'i>,
        /// The letters after the second slash.
        flags: PerlString<'i>,
    },
    /// A reference, plain, weak or overloaded, to another thing.
    Reference(Value<'i>),
    /// An array. Its elements are often references.
    Array(Elements<'i>),
    /// A hash. Of several values with one key the last is there, as in Perl.
    Hash(Entries<'i>),
}

impl<'i> Value<'i> {
    /// Returns what this thing is.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // What `nfreeze([1, 2])` returns.
    /// let image = Image::parse(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x08\x82")?;
    ///
    /// let Kind::Array(elements) = image.root().kind() else { panic!("not an array") };
    /// let kinds: Vec<_> = elements.map(|element| element.kind()).collect();
    /// assert!(matches!(kinds[..], [Kind::Integer(1), Kind::Integer(2)]));
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
    /// ```
    pub fn kind(self) -> Kind<'i> {
        let arena = &self.image.arena;
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
            Data::Array(span) => Kind::Array(Elements {
                image: self.image,
                nodes: arena.elements[span.range()].iter(),
            }),
            Data::Hash(span) => Kind::Hash(Entries {
                image: self.image,
                entries: arena.entries[span.range()].iter(),
            }),
        }
    }

    /// Returns the name of the class this thing is blessed into.
    ///
    /// It is the thing that is blessed, not the reference to it: of a reference, ask its
    /// [`referent`](Self::referent).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Value};
    ///
    /// // What `nfreeze({ user => bless {}, "User" })` returns.
    /// let image = Image::parse(b"\x05\x0b\x03\0\0\0\x01\x04\x11\x04User\x03\0\0\0\0\0\0\0\x04user")?;
    /// let user = image.root().get("user").expect("the user");
    ///
    /// assert_eq!(user.class(), None);
    /// assert_eq!(user.referent().and_then(Value::class).as_deref(), Some("User"));
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
    /// ```
    pub fn class(self) -> Option<Cow<'i, str>> {
        let class = self.node().class;
        if class == NO_CLASS {
            return None;
        }
        let name = self
            .image
            .arena
            .bytes(self.image.arena.classes[class as usize]);
        PerlString::new(name, Encoding::Unknown).text()
    }

    /// Returns the thing that is found by following this reference, and the one it refers to, to
    /// the end.
    ///
    /// What is no reference is its own referent. `None` when the references go round in a circle.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // What `nfreeze(\\\5)` returns, and what becomes of `my $x; $x = \$x; nfreeze($x)`.
    /// let three = Image::parse(b"\x05\x0b\x04\x04\x08\x85")?;
    /// let circle = Image::parse(b"\x05\x0b\x04\0\0\0\0\0")?;
    ///
    /// assert!(matches!(three.root().referent().map(|end| end.kind()), Some(Kind::Integer(5))));
    /// assert_eq!(circle.root().referent(), None);
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
    /// ```
    pub fn referent(self) -> Option<Self> {
        self.follow().map(|(referent, _)| referent)
    }

    /// Goes to the end of all references, and counts them.
    pub(super) fn follow(self) -> Option<(Self, usize)> {
        match self.node().data {
            Data::Reference(Reference { end: NO_NODE, .. }) => None,
            Data::Reference(Reference { end, steps, .. }) => {
                Some((self.image.value(end), steps as usize))
            }
            _ => Some((self, 0)),
        }
    }

    /// Returns the value under `key`, where this is a hash, or refers to one, that has it.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::Image;
    ///
    /// // What `nfreeze({ a => 1 })` returns.
    /// let image = Image::parse(b"\x05\x0b\x03\0\0\0\x01\x08\x81\0\0\0\x01a")?;
    ///
    /// assert!(image.root().get("a").is_some());
    /// assert!(image.root().get("b").is_none());
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
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
        &self.image.arena.nodes[self.id as usize]
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
    /// Writes where the thing stands in the image. What it holds may be secret.
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

/// The keys of a hash and their values, in the order they stand in the image, which is no order to
/// Perl.
#[derive(Clone)]
pub struct Entries<'i> {
    image: &'i Image<'i>,
    entries: slice::Iter<'i, Entry>,
}

impl<'i> Iterator for Entries<'i> {
    type Item = (PerlString<'i>, Value<'i>);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries
            .next()
            .map(|entry| (self.image.arena.key(entry), self.image.value(entry.value)))
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
