//! What nodes say of a tree.

use crate::cell::{ByteRate, TaskRate};

/// The most hops that a node may be away from its root. Beyond it another root begins.
pub const MAX_TREE_HOPS: u8 = 64;

/// The steps in which the age of a sequence number is told, in seconds.
const AGE_STEP: f64 = 0.25;

/// What decides who leads: first what a node can do, then its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rank {
    /// How much it can do; each step doubles it.
    pub class: u8,
    /// Its name, which no other node has.
    pub id: u64,
}

impl Rank {
    /// The rank of a node of this class and name.
    pub fn new(class: u8, id: u64) -> Self {
        Self { class, id }
    }

    /// The rank of a node that computes and sends so much. The class is the logarithm of the product of both, in whole steps, so that it is not decided by how
    /// exactly somebody measured.
    pub fn by_capacity(compute: TaskRate, up: ByteRate, id: u64) -> Self {
        let (compute, up) = (compute.0.max(0.0), up.0.max(0.0));
        // What is not a number becomes 0.
        let class = (1.0 + compute).log2() + (1.0 + up / 1024.0).log2();
        Self::new(class.clamp(0.0, f64::from(u8::MAX)) as u8, id)
    }

    /// Orders nodes that are equally far from their root.
    pub(super) fn tie(&self) -> u16 {
        // Fibonacci hashing: names that follow each other are far apart.
        (self.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
    }
}

/// Where a node stands: the better the label, the closer it is to a better root. Of two nodes that name the same root, the one with the worse label may hang on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) root: Rank,
    pub(super) sequence: u32,
    pub(super) hops: u8,
    pub(super) tie: u16,
}

impl Label {
    pub(super) fn better_than(&self, other: &Self) -> bool {
        let key = |label: &Self| {
            let near = u8::MAX - label.hops;
            (label.root, label.sequence, near, label.tie)
        };
        key(self) > key(other)
    }
}

/// What neighbours tell each other of the tree, every few seconds and when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beacon {
    /// Who leads, as far as the sender knows.
    pub root: Rank,
    /// The root counts what it says; the sender has heard of this.
    pub sequence: u32,
    /// How long ago the root said that, in quarters of a second.
    pub age: u8,
    /// How far the sender is from the root, at most [`MAX_TREE_HOPS`].
    pub hops: u8,
    /// Orders senders that are equally far.
    pub tie: u16,
    /// The sender's own [class](Rank::class).
    pub class: u8,
    /// Whether the receiver is the sender's parent.
    pub parent: bool,
    /// Whether the sender could do without the receiver.
    pub spare: bool,
    /// Whether the sender would rather that nobody hung on anybody over this link: it has no use for it.
    pub away: bool,
    /// Whether the sender has work flow over the links of the tree only.
    pub tree_only: bool,
}

impl Beacon {
    /// A beacon of a node of a rank that knows of no other: its own root.
    pub fn new(own: Rank) -> Self {
        Self {
            root: own,
            sequence: 0,
            age: 0,
            hops: 0,
            tie: own.tie(),
            class: own.class,
            parent: false,
            spare: false,
            away: false,
            tree_only: false,
        }
    }

    pub(super) fn label(&self) -> Label {
        Label {
            root: self.root,
            sequence: self.sequence,
            hops: self.hops,
            tie: self.tie,
        }
    }

    /// Seconds since the root said it.
    pub(super) fn seconds(&self) -> f64 {
        f64::from(self.age) * AGE_STEP
    }
}

/// An age as it is told.
pub(super) fn told_age(seconds: f64) -> u8 {
    (seconds / AGE_STEP).round().clamp(0.0, f64::from(u8::MAX)) as u8
}
