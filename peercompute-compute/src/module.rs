use std::time::Duration;

use bytes::Bytes;

use crate::ABI_VERSION;

/// A WebAssembly module that can run here, as a worker of a page has made it ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedModule {
    /// Bytes of memory that it begins with.
    pub memory: u64,
    /// The module as a browser is to compile it: its NaNs are made canonical, and its memory grows no further than its job grants.
    pub bytes: Bytes,
}

/// Why a WebAssembly module cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The job names something that is not the hash of a module.
    #[error("the job's module is named by {size} bytes; a BLAKE3 hash has 32")]
    NoHash {
        /// The length of what it names.
        size: usize,
    },
    /// The module is longer than any may be, or the job says so.
    #[error(
        "the module has {size} bytes, and {limit} is the most; make it smaller, for instance with wasm-opt -Oz"
    )]
    TooLarge {
        /// Its length in bytes.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// The module has another length than the job says.
    #[error(
        "the module has {size} bytes where the job says {told}; name the length of the bytes that were hashed"
    )]
    WrongSize {
        /// Its length in bytes.
        size: u64,
        /// What the job says.
        told: u64,
    },
    /// It is no valid module of WebAssembly 2.0.
    #[error("this is no WebAssembly module that can run here: {reason}")]
    Invalid {
        /// What is wrong, and where.
        reason: String,
    },
    /// It wants something from the host, which has nothing to give.
    #[error(
        "the module imports {module:?} {name:?}, and nothing can be imported here; build it without a system interface, for instance for wasm32-unknown-unknown"
    )]
    Import {
        /// From where it imports.
        module: String,
        /// What.
        name: String,
    },
    /// Something of the task ABI is missing.
    #[error(
        "the module does not export {expected}, which the task ABI asks for; see peercompute-guest"
    )]
    MissingExport {
        /// What it has to export.
        expected: &'static str,
    },
    /// It is there and is something else.
    #[error("the module exports {name:?} as {found}; the task ABI asks for {expected}")]
    WrongExport {
        /// Under which name.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// It is written for another version of the task ABI.
    #[error(
        "the module is of version {found} of the task ABI, and this node speaks {ABI_VERSION}; build it with a guest crate of that version, or update this node"
    )]
    AbiVersion {
        /// Which.
        found: i32,
    },
    /// It has more of something than a module may have.
    #[error(
        "the module has {count} {what}, and {limit} is the most; split it or leave out what it does not need"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The most.
        limit: u64,
    },
    /// It begins with more memory than the job's limit.
    #[error(
        "the module begins with {needed} bytes of memory, and the limit is {limit}; raise the limit, or build the module with less stack and data"
    )]
    MemoryTooSmall {
        /// What it needs, in bytes.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It was looked at elsewhere, where only the text of the error comes from.
    #[error("{reason}")]
    Refused {
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Its machine code was not ready in time.
    #[error(
        "the module was not compiled within {limit:?}; make it smaller, or its functions shorter"
    )]
    CompileTime {
        /// The time.
        limit: Duration,
    },
}
