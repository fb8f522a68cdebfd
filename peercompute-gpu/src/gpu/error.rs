use thiserror::Error;

/// What is wrong with the device, or with what was asked of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter is there, or none that was asked for.
    #[error("no GPU {wanted}; found: {found}. {remedy}")]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The adapters that are there.
        found: String,
        /// What to install or change.
        remedy: &'static str,
    },
    /// The adapter is there and its driver gives no device.
    #[error(
        "{adapter} gives no device: {message}. Update its driver, or choose another adapter by name"
    )]
    Driver {
        /// The adapter.
        adapter: String,
        /// What the driver says.
        message: String,
    },
    /// The device is gone: a driver reset, an unplugged card, or an application that destroyed it.
    #[error(
        "the device is lost ({reason}); call `recover`, or `recover_with` where the device is the application's, and fill the buffers anew"
    )]
    Lost {
        /// What the driver says.
        reason: String,
    },
    /// Only whoever owns the device can bring another one.
    #[error("the device belongs to the application; hand in the new one with `recover_with`")]
    ForeignDevice,
    /// A buffer or a kernel of a device that was lost.
    #[error("{name} is of a device that was lost; make it anew")]
    Stale {
        /// The buffer or kernel.
        name: String,
    },
    /// A setting that must not be zero.
    #[error("{name} is 0; give at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// A shader that does not compile, with line and caret.
    #[error("the shader does not compile:\n{diagnostic}")]
    Shader {
        /// The error with the line that it is in.
        diagnostic: String,
    },
    /// A shader that compiles, and that the device does not take.
    #[error("the device does not take the entry point {entry:?}: {message}")]
    Pipeline {
        /// The entry point.
        entry: String,
        /// What the device says.
        message: String,
    },
    /// A buffer that is larger than the device has them.
    #[error("buffer {name:?} of {bytes} bytes; this device has them up to {limit}. Split the data")]
    BufferTooLarge {
        /// The buffer.
        name: String,
        /// Its size.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// A part of a buffer that is larger than a kernel of this device can see.
    #[error(
        "{bytes} bytes of buffer {name:?} for a kernel; this device binds up to {limit}. Bind a part of it"
    )]
    BindingTooLarge {
        /// The buffer.
        name: String,
        /// What is to be bound.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// A size or place that is no multiple of four, or nothing.
    #[error("{what} of buffer {name:?} is {bytes} bytes; it must be a positive multiple of 4")]
    Unaligned {
        /// The buffer.
        name: String,
        /// What of it.
        what: &'static str,
        /// What it is.
        bytes: u64,
    },
    /// A part that is not in the buffer.
    #[error(
        "bytes {offset} to {end} of buffer {name:?}, which has {size}; make it larger or ask for less"
    )]
    OutOfRange {
        /// The buffer.
        name: String,
        /// Where the part begins.
        offset: u64,
        /// Where it ends.
        end: u64,
        /// The buffer's size.
        size: u64,
    },
    /// One buffer in two places of a kernel of which one is written.
    #[error("buffer {name:?} is what a kernel reads and what it writes; give two buffers")]
    Aliased {
        /// The buffer.
        name: String,
    },
    /// A name that another buffer has.
    #[error("there is a buffer {name:?}; remove it first, or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A name that is too long.
    #[error("a buffer's name of {bytes} bytes; at most {limit}")]
    NameTooLong {
        /// The name's length.
        bytes: usize,
        /// The longest.
        limit: usize,
    },
    /// All memory that was set aside for buffers is in use.
    #[error(
        "buffer {name:?} wants {wanted} bytes, and {used} of {limit} are in use; remove buffers, or allow more with `GpuOptions::with_hot_bytes`"
    )]
    HotBytesFull {
        /// The buffer.
        name: String,
        /// Its size.
        wanted: u64,
        /// What is in use.
        used: u64,
        /// The bound.
        limit: u64,
    },
    /// As many buffers as there may be.
    #[error("there are {limit} buffers, which is as many as there may be; remove some")]
    TooManyBuffers {
        /// The bound.
        limit: usize,
    },
    /// The device has no memory left.
    #[error("the device has no memory for {bytes} bytes; remove buffers, or split the data")]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
    /// All buffers for reading back are under way.
    #[error(
        "{bytes} bytes to read back, and {in_flight} reads hold {held} of {limit} bytes; await some of them first, or read in parts"
    )]
    StagingFull {
        /// What is to be read.
        bytes: u64,
        /// The reads that are under way.
        in_flight: usize,
        /// What they hold.
        held: u64,
        /// The bound.
        limit: u64,
    },
    /// More workgroups than the device dispatches at once.
    #[error(
        "{asked:?} workgroups; this device dispatches up to {limit} along each axis. Split the dispatch"
    )]
    Workgroups {
        /// What was asked for.
        asked: [u32; 3],
        /// The device's limit.
        limit: u32,
    },
    /// Bindings that the kernel does not have, or too few.
    #[error("the kernel has the bindings {expected:?} and was given {found:?}")]
    Bindings {
        /// Those of the kernel.
        expected: Vec<u32>,
        /// Those that were given.
        found: Vec<u32>,
    },
    /// The device does not tell the time.
    #[error("this device has no timestamps; measure on the processor, around `finished`")]
    NoTimestamps,
    /// More passes in a batch than are measured.
    #[error("a batch measures up to {limit} passes; submit more often")]
    TooManySpans {
        /// The bound.
        limit: usize,
    },
    /// The thread that asks the device for news was not started.
    #[error("the system starts no thread for the device ({message}); raise the limit of processes")]
    NoThread {
        /// What the system says.
        message: String,
    },
    /// What the device says and this crate did not foresee.
    #[error("the device says: {message}")]
    Device {
        /// What it says.
        message: String,
    },
}
