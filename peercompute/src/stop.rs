//! Ctrl-C, and what service managers send instead.

use tokio::sync::oneshot;

use crate::failure::Failure;

/// What asks the program to stop.
pub(crate) struct StopSignal {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// Ends with standard input.
    input: Option<oneshot::Receiver<()>>,
}

impl StopSignal {
    /// Listens from now on; signals do not end the program by themselves any more.
    pub(crate) fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let on = |kind| {
                signal(kind)
                    .map_err(|error| Failure::run(format!("cannot listen for signals: {error}")))
            };
            Ok(Self {
                interrupt: on(SignalKind::interrupt())?,
                terminate: on(SignalKind::terminate())?,
                input: None,
            })
        }
        #[cfg(not(unix))]
        Ok(Self { input: None })
    }

    /// Takes the end of standard input for a signal too: it comes also when whoever holds the other end is killed.
    pub(crate) fn with_input(mut self) -> Result<Self, Failure> {
        let (sender, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("standard input".to_owned())
            .spawn(move || {
                // An error ends it as well.
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                // The program may have ended meanwhile.
                let _ = sender.send(());
            })
            .map_err(|error| {
                Failure::run(format!("standard input: cannot be waited for: {error}"))
            })?;
        self.input = Some(ended);
        Ok(self)
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        let input = &mut self.input;
        let end = async {
            match input {
                Some(ended) => {
                    // Without its sender it has ended too.
                    let _ = ended.await;
                }
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = end => self.input = None,
        }
        #[cfg(not(unix))]
        tokio::select! {
            failed = tokio::signal::ctrl_c() => if failed.is_err() {
                std::future::pending::<()>().await;
            },
            () = end => self.input = None,
        }
    }
}
