use std::path::PathBuf;

/// The configuration is unusable. A program that meets it exits with status 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the configuration: {source}; check the path and its permissions", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than [`MAX_CONFIG_BYTES`](crate::MAX_CONFIG_BYTES).
    #[error("{}: the configuration is larger than {limit} bytes; is this the right file?", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// The file is not the JSON that it should be.
    #[error("{}: not a usable configuration: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column where they are known.
        message: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{place} is {value:?}, which {problem}; {remedy}")]
    Invalid {
        /// The setting, as it is called where it was given.
        place: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Settings that do not go together.
    #[error("{place}: {problem}; {remedy}")]
    Conflict {
        /// The setting, as it is called where it was given.
        place: String,
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// There is no folder for the relay's data, so no default for its identity file.
    #[error(
        "no place for the identity file: neither XDG_DATA_HOME nor HOME is set; name one with --identity FILE or RELAY_IDENTITY_FILE"
    )]
    NoDataFolder,
}
