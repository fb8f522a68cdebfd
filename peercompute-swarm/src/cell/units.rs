use std::ops::Index;
use std::ops::IndexMut;

/// Bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct ByteRate(pub f64);

/// Tasks a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct TaskRate(pub f64);

/// The size of a task on its way out and on its way back, in bytes. All tasks that a cell plans with are of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskShape {
    /// What a worker needs. Above 0.
    pub input_bytes: f64,
    /// What it answers. Above 0.
    pub output_bytes: f64,
}

impl TaskShape {
    /// Tasks of so many bytes of input and output; at least one byte each.
    pub fn new(input_bytes: f64, output_bytes: f64) -> Self {
        Self {
            input_bytes: input_bytes.max(1.0),
            output_bytes: output_bytes.max(1.0),
        }
    }

    /// The bytes of one `item`.
    pub fn bytes(&self, item: Item) -> f64 {
        match item {
            Item::Input => self.input_bytes,
            Item::Output => self.output_bytes,
        }
    }
}

/// What moves between cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// A task that is to be computed.
    Input,
    /// The result of one, on its way to a source.
    Output,
}

impl Item {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Input, Self::Output];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Input => Self::Output,
            Self::Output => Self::Input,
        }
    }
}

/// One of `T` for inputs and one for outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerItem<T>(pub [T; 2]);

impl<T> Index<Item> for PerItem<T> {
    type Output = T;

    fn index(&self, item: Item) -> &T {
        &self.0[item as usize]
    }
}

impl<T> IndexMut<Item> for PerItem<T> {
    fn index_mut(&mut self, item: Item) -> &mut T {
        &mut self.0[item as usize]
    }
}
