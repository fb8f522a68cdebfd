use std::time::Duration;

/// What WebAssembly modules have done on a machine so far: operations per time is how fast one core runs them. It is nothing where none are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkDone {
    /// The fuel that tasks have spent, about one for each operation.
    pub operations: u64,
    /// How long they ran, all together.
    pub busy: Duration,
}

impl WorkDone {
    /// So many operations in so much time.
    pub const fn new(operations: u64, busy: Duration) -> Self {
        Self { operations, busy }
    }
}
