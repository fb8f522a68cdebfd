//! The node's side.

use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    ASKED, Frame, FrameError, HelperProgram, Request, SandboxConfig, SandboxError, child,
    frame::Choice,
};

/// How often whoever waits for a helper asks whether it is cancelled.
const ASK: Duration = Duration::from_millis(5);

/// How long a helper that was told to end, or was killed, may take to do so before it is left to the system.
const END_LIMIT: Duration = Duration::from_secs(5);

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
