//! The node's side.

use std::{
    env, io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{ASKED, Frame, FrameError, Request, child, frame::Choice};
use crate::GpuOptions;

/// How long a helper may take to open its device by default.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// How often whoever waits for a helper asks whether it is cancelled.
const ASK: Duration = Duration::from_millis(5);

/// How long a helper that was told to end, or was killed, may take to do so before it is left to the system.
const END_LIMIT: Duration = Duration::from_secs(5);

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
    program: HelperProgram,
    options: GpuOptions,
    start_limit: Duration,
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

/// Runs strangers' shaders in a helper process: one at a time, the others wait for their turn as long as their time lasts. A helper is started
/// for the first one, and again after one was killed or ended. It ends with the sandbox, and with this process.
#[derive(Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    seat: Mutex<Seat>,
    left: Condvar,
}

#[derive(Debug)]
enum Seat {
    Taken,
    Free(Option<Helper>),
}

/// A helper process, and the thread that speaks with it.
#[derive(Debug)]
struct Helper {
    child: Child,
    adapter: String,
    requests: Option<mpsc::SyncSender<Frame>>,
    answers: mpsc::Receiver<Result<Option<Frame>, FrameError>>,
}

impl Sandbox {
    /// A sandbox whose helper is not started yet.
    ///
    /// # Errors
    ///
    /// [`SandboxError::NotReady`] if this program is to be its own helper and has not called [`run_if_asked`](super::run_if_asked);
    /// [`SandboxError::Zero`].
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        if config.start_limit.is_zero() {
            return Err(SandboxError::Zero {
                name: "the time to start",
            });
        }
        if config.program == HelperProgram::ThisProgram && !child::is_ready() {
            return Err(SandboxError::NotReady);
        }
        Ok(Self {
            config,
            seat: Mutex::new(Seat::Free(None)),
            left: Condvar::new(),
        })
    }

    /// The name of the helper's device. Starts the helper if there is none.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run) for a helper that does not start.
    pub fn adapter(&self) -> Result<String, SandboxError> {
        let mut turn = self.turn(self.config.start_limit, &|| false)?;
        let helper = turn.helper(&|| false)?;
        Ok(helper.adapter.clone())
    }

    /// Runs a shader and gives its output, or kills the helper when `deadline` is over or `cancelled` says so, which is asked every few
    /// milliseconds. Blocks. The time to start a helper, where one must be started, is not the shader's.
    ///
    /// # Errors
    ///
    /// [`SandboxError`]; after each of them the next task runs.
    pub fn run(
        &self,
        request: &Request,
        deadline: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, SandboxError> {
        if deadline.is_zero() {
            return Err(SandboxError::Zero {
                name: "the deadline",
            });
        }
        request.check()?;
        let mut turn = self.turn(deadline, cancelled)?;
        turn.helper(cancelled)?;
        let helper = turn.helper.as_mut().expect("it was just started");
        let outcome = helper.exchange(Frame::Run(request.clone()), deadline, cancelled);
        let ended = |turn: &mut Turn<'_>| turn.kill();
        match outcome {
            Ok(Frame::Done(output)) if output.len() as u64 == request.output_bytes => Ok(output),
            Ok(Frame::Refused(message)) => Err(SandboxError::Refused { message }),
            Ok(Frame::Failed(message)) => {
                ended(&mut turn);
                Err(SandboxError::Failed { message })
            }
            Ok(_) => {
                ended(&mut turn);
                Err(SandboxError::NotAHelper {
                    program: self.config.program.name(),
                    message: "it gave another answer than was asked for".to_owned(),
                })
            }
            Err(Gone::Late) => {
                ended(&mut turn);
                Err(SandboxError::Deadline { limit: deadline })
            }
            Err(Gone::Cancelled) => {
                ended(&mut turn);
                Err(SandboxError::Cancelled)
            }
            Err(Gone::Ended) => Err(SandboxError::Died {
                status: ended(&mut turn),
            }),
            Err(Gone::Malformed(error)) => {
                ended(&mut turn);
                Err(error.into())
            }
        }
    }

    /// Waits for the helper to be free.
    fn turn(
        &self,
        deadline: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Turn<'_>, SandboxError> {
        let begun = Instant::now();
        let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Seat::Free(helper) = &mut *seat {
                let helper = helper.take();
                *seat = Seat::Taken;
                return Ok(Turn {
                    sandbox: self,
                    helper,
                });
            }
            if cancelled() {
                return Err(SandboxError::Cancelled);
            }
            if begun.elapsed() >= deadline {
                return Err(SandboxError::Busy { limit: deadline });
            }
            (seat, _) = self
                .left
                .wait_timeout(seat, ASK)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl HelperProgram {
    fn name(&self) -> String {
        match self {
            Self::ThisProgram => "this program".to_owned(),
            Self::At(path) => path.display().to_string(),
        }
    }

    fn path(&self) -> io::Result<PathBuf> {
        match self {
            Self::ThisProgram => env::current_exe(),
            Self::At(path) => Ok(path.clone()),
        }
    }
}

/// The right to speak with the helper.
struct Turn<'a> {
    sandbox: &'a Sandbox,
    helper: Option<Helper>,
}

impl Turn<'_> {
    /// The helper; started if there is none, or if the one that was there has ended meanwhile.
    fn helper(&mut self, cancelled: &dyn Fn() -> bool) -> Result<&mut Helper, SandboxError> {
        let ended = |helper: &mut Helper| !matches!(helper.child.try_wait(), Ok(None));
        if self.helper.as_mut().is_some_and(ended) {
            self.kill();
        }
        if self.helper.is_none() {
            self.helper = Some(start(&self.sandbox.config, cancelled)?);
        }
        Ok(self.helper.as_mut().expect("it was just started"))
    }

    fn kill(&mut self) -> String {
        self.helper
            .take()
            .map_or_else(String::new, |mut helper| helper.kill())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut seat = self
            .sandbox
            .seat
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *seat = Seat::Free(self.helper.take());
        drop(seat);
        self.sandbox.left.notify_one();
    }
}

/// Why there is no answer.
enum Gone {
    Late,
    Cancelled,
    Ended,
    Malformed(FrameError),
}

fn start(config: &SandboxConfig, cancelled: &dyn Fn() -> bool) -> Result<Helper, SandboxError> {
    let program = config.program.name();
    let failed = |error: io::Error| SandboxError::Start {
        program: program.clone(),
        message: error.to_string(),
    };
    let mut child = Command::new(config.program.path().map_err(failed)?)
        .env(ASKED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        unreachable!("both were asked for");
    };
    let (requests, to_send) = mpsc::sync_channel::<Frame>(1);
    let (answered, answers) = mpsc::sync_channel(1);
    let speaker = thread::Builder::new()
        .name("peercompute-gpu-helper".to_owned())
        .spawn(move || {
            while let Ok(frame) = to_send.recv() {
                let answer = frame
                    .write(&mut input)
                    .and_then(|()| Frame::read(&mut output));
                let last = !matches!(answer, Ok(Some(_)));
                if answered.send(answer).is_err() || last {
                    return;
                }
            }
        });
    let mut helper = Helper {
        child,
        adapter: String::new(),
        requests: Some(requests),
        answers,
    };
    if let Err(error) = speaker {
        helper.kill();
        return Err(failed(error));
    }
    let opened = helper.exchange(
        Frame::Open(Choice::of(&config.options)),
        config.start_limit,
        cancelled,
    );
    let not_a_helper = |message: String| SandboxError::NotAHelper {
        program: program.clone(),
        message,
    };
    let error = match opened {
        Ok(Frame::Ready(adapter)) => {
            helper.adapter = adapter;
            return Ok(helper);
        }
        Ok(Frame::NoDevice(message)) => SandboxError::NoDevice { message },
        Ok(_) => not_a_helper("it gave another answer than was asked for".to_owned()),
        Err(Gone::Cancelled) => SandboxError::Cancelled,
        Err(Gone::Late) => not_a_helper(format!("it said nothing for {:?}", config.start_limit)),
        Err(Gone::Ended) => not_a_helper(format!("it ended: {}", helper.kill())),
        Err(Gone::Malformed(error)) => not_a_helper(error.to_string()),
    };
    helper.kill();
    Err(error)
}

impl Helper {
    /// Says one thing and waits for the answer.
    fn exchange(
        &mut self,
        frame: Frame,
        deadline: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Frame, Gone> {
        let begun = Instant::now();
        let sent = self
            .requests
            .as_ref()
            .is_some_and(|requests| requests.send(frame).is_ok());
        if !sent {
            return Err(Gone::Ended);
        }
        loop {
            match self.answers.recv_timeout(ASK) {
                Ok(Ok(Some(answer))) => return Ok(answer),
                // A pipe that breaks is a process that has ended.
                Ok(Ok(None) | Err(FrameError::Pipe { .. })) => return Err(Gone::Ended),
                Ok(Err(error)) => return Err(Gone::Malformed(error)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Gone::Ended),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if cancelled() {
                return Err(Gone::Cancelled);
            }
            if begun.elapsed() >= deadline {
                return Err(Gone::Late);
            }
        }
    }

    /// Kills the process and says how it ended, or had ended before.
    fn kill(&mut self) -> String {
        self.requests = None;
        // It may have ended by itself.
        let _ = self.child.kill();
        match self.wait() {
            Some(status) => status.to_string(),
            None => "it does not end".to_owned(),
        }
    }

    /// Waits for the end of a process that was killed. One that hangs in its driver is left behind.
    fn wait(&mut self) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < END_LIMIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
    }
}
