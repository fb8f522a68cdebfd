//! Where task output goes: standard output, or files in a directory.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use peercompute_compute::Operation;

use super::{RunError, input::Input};
use crate::failure::Failure;

/// Output in the order of the input, file after file.
pub(super) struct Sink {
    /// Absent: standard output.
    directory: Option<PathBuf>,
    /// Several operations write: their names tell the files apart.
    several: bool,
    open: Arc<Mutex<Option<(PathBuf, File)>>>,
}

/// Whether the operation's result is bytes, not a number.
pub(super) fn writes_bytes(operation: &Operation) -> bool {
    matches!(operation, Operation::Xor(_) | Operation::Add(_))
}

impl Sink {
    pub(super) fn new(
        directory: Option<PathBuf>,
        inputs: &[Input],
        operations: &[Operation],
    ) -> Result<Self, Failure> {
        let writers = operations
            .iter()
            .filter(|operation| writes_bytes(operation))
            .count();
        let sink = Self {
            directory,
            several: writers > 1,
            open: Arc::default(),
        };
        if writers == 0 {
            return Ok(sink);
        }
        let Some(directory) = &sink.directory else {
            if sink.several {
                return Err(Failure::usage(
                    "several operations cannot share standard output; add --out DIR",
                ));
            }
            return Ok(sink);
        };
        if !directory.is_dir() {
            return Err(Failure::usage(format!(
                "--out {}: is not a directory; make it first",
                directory.display()
            )));
        }
        let mut names = HashSet::new();
        for operation in operations
            .iter()
            .filter(|operation| writes_bytes(operation))
        {
            for input in inputs {
                let path = sink.path(directory, &input.path, *operation);
                if same_file(&path, &input.path) {
                    return Err(Failure::usage(format!(
                        "{}: its output would replace it; choose another --out",
                        input.path.display()
                    )));
                }
                if !names.insert(path.clone()) {
                    return Err(Failure::usage(format!(
                        "two inputs would both be written to {}; run them apart",
                        path.display()
                    )));
                }
            }
        }
        // Also for inputs without a byte there is an output.
        for path in names {
            File::create(&path).map_err(|error| {
                Failure::run(format!("{}: cannot be written: {error}", path.display()))
            })?;
        }
        Ok(sink)
    }

    /// Appends `output` to the output of `input`.
    pub(super) async fn write(
        &self,
        input: &Input,
        operation: Operation,
        output: Bytes,
    ) -> Result<(), RunError> {
        let path = self
            .directory
            .as_ref()
            .map(|directory| self.path(directory, &input.path, operation));
        let open = self.open.clone();
        // A slow disk or reader must not hold up the network, which runs on this thread.
        let written = tokio::task::spawn_blocking(move || match path {
            None => io::stdout()
                .lock()
                .write_all(&output)
                .map_err(|error| ("standard output".to_owned(), error)),
            Some(path) => {
                append(&open, &path, &output).map_err(|error| (path.display().to_string(), error))
            }
        });
        written
            .await
            .map_err(|error| RunError::Output {
                target: "output".to_owned(),
                error: error.into(),
            })?
            .map_err(|(target, error)| RunError::Output { target, error })
    }

    fn path(&self, directory: &Path, input: &Path, operation: Operation) -> PathBuf {
        let mut name = input.file_name().unwrap_or_default().to_owned();
        if self.several {
            name.push(".");
            name.push(operation.name());
        }
        directory.join(name)
    }
}

fn append(open: &Mutex<Option<(PathBuf, File)>>, path: &Path, output: &[u8]) -> io::Result<()> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if open.as_ref().is_none_or(|(opened, _)| opened != path) {
        *open = Some((path.to_owned(), File::options().append(true).open(path)?));
    }
    let (_, file) = open.as_mut().expect("opened above");
    file.write_all(output)
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
