//! The processes that play.

use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdin, Command},
    sync::mpsc,
};

use crate::{
    failure::Failure,
    words::{Order, Word},
};

/// How long a process that was killed may take to go: it does at once, unless the system hangs.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What is heard of a player.
#[derive(Debug)]
pub(crate) enum Heard {
    Word(Word),
    /// It says nothing more: it has ended, or will.
    Silence,
}

/// A process that ends with its standard input, which we hold: so it ends too when we are killed.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Process {
    /// Starts this program again with these arguments. What it says goes to `heard`, with its number.
    pub(crate) fn start(
        number: usize,
        arguments: &[String],
        heard: mpsc::Sender<(usize, Heard)>,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::run(format!("player {number} cannot be started: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // From here on it ends whatever happens.
        let mut child = Child(child);
        let input = child.0.stdin.take();
        let output = child.0.stdout.take().expect("its output is piped");
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(word) => drop(heard.send((number, Heard::Word(word))).await),
                    Err(error) => {
                        tracing::warn!(number, %error, "a player says what makes no sense");
                    }
                }
            }
            // Who does not listen any more does not need to know.
            let _ = heard.send((number, Heard::Silence)).await;
        });
        Ok(Self { child, input })
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.0.id()
    }

    /// One that has died does not hear it; its silence says so.
    pub(crate) async fn order(&mut self, order: Order) {
        let line = serde_json::to_string(&order).expect("an order is a word");
        if let Some(input) = &mut self.input
            && let Err(error) = input.write_all(format!("{line}\n").as_bytes()).await
        {
            tracing::debug!(%error, "a player hears nothing");
        }
    }

    /// Asks it to leave.
    pub(crate) fn dismiss(&mut self) {
        drop(self.input.take());
    }

    /// Waits until it has ended, for so long; then it is killed.
    pub(crate) async fn end(mut self, patience: Duration) -> Option<ExitStatus> {
        self.dismiss();
        let ended = tokio::time::timeout(patience, self.child.0.wait()).await;
        ended.ok()?.ok()
    }
}

/// A process that is killed and has gone when this is dropped.
struct Child(tokio::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        if self.0.start_kill().is_err() {
            return;
        }
        // Asked again and again, since nothing can be awaited here. What is killed goes within a millisecond or so.
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < KILL_PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
