//! Where results go: standard output, or a file in a directory for each input.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tempfile::TempPath;

use super::{super::sink, WorkError};
use crate::{failure::Failure, output};

/// Where the results of one input go, one behind the other.
pub(in crate::run) enum Target {
    StandardOutput,
    /// It is there as a whole or not at all: dropped before it is [finished](Target::finish) it leaves nothing.
    File {
        part: TempPath,
        file: File,
        path: PathBuf,
    },
}

impl Target {
    /// The file `name` in `directory`, or standard output without one.
    pub(in crate::run) async fn new(
        directory: Option<&Path>,
        name: &Path,
    ) -> Result<Self, WorkError> {
        let Some(directory) = directory else {
            return Ok(Self::StandardOutput);
        };
        let path = directory.join(name);
        let directory = directory.to_owned();
        let make = move || {
            let part = sink::make_part(&directory, None)?;
            let file = File::options().append(true).open(&part)?;
            Ok((part, file))
        };
        let (part, file) = blocking(make)
            .await
            .map_err(|error| cannot(&path, &error))?;
        Ok(Self::File { part, file, path })
    }

    pub(in crate::run) async fn append(&mut self, value: Bytes) -> Result<(), WorkError> {
        match self {
            Self::StandardOutput => {
                let write = move || {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(&value).and_then(|()| stdout.flush())
                };
                blocking(write).await.map_err(standard_output)
            }
            Self::File { file, path, .. } => {
                let mut file = file.try_clone().map_err(|error| cannot(path, &error))?;
                let written = blocking(move || file.write_all(&value)).await;
                written.map_err(|error| cannot(path, &error))
            }
        }
    }

    /// Has everything written at once, and [finishes](Target::finish).
    pub(in crate::run) async fn write_all(
        mut self,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
    ) -> Result<Option<PathBuf>, WorkError> {
        match &mut self {
            Self::StandardOutput => {
                let write = move || write(&mut io::stdout().lock());
                blocking(write).await.map_err(standard_output)?;
            }
            Self::File { file, path, .. } => {
                let mut file = file.try_clone().map_err(|error| cannot(path, &error))?;
                let written = blocking(move || write(&mut file)).await;
                written.map_err(|error| cannot(path, &error))?;
            }
        }
        self.finish()
    }

    /// Puts a file in its place, and says where that is.
    pub(in crate::run) fn finish(self) -> Result<Option<PathBuf>, WorkError> {
        match self {
            Self::StandardOutput => Ok(None),
            Self::File { part, path, .. } => match part.persist(&path) {
                Ok(()) => Ok(Some(path)),
                Err(error) => Err(cannot(&path, &error.error)),
            },
        }
    }
}

fn standard_output(error: io::Error) -> WorkError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => WorkError::Unwanted,
        _ => cannot("standard output".as_ref(), &error),
    }
}

fn cannot(path: &Path, error: &io::Error) -> WorkError {
    let name = output::name(path);
    Failure::run(format!("{name}: cannot be written: {error}")).into()
}

/// A slow disk or reader must not hold up the network, which runs on the calling thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::from)
        .flatten()
}
