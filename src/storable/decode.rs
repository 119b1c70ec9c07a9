//! The decoder, which turns the bytes of an image into nodes, in one pass and without recursion.

use std::collections::HashSet;

use super::arena::{Arena, ClassId, Data, Entry, NO_CLASS, NO_NODE, Node, NodeId, Reference, Span};
use super::error::{Result, invalid};
use super::header::{self, Layout};
use super::input::Input;
use super::opcode::*;
use crate::decode_error::{DecodeError, DecodeErrorKind, Refused};

/// The smallest size of a hash entry, in bytes: a value and the length of the key, without and with
/// flags.
const ENTRY: usize = 5;
const FLAGGED_ENTRY: usize = 6;

/// Decodes a whole image, in memory of at most 64 times its size. Bytes after its end are an error,
/// unless `trailing_bytes` allows them.
pub(super) fn decode(image: &[u8], trailing_bytes: bool) -> Result<Arena<'_>> {
    let mut decoder = Decoder::new(image)?;
    let root = decoder.root()?;
    if decoder.input.left() > 0 && !trailing_bytes {
        return Err(invalid(
            DecodeErrorKind::TrailingBytes,
            decoder.input.offset(),
        ));
    }
    let mut arena = decoder.done();
    arena.root = root;
    arena.shrink();
    arena.find_ends();
    Ok(arena)
}

/// An image being decoded.
///
/// The elements of an array are not contiguous in the image: each is followed by its own elements. So
/// they wait until the array is complete, on a stack that all open arrays share. The elements of the
/// innermost array are on top.
pub(super) struct Decoder<'a> {
    pub(super) input: Input<'a>,
    pub(super) layout: Layout,
    pub(super) arena: Arena<'a>,
    open: Vec<Open>,
    waiting_elements: Vec<NodeId>,
    waiting_entries: Vec<Entry>,
}

/// A value whose parts are being read.
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
    /// Reads the header of an image.
    fn new(image: &'a [u8]) -> Result<Self> {
        if u32::try_from(image.len()).is_err() {
            let error = invalid(DecodeErrorKind::TooLarge, 0);
            return Err(error.saying("it has four gibibytes or more"));
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

    /// Returns the decoded values, and frees the rest.
    fn done(self) -> Arena<'a> {
        self.arena
    }

    /// Reads the outermost value with everything inside.
    fn root(&mut self) -> Result<NodeId> {
        loop {
            let mut complete = self.value()?;
            while let Some(part) = complete {
                match self.open.pop() {
                    Some(whole) => complete = self.put(part, whole)?,
                    None => return Ok(part),
                }
            }
        }
    }

    /// Reads one value; returns `None` if its parts follow.
    fn value(&mut self) -> Result<Option<NodeId>> {
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
                // The spelling of a version string. Its value follows.
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
                    // Whether the hash is restricted. Its data is the same.
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
                _ => return Err(invalid(DecodeErrorKind::Opcode, at)),
            };
            return Ok(Some(self.add(at, class, data)));
        }
    }

    /// Adds `part` to `whole`, and returns the whole if it is complete.
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

    /// Leaves a value open, or completes and returns it if it has no more parts.
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

    /// Takes the waiting entries. The last one with a key counts.
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

/// Returns a reference to `target` whose end is not known yet.
fn reference_to(target: NodeId) -> Reference {
    Reference {
        target,
        end: NO_NODE,
        steps: 0,
    }
}

/// Returns the error about something that only Perl code can restore.
pub(super) fn refused(what: Refused, at: usize) -> DecodeError {
    invalid(DecodeErrorKind::Refused(what), at)
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

    /// Returns how many bytes of memory the decoder takes for each byte of the image.
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
