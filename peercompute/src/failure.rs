//! How a command fails, and the exit status that says so.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Why a command ended without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    place: Option<String>,
    input: Option<(PathBuf, &'static str)>,
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usage,
    Run,
}

impl Failure {
    /// Arguments or an input file are unusable: exit status 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// It went wrong while it ran: exit status 1.
    pub(crate) fn run(message: impl fmt::Display) -> Self {
        Self::new(Kind::Run, message)
    }

    fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            place: None,
            input: None,
            told: false,
        }
    }

    /// Names the file that is at fault, and the argument that it came by.
    pub(crate) fn about(mut self, file: &Path, field: &'static str) -> Self {
        self.input = Some((file.to_owned(), field));
        self
    }

    /// Says to people, in front of the reason, where it is. To programs [`about`](Self::about) says it.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// What is on standard output says already, for programs, what has failed.
    pub(crate) fn told(mut self) -> Self {
        self.told = true;
        self
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// The file that is at fault, and the argument that it came by.
    pub(crate) fn input(&self) -> Option<(&Path, &'static str)> {
        let (file, field) = self.input.as_ref()?;
        Some((file, field))
    }

    /// The reason alone, without the place.
    pub(crate) fn reason(&self) -> &str {
        &self.message
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::Run => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}
