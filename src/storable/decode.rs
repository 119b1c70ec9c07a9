//! From the bytes of an image to its nodes, in one pass and without recursion.

use std::collections::HashSet;

use super::arena::{Arena, ClassId, Data, Entry, NO_CLASS, NO_NODE, Node, NodeId, Reference, Span};
use super::error::{Error, ErrorKind, Refused, Result};
use super::header::{self, Layout};
use super::input::Input;
use super::opcode::*;
use super::string::Encoding;

/// The bytes that an entry of a hash takes at least: a value, perhaps flags, and the length of the
/// key.
const ENTRY: usize = 5;
const FLAGGED_ENTRY: usize = 6;

/// Decodes the whole of an image, in memory of 64 times its size at most. What follows its end is an error unless `trailing_bytes` are
/// allowed.
pub(super) fn decode(image: &[u8], trailing_bytes: bool) -> Result<Arena<'_>> {
    let mut decoder = Decoder::new(image)?;
    let root = decoder.root()?;
    if decoder.input.left() > 0 && !trailing_bytes {
        return Err(Error::new(ErrorKind::TrailingBytes, decoder.input.offset()));
    }
    let mut arena = decoder.done();
    arena.root = root;
    arena.shrink();
    arena.find_ends();
    Ok(arena)
}

/// An image being decoded.
///
/// The parts of an array need not stand side by side in the image, as parts of parts come between
/// them. So they wait until the array is complete, on a stack that all open arrays share: the parts
/// of the innermost are on top.
struct Decoder<'a> {
    input: Input<'a>,
    layout: Layout,
    arena: Arena<'a>,
    open: Vec<Open>,
    waiting_elements: Vec<NodeId>,
    waiting_entries: Vec<Entry>,
}

/// A thing whose parts are being read.
enum Open {
    Reference {
        node: NodeId,
    },
    Array {
        node: NodeId,
        left: u32,
        start: u32,
    },
    Hash {
        node: NodeId,
        left: u32,
        start: u32,
        flagged: bool,
    },
}

impl<'a> Decoder<'a> {
    /// Reads the head of an image.
    fn new(image: &'a [u8]) -> Result<Self> {
        if u32::try_from(image.len()).is_err() {
            return Err(Error::new(ErrorKind::TooLarge, 0));
        }
        let mut input = Input::new(image);
        let layout = header::read(&mut input)?;
        Ok(Self {
            input,
            layout,
            arena: Arena::new(image),
            open: Vec::new(),
            waiting_elements: Vec::new(),
            waiting_entries: Vec::new(),
        })
    }

    /// Returns what was read. All else is given back.
    fn done(self) -> Arena<'a> {
        self.arena
    }

    /// Reads the root and all it holds.
    fn root(&mut self) -> Result<NodeId> {
        loop {
            let mut complete = self.thing()?;
            while let Some(part) = complete {
                match self.open.pop() {
                    Some(whole) => complete = self.put(part, whole)?,
                    None => return Ok(part),
                }
            }
        }
    }

    /// Reads one thing: `None` if its parts follow.
    fn thing(&mut self) -> Result<Option<NodeId>> {
        let mut class = NO_CLASS;
        loop {
            let at = self.input.offset();
            let data = match self.input.byte()? {
                OBJECT => return self.back_reference(at).map(Some),

                BLESS => {
                    class = self.named_class()?;
                    continue;
                }
                IX_BLESS => {
                    class = self.numbered_class()?;
                    continue;
                }
                // How a version string was written. What it says follows.
                VSTRING => {
                    self.short()?;
                    continue;
                }
                LVSTRING => {
                    self.long()?;
                    continue;
                }

                UNDEF | SV_UNDEF | SVUNDEF_ELEM => Data::Undef,
                SV_YES | BOOLEAN_TRUE => Data::Boolean(true),
                SV_NO | BOOLEAN_FALSE => Data::Boolean(false),
                BYTE => Data::Integer(i64::from(self.input.byte()?) - 128),
                NETINT => Data::Integer(i32::from_be_bytes(self.input.array()?).into()),
                INTEGER => Data::Integer(self.layout.integer(&mut self.input)?),
                DOUBLE => Data::Double(self.layout.double(&mut self.input)?),
                SCALAR => Data::String(self.short()?, false),
                LSCALAR => Data::String(self.long()?, false),
                UTF8STR => Data::String(self.short()?, true),
                LUTF8STR => Data::String(self.long()?, true),
                REGEXP => self.regexp()?,

                REF | OVERLOAD | WEAKREF | WEAKOVERLOAD => {
                    let node = self.add(at, class, Data::Reference(reference_to(NO_NODE)));
                    self.open.push(Open::Reference { node });
                    return Ok(None);
                }
                ARRAY => {
                    let left = self.layout.length(&mut self.input, 1)?;
                    let node = self.add(at, class, Data::Array(Span::EMPTY));
                    let start = self.waiting_elements.len() as u32;
                    return Ok(self.open_unless_empty(Open::Array { node, left, start }));
                }
                HASH => {
                    let left = self.layout.length(&mut self.input, ENTRY)?;
                    return Ok(self.hash(at, class, left, false));
                }
                FLAG_HASH => {
                    // Whether the hash is restricted, which its data does not depend on.
                    self.input.byte()?;
                    let left = self.layout.length(&mut self.input, FLAGGED_ENTRY)?;
                    return Ok(self.hash(at, class, left, true));
                }

                HOOK => return Err(refused(Refused::Hook, at)),
                CODE => return Err(refused(Refused::Code, at)),
                TIED_ARRAY => return Err(refused(Refused::TiedArray, at)),
                TIED_HASH => return Err(refused(Refused::TiedHash, at)),
                TIED_SCALAR => return Err(refused(Refused::TiedScalar, at)),
                TIED_KEY => return Err(refused(Refused::TiedKey, at)),
                TIED_IDX => return Err(refused(Refused::TiedIndex, at)),
                LOBJECT => return Err(refused(Refused::LargeObject, at)),
                _ => return Err(Error::new(ErrorKind::Opcode, at)),
            };
            return Ok(Some(self.add(at, class, data)));
        }
    }

    /// Puts a part where it belongs, and returns the whole once that is complete.
    fn put(&mut self, part: NodeId, mut whole: Open) -> Result<Option<NodeId>> {
        match &mut whole {
            Open::Reference { node } => {
                self.arena.nodes[*node as usize].data = Data::Reference(reference_to(part));
                return Ok(Some(*node));
            }
            Open::Array { left, .. } => {
                self.waiting_elements.push(part);
                *left -= 1;
            }
            Open::Hash { left, flagged, .. } => {
                let entry = self.entry(part, *flagged)?;
                self.waiting_entries.extend(entry);
                *left -= 1;
            }
        }
        Ok(self.open_unless_empty(whole))
    }

    /// Leaves a thing open, or completes it and returns it if none of its parts are left to read.
    fn open_unless_empty(&mut self, whole: Open) -> Option<NodeId> {
        match whole {
            Open::Array {
                node,
                left: 0,
                start,
            } => {
                let elements = self.waiting_elements.drain(start as usize..);
                let span = append(&mut self.arena.elements, elements);
                self.arena.nodes[node as usize].data = Data::Array(span);
                Some(node)
            }
            Open::Hash {
                node,
                left: 0,
                start,
                ..
            } => {
                let span = self.complete_hash(start as usize);
                self.arena.nodes[node as usize].data = Data::Hash(span);
                Some(node)
            }
            _ => {
                self.open.push(whole);
                None
            }
        }
    }

    fn hash(&mut self, at: usize, class: ClassId, left: u32, flagged: bool) -> Option<NodeId> {
        let node = self.add(at, class, Data::Hash(Span::EMPTY));
        let start = self.waiting_entries.len() as u32;
        self.open_unless_empty(Open::Hash {
            node,
            left,
            start,
            flagged,
        })
    }

    /// Reads the key that follows a value: no entry if it only says that a restricted hash allows
    /// the key.
    fn entry(&mut self, value: NodeId, flagged: bool) -> Result<Option<Entry>> {
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

    /// Takes the entries that wait. Of those with the same key the last one counts.
    fn complete_hash(&mut self, start: usize) -> Span {
        let mut keys = HashSet::new();
        let arena = &self.arena;
        let mut kept = self.waiting_entries.len();
        for entry in (start..kept).rev() {
            let entry = self.waiting_entries[entry];
            if keys.insert(arena.key(&entry).identity()) {
                kept -= 1;
                self.waiting_entries[kept] = entry;
            }
        }
        let span = append(&mut self.arena.entries, self.waiting_entries.drain(kept..));
        self.waiting_entries.truncate(start);
        span
    }

    /// Reads the number of a thing that was read before.
    fn back_reference(&mut self, at: usize) -> Result<NodeId> {
        let node = NodeId::from_be_bytes(self.input.array()?);
        let known = (node as usize) < self.arena.nodes.len();
        if known {
            Ok(node)
        } else {
            Err(Error::new(ErrorKind::Tag, at))
        }
    }

    /// Reads the name of a class, which the thing that follows is an object of.
    fn named_class(&mut self) -> Result<ClassId> {
        let at = self.input.offset();
        let name = match self.input.byte()? {
            first if first & LONG_CLASS != 0 => self.long()?,
            length => self.span(length.into(), at)?,
        };
        self.arena.classes.push(name);
        Ok(self.arena.classes.len() as ClassId - 1)
    }

    /// Reads the number of a class that was named before.
    fn numbered_class(&mut self) -> Result<ClassId> {
        let at = self.input.offset();
        let class = match self.input.byte()? {
            first if first & LONG_CLASS != 0 => self.layout.number(&mut self.input)?,
            class => class.into(),
        };
        let known = (class as usize) < self.arena.classes.len();
        if known {
            Ok(class)
        } else {
            Err(Error::new(ErrorKind::Class, at))
        }
    }

    fn regexp(&mut self) -> Result<Data> {
        let long = self.input.byte()? & LONG_PATTERN != 0;
        let pattern = if long { self.long()? } else { self.short()? };
        self.short()?;
        Ok(Data::Regexp(pattern))
    }

    /// Passes over a string whose length has one byte.
    fn short(&mut self) -> Result<Span> {
        let at = self.input.offset();
        let length = self.input.byte()?;
        self.span(length.into(), at)
    }

    /// Passes over a string whose length has four bytes.
    fn long(&mut self) -> Result<Span> {
        let at = self.input.offset();
        let length = self.layout.length(&mut self.input, 1)?;
        self.span(length, at)
    }

    fn span(&mut self, length: u32, length_at: usize) -> Result<Span> {
        let start = self.input.offset() as u32;
        match self.input.take(length as usize) {
            Ok(_) => Ok(Span { start, length }),
            Err(_) => Err(Error::new(ErrorKind::Length, length_at)),
        }
    }

    fn add(&mut self, at: usize, class: ClassId, data: Data) -> NodeId {
        let nodes = &mut self.arena.nodes;
        if nodes.len() == nodes.capacity() {
            // Doubled, they would be most of what an image takes.
            nodes.reserve_exact(nodes.len() / 4 + 16);
        }
        nodes.push(Node {
            data,
            offset: at as u32,
            class,
        });
        nodes.len() as NodeId - 1
    }
}

/// Returns a reference whose end is not known yet.
fn reference_to(target: NodeId) -> Reference {
    Reference {
        target,
        end: NO_NODE,
        steps: 0,
    }
}

fn refused(what: Refused, at: usize) -> Error {
    Error::new(ErrorKind::Refused(what), at)
}

fn append<T>(list: &mut Vec<T>, items: impl Iterator<Item = T>) -> Span {
    let start = list.len();
    list.extend(items);
    Span {
        start: start as u32,
        length: (list.len() - start) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many bytes of memory an image takes while it is decoded, for each of its own.
    fn memory_per_byte(image: &[u8]) -> usize {
        let mut decoder = Decoder::new(image).expect("the header is right");
        decoder.root().expect("the image is right");

        let bytes = decoder.arena.nodes.capacity() * size_of::<Node>()
            + decoder.arena.elements.capacity() * size_of::<NodeId>()
            + decoder.arena.entries.capacity() * size_of::<Entry>()
            + decoder.arena.classes.capacity() * size_of::<Span>()
            + decoder.open.capacity() * size_of::<Open>()
            + decoder.waiting_elements.capacity() * size_of::<NodeId>()
            + decoder.waiting_entries.capacity() * size_of::<Entry>();
        bytes / image.len()
    }

    #[test]
    fn memory_stays_a_small_multiple_of_the_image() {
        let count = 100_000u32;
        let image = |head: &[u8], part: &[u8], tail: &[u8]| {
            [&b"\x05\x0b"[..], head, &part.repeat(count as usize), tail].concat()
        };
        let counted = |opcode: u8| [&[opcode][..], &count.to_be_bytes()].concat();

        for image in [
            image(&counted(ARRAY), &[UNDEF], b""),
            image(&counted(HASH), &[UNDEF, 0, 0, 0, 0], b""),
            image(&counted(ARRAY), &[ARRAY, 0, 0, 0, 0], b""),
            image(b"", &[REF], &[UNDEF]),
            image(b"", &[ARRAY, 0, 0, 0, 1], &[UNDEF]),
            image(b"", &[BLESS, 0], &[UNDEF]),
        ] {
            let memory = memory_per_byte(&image);
            assert!(
                memory <= 64,
                "{memory} bytes of memory for a byte of {:x?}",
                &image[..8]
            );
        }
    }
}
