//! How a run fails, and the exit status that says so.

use std::{fmt, process::ExitCode};

/// Why it ended without having done what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Arguments are unusable: exit status 2.
    Usage(String),
    /// It went wrong while it ran: exit status 1.
    Run(String),
    /// The same, and it was said already.
    Told,
}

impl Failure {
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    pub(crate) fn run(message: impl fmt::Display) -> Self {
        Self::Run(message.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Run(_) | Self::Told => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Run(message) => f.write_str(message),
            Self::Told => Ok(()),
        }
    }
}
