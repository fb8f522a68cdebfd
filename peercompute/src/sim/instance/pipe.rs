//! A pipe that is named as a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};

/// Reads what is written into a pipe. Whoever writes may take his time, but has to be there in time.
pub(super) struct Pipe {
    file: File,
    patience: Duration,
    /// When nobody who writes is waited for any more. `None` once there was somebody.
    deadline: Option<Instant>,
}

impl Pipe {
    /// Opens a pipe, which does not wait for anybody. `patience`: how long reading waits for somebody who writes.
    pub(super) fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        Ok(Self {
            file,
            patience,
            deadline: Some(Instant::now() + patience),
        })
    }

    /// Waits until there is something to read, or until the deadline.
    fn wait(&mut self) -> io::Result<()> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left
            .map(Timespec::try_from)
            .transpose()
            .map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if polled[0].revents().contains(PollFlags::HUP) {
            // Somebody was there, and has gone.
            self.deadline = None;
        }
        Ok(())
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                // Nothing, and nobody who writes: at first he may still come.
                Ok(0) if self.deadline.is_some_and(|at| Instant::now() < at) => {}
                Ok(0) if self.deadline.is_some() => {
                    let patience = humantime::format_duration(self.patience);
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!(
                            "is a pipe into which nobody has written within {patience}; start what writes first"
                        ),
                    ));
                }
                // Nothing yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.deadline = None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => {
                    self.deadline = None;
                    return read;
                }
            }
            self.wait()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, thread};

    use super::*;

    fn pipe(directory: &tempfile::TempDir) -> std::path::PathBuf {
        let path = directory.path().join("pipe");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    #[test]
    fn a_pipe_into_which_nobody_writes_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut pipe = Pipe::open(&pipe(&directory), Duration::ZERO).unwrap();
        let error = pipe.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("nobody has written"), "{error}");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_however_late_it_is_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let path = pipe(&directory);
        let mut pipe = Pipe::open(&path, Duration::from_secs(60)).unwrap();
        // More than a pipe holds.
        let text = vec![b'x'; 300_000];
        let writer = {
            let text = text.clone();
            thread::spawn(move || fs::write(path, text).unwrap())
        };
        let mut read = Vec::new();
        pipe.read_to_end(&mut read).unwrap();
        assert!(read == text, "{} bytes", read.len());
        writer.join().unwrap();
    }

    #[test]
    fn whoever_has_the_pipe_open_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = pipe(&directory);
        let mut pipe = Pipe::open(&path, Duration::ZERO).unwrap();
        let mut writer = fs::OpenOptions::new().write(true).open(path).unwrap();
        let reader = thread::spawn(move || {
            let mut read = String::new();
            pipe.read_to_string(&mut read).map(|_| read)
        });
        io::Write::write_all(&mut writer, b"late").unwrap();
        drop(writer);
        assert_eq!(reader.join().unwrap().unwrap(), "late");
    }
}
