//! The values of a decoded image: nodes that refer to each other by number.
//!
//! A node can be shared, contain itself or be nested without end, and is copied and dropped without
//! recursion.

use std::ops::Range;

use super::string::{Encoding, PerlString};

/// The number of a node, in the order of the image. Storable's tags are the same numbers.
pub(super) type NodeId = u32;

/// The number of a class, in the order in which the image names them.
pub(super) type ClassId = u32;

/// The number that stands for no node. Every image has fewer nodes.
pub(super) const NO_NODE: NodeId = NodeId::MAX;

/// The class of a value that is not blessed.
pub(super) const NO_CLASS: ClassId = ClassId::MAX;

/// The nodes of an image, and its bytes.
#[derive(Clone)]
pub(super) struct Arena<'a> {
    pub(super) image: &'a [u8],
    pub(super) root: NodeId,
    pub(super) nodes: Vec<Node>,
    pub(super) elements: Vec<NodeId>,
    pub(super) entries: Vec<Entry>,
    pub(super) classes: Vec<Span>,
}

/// One value of an image.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) data: Data,
    /// The offset of its opcode in the image.
    pub(super) offset: u32,
    pub(super) class: ClassId,
}

#[derive(Clone, Copy)]
pub(super) enum Data {
    Undef,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    /// A string, and whether it is marked as UTF-8.
    String(Span, bool),
    /// The pattern of a regular expression. In the image, the length of its flags in one byte and the
    /// flags follow.
    Regexp(Span),
    Reference(Reference),
    /// A part of [`Arena::elements`].
    Array(Span),
    /// A part of [`Arena::entries`].
    Hash(Span),
}

/// A reference, and the end of the chain of references that begins with it.
#[derive(Clone, Copy)]
pub(super) struct Reference {
    pub(super) target: NodeId,
    /// [`NO_NODE`] if the references form a circle.
    pub(super) end: NodeId,
    /// How many references the chain has, with this one.
    pub(super) steps: u32,
}

/// One entry of a hash.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) encoding: Encoding,
    pub(super) value: NodeId,
}

/// A part of the image, or of a list. Every image is smaller than four gibibytes, so 32 bits suffice.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Span {
    pub(super) const EMPTY: Self = Self {
        start: 0,
        length: 0,
    };

    pub(super) fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }
}

impl<'a> Arena<'a> {
    pub(super) fn new(image: &'a [u8]) -> Self {
        let (nodes, elements, entries, classes) = Default::default();
        Self {
            image,
            root: 0,
            nodes,
            elements,
            entries,
            classes,
        }
    }

    /// Frees the memory that is not used.
    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.elements.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.classes.shrink_to_fit();
    }

    /// Returns how many bytes of memory the nodes take.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&self.nodes[..])
            + size_of_val(&self.elements[..])
            + size_of_val(&self.entries[..])
            + size_of_val(&self.classes[..])
    }

    /// Returns the bytes of the image at `span`.
    pub(super) fn bytes(&self, span: Span) -> &'a [u8] {
        &self.image[span.range()]
    }

    /// Finds the end of every reference, so that no caller follows a long chain again and again.
    pub(super) fn find_ends(&mut self) {
        let mut chain = Vec::new();
        for start in 0..self.nodes.len() {
            let mut at = start;
            let (end, mut steps) = loop {
                match &mut self.nodes[at].data {
                    // The first visit. A second one before the end is known means a circle.
                    Data::Reference(reference @ Reference { steps: 0, .. }) => {
                        reference.steps = u32::MAX;
                        chain.push(at as NodeId);
                        at = reference.target as usize;
                    }
                    Data::Reference(reference) => break (reference.end, reference.steps),
                    _ => break (at as NodeId, 0),
                }
            };
            for node in chain.drain(..).rev() {
                if let Data::Reference(reference) = &mut self.nodes[node as usize].data {
                    steps = steps.saturating_add(1);
                    (reference.end, reference.steps) = (end, steps);
                }
            }
        }
    }

    pub(super) fn key(&self, entry: &Entry) -> PerlString<'a> {
        PerlString::new(self.bytes(entry.key), entry.encoding)
    }
}
