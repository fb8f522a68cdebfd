use thiserror::Error;

/// Why a shader is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WgslError {
    /// A limit that must not be zero.
    #[error("the limit {name} is 0; give at least 1")]
    Zero {
        /// The limit.
        name: &'static str,
    },
    /// The text is too long.
    #[error("the shader has {bytes} bytes; at most {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It does not compile, or asks for what not every device has.
    #[error("the shader does not compile:\n{diagnostic}")]
    Invalid {
        /// The error with the line that it is in, and a caret.
        diagnostic: String,
    },
    /// There is no such compute entry point.
    #[error("the shader has no compute entry point {entry:?}; it has {found:?}")]
    NoEntryPoint {
        /// The one that was asked for.
        entry: String,
        /// Those that it has, the first few.
        found: Vec<String>,
    },
    /// A constant that the pipeline sets.
    #[error("the shader declares an `override`; use `const`, or the uniforms in binding 2")]
    Override,
    /// Too many invocations in a workgroup.
    #[error(
        "a workgroup of {size:?} invocations; at most {limit} in all, and {sides:?} along the axes"
    )]
    WorkgroupSize {
        /// What is declared.
        size: [u32; 3],
        /// In all.
        limit: u32,
        /// Along each axis.
        sides: [u32; 3],
    },
    /// Too much memory.
    #[error("{bytes} bytes of {what}; at most {limit}")]
    Memory {
        /// Which memory.
        what: &'static str,
        /// What is declared.
        bytes: u64,
        /// The limit.
        limit: u32,
    },
    /// Compiling it would take too long.
    #[error(
        "{count} expressions and statements, with those of each function wherever it is called; at most {limit}: use loops, and call less"
    )]
    TooMuchCode {
        /// How many there are, as far as they were counted.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// A binding that there is not, or of another kind.
    #[error("the variable {name:?} in group {group}, binding {binding}: {must}")]
    Binding {
        /// The variable.
        name: String,
        /// Its group.
        group: u32,
        /// Its number.
        binding: u32,
        /// What is there.
        must: &'static str,
    },
    /// A variable of a kind that kernels do not have here.
    #[error(
        "the variable {name:?} is {kind}; only storage and uniform buffers in group 0, workgroup and private variables are there"
    )]
    Variable {
        /// The variable.
        name: String,
        /// Its kind.
        kind: &'static str,
    },
    /// Nothing comes out of it.
    #[error("the shader has no output; declare `@group(0) @binding(1) var<storage, read_write>`")]
    NoOutput,
    /// It is valid, and not so after it was made to run in slices.
    #[error("the shader cannot be run in slices: {message}")]
    Slices {
        /// What is wrong.
        message: String,
    },
    /// The rounds of its loops cannot be counted.
    #[error("the shader's loops cannot be counted: {message}")]
    Rounds {
        /// Why not, and the remedy.
        message: String,
    },
}
