//! How helpers are started, and what can go wrong with them.

use std::{env, io, path::PathBuf, time::Duration};

use thiserror::Error;

use super::FrameError;
use crate::GpuOptions;

/// How long a helper may take to open its device by default.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// Which program is the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelperProgram {
    /// This one, whose `main` calls [`run_if_asked`](super::run_if_asked).
    ThisProgram,
    /// Another one, whose `main` calls it.
    At(PathBuf),
}

/// How helpers are started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SandboxConfig {
    pub(super) program: HelperProgram,
    pub(super) options: GpuOptions,
    pub(super) start_limit: Duration,
}

impl SandboxConfig {
    /// This program, on the fastest device that is hardware.
    pub fn new(program: HelperProgram) -> Self {
        Self {
            program,
            options: GpuOptions::new(),
            start_limit: START_LIMIT,
        }
    }

    /// Which device the helper opens.
    #[must_use]
    pub fn with_options(mut self, options: GpuOptions) -> Self {
        self.options = options;
        self
    }

    /// How long it may take to open it. [`START_LIMIT`] by default.
    #[must_use]
    pub fn with_start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }
}

/// Why a stranger's shader gave no result.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SandboxError {
    /// A time of zero.
    #[error("{name} is 0; give a time")]
    Zero {
        /// Which time.
        name: &'static str,
    },
    /// This program cannot be its own helper.
    #[error(
        "this program is not ready to be its own helper; call `peercompute_gpu::helper::run_if_asked()` first thing in `main`, or name a helper program"
    )]
    NotReady,
    /// The helper does not start.
    #[error("the helper {program} does not start: {message}; see that it is there and may be run")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        message: String,
    },
    /// The program does not speak the protocol.
    #[error(
        "{program} is no helper ({message}); its `main` must call `peercompute_gpu::helper::run_if_asked()` first, and be of the same version"
    )]
    NotAHelper {
        /// The program.
        program: String,
        /// What it did instead.
        message: String,
    },
    /// The helper has no device.
    #[error("the helper: {message}")]
    NoDevice {
        /// Why not.
        message: String,
    },
    /// The request does not fit.
    #[error(transparent)]
    Request(#[from] FrameError),
    /// The shader or its request is refused.
    #[error("{message}")]
    Refused {
        /// Why; for a shader that does not compile, with line and caret.
        message: String,
    },
    /// It did not end in time; the helper was killed.
    #[error(
        "the shader ran longer than {limit:?} and was killed; give it less to do, or more time"
    )]
    Deadline {
        /// The time it had.
        limit: Duration,
    },
    /// The time was over before another task let go of the helper.
    #[error(
        "other tasks kept the device for {limit:?}; give it more time, or have another sandbox"
    )]
    Busy {
        /// The time it had.
        limit: Duration,
    },
    /// It was cancelled, and the helper killed.
    #[error("cancelled")]
    Cancelled,
    /// The helper ended: its driver crashed, or somebody killed it. The next task gets another one.
    #[error("the helper ended ({status}) while it ran the shader")]
    Died {
        /// How it ended.
        status: String,
    },
    /// The device failed. The next task gets another helper.
    #[error("the device failed: {message}")]
    Failed {
        /// What it says.
        message: String,
    },
}

impl HelperProgram {
    pub(super) fn name(&self) -> String {
        match self {
            Self::ThisProgram => "this program".to_owned(),
            Self::At(path) => path.display().to_string(),
        }
    }

    pub(super) fn path(&self) -> io::Result<PathBuf> {
        match self {
            Self::ThisProgram => env::current_exe(),
            Self::At(path) => Ok(path.clone()),
        }
    }
}
