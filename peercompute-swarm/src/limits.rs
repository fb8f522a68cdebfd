//! How much there may be of everything.

/// Tasks, results, failures, renewals or cancellations in one frame, as the schema bounds them.
pub const MAX_BATCH_TASKS: usize = 4096;
/// Bytes of inputs or results after which a frame ends; one task alone may be larger. Small enough that frames of several jobs share a stream fairly.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// What a task costs in a frame beside its input or value, for the count of [`MAX_BATCH_BYTES`].
pub const TASK_OVERHEAD_BYTES: usize = 32;
/// Bytes of input of one task, as the protocol bounds them.
pub const MAX_TASK_INPUT: usize = 8 * 1024 * 1024;
/// Bytes of the value of one task, as the protocol bounds them.
pub const MAX_TASK_VALUE: usize = 8 * 1024 * 1024;
/// Bytes of UTF-8 in the message of a failure.
pub const MAX_MESSAGE: usize = 512;
