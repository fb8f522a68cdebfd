//! Where task output goes: standard output, or files in a directory.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use peercompute_compute::Operation;
use tempfile::TempPath;

use super::{
    RunError,
    input::{FileId, Input},
    report::FileResult,
};
use crate::{failure::Failure, output};

/// The field that an output is named by.
const OUT: &str = "out";

/// Output in the order of the input, file after file.
pub(super) struct Sink {
    /// Absent: standard output.
    directory: Option<PathBuf>,
    /// Several operations write: their names tell the files apart.
    several: bool,
    /// What is written so far, hidden beside the file that it becomes. Dropping it removes what never did.
    parts: Mutex<BTreeMap<PathBuf, TempPath>>,
    open: Arc<Mutex<Option<(PathBuf, File)>>>,
}

/// Whether the operation's result is bytes, not a number.
pub(super) fn writes_bytes(operation: &Operation) -> bool {
    matches!(operation, Operation::Xor(_) | Operation::Add(_))
}

impl Sink {
    /// Makes sure that every output can be written and destroys nothing that is there. Until [`commit`](Self::commit) nothing has another content.
    pub(super) fn new(
        directory: Option<PathBuf>,
        inputs: &[Input],
        operations: &[Operation],
    ) -> Result<Self, Failure> {
        let writers: Vec<_> = operations.iter().copied().filter(writes_bytes).collect();
        let sink = Self {
            directory,
            several: writers.len() > 1,
            parts: Mutex::default(),
            open: Arc::default(),
        };
        if writers.is_empty() {
            if let Some(directory) = &sink.directory {
                output::note(&format!(
                    "--out {} is not used: only xor and add have output to write",
                    output::name(directory)
                ));
            }
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
                output::name(directory)
            )));
        }
        let ids: HashSet<_> = inputs.iter().map(|input| input.id).collect();
        let mut targets = BTreeMap::new();
        for operation in writers {
            for input in inputs {
                let target = sink.path(directory, &input.path, operation);
                let permissions = check_target(&target, input, &ids)?;
                if targets.insert(target.clone(), permissions).is_some() {
                    return Err(Failure::usage(format!(
                        "two inputs would both be written to {}; run them apart",
                        output::name(&target)
                    ))
                    .about(&input.path, OUT));
                }
            }
        }
        // Also for inputs without a byte there is an output.
        for (target, permissions) in targets {
            let part = make_part(directory, permissions).map_err(|error| {
                Failure::run(format!(
                    "{}: cannot be written: {error}",
                    output::name(&target)
                ))
            })?;
            sink.parts().insert(target, part);
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
        let Some(directory) = &self.directory else {
            return blocking("standard output".to_owned(), move || {
                io::stdout().lock().write_all(&output)
            })
            .await;
        };
        let target = self.path(directory, &input.path, operation);
        let part = self
            .parts()
            .get(&target)
            .expect("every output has its part until the run has ended")
            .to_path_buf();
        let open = self.open.clone();
        blocking(output::name(&target), move || append(&open, &part, &output)).await
    }

    /// The name of an output that is a file, and the part in which it can be written anew, once nothing is [appended](Self::write) any more.
    pub(super) fn part(&self, input: &Path, operation: Operation) -> Option<(String, PathBuf)> {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let target = self.path(self.directory.as_deref()?, input, operation);
        let part = self.parts().get(&target)?.to_path_buf();
        Some((output::name(&target), part))
    }

    /// Sees to it that what was written to standard output has arrived there.
    pub(super) async fn flush(&self) -> Result<(), RunError> {
        if self.directory.is_some() {
            return Ok(());
        }
        blocking("standard output".to_owned(), || io::stdout().flush()).await
    }

    /// Puts the outputs that are whole, and not known to be wrong, in their places, and removes the others. A file that cannot be put there has failed.
    pub(super) fn commit(&self, files: &mut [FileResult]) {
        let Some(directory) = &self.directory else {
            return;
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut parts = std::mem::take(&mut *self.parts());
        for file in files {
            let target = self.path(directory, &file.path, file.operation);
            let Some(part) = parts.remove(&target) else {
                continue;
            };
            if file.failure.is_some() || file.verified == Some(false) {
                continue;
            }
            if let Err(error) = part.persist(&target) {
                let target = output::name(&target);
                let failure = format!("{target}: cannot be written: {}", error.error);
                file.failure = Some(failure.into());
            }
        }
    }

    fn path(&self, directory: &Path, input: &Path, operation: Operation) -> PathBuf {
        let mut name = input.file_name().unwrap_or_default().to_owned();
        if self.several {
            name.push(".");
            name.push(operation.name());
        }
        directory.join(name)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<PathBuf, TempPath>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `input` may be written to `target`, and the permissions of the file that is there and will be replaced.
fn check_target(
    target: &Path,
    input: &Input,
    inputs: &HashSet<FileId>,
) -> Result<Option<Permissions>, Failure> {
    let refused = |why: &str| {
        Failure::usage(format!(
            "its output would go to {}, {why}; choose another --out",
            output::name(target)
        ))
        .at(output::name(&input.path))
        .about(&input.path, OUT)
    };
    let there = match fs::metadata(target) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(&format!("which cannot be examined: {error}"))),
    };
    if inputs.contains(&FileId::of(&there)) {
        return Err(refused("which is an input and would be lost"));
    }
    if !there.is_file() {
        return Err(refused("which is there and is not a regular file"));
    }
    // Replacing needs no permission of the file itself, but whoever made it read-only wants to keep it.
    if let Err(error) = File::options().append(true).open(target) {
        return Err(refused(&format!("which cannot be written: {error}")));
    }
    Ok(Some(there.permissions()))
}

/// An empty file in `directory` for what is not complete yet. Its name does not depend on the output's, which may be as long as names get.
pub(super) fn make_part(
    directory: &Path,
    permissions: Option<Permissions>,
) -> io::Result<TempPath> {
    let part = tempfile::Builder::new()
        .prefix(".peercompute-")
        .suffix(".part")
        // Less the user's mask, as for any new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    if let Some(permissions) = permissions {
        part.as_file().set_permissions(permissions)?;
    }
    Ok(part.into_temp_path())
}

/// A slow disk or reader must not hold up the network, which runs on the calling thread.
async fn blocking(
    target: String,
    write: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), RunError> {
    tokio::task::spawn_blocking(write)
        .await
        .map_err(io::Error::from)
        .flatten()
        .map_err(|error| RunError::Output { target, error })
}

fn append(open: &Mutex<Option<(PathBuf, File)>>, path: &Path, output: &[u8]) -> io::Result<()> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if open.as_ref().is_none_or(|(opened, _)| opened != path) {
        *open = Some((path.to_owned(), File::options().append(true).open(path)?));
    }
    let (_, file) = open.as_mut().expect("opened above");
    file.write_all(output)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::{super::input::open_all, *};

    const XOR: Operation = Operation::Xor(1);
    const ADD: Operation = Operation::Add(1);

    /// A directory with an empty directory `out` in it.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        (dir, out)
    }

    fn input(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "precious").unwrap();
        path
    }

    fn sink(out: &Path, paths: &[PathBuf], operations: &[Operation]) -> Result<Sink, String> {
        let (inputs, unusable) = open_all(paths);
        assert!(unusable.is_empty(), "{unusable:?}");
        Sink::new(Some(out.to_owned()), &inputs, operations).map_err(|failure| failure.to_string())
    }

    #[track_caller]
    fn refused(out: &Path, paths: &[PathBuf], operations: &[Operation], reason: &str) {
        let error = sink(out, paths, operations).err().expect("it is refused");
        assert!(error.contains(reason), "{error}");
        for path in paths {
            assert_eq!(fs::read(path).unwrap(), b"precious", "{}", path.display());
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn an_input_is_not_replaced_by_its_output_under_another_name() {
        let (dir, out) = place();
        let a = input(dir.path(), "a");
        fs::hard_link(&a, out.join("a")).unwrap();
        refused(&out, std::slice::from_ref(&a), &[XOR], "which is an input");
        refused(dir.path(), &[a], &[XOR], "which is an input");
    }

    #[test]
    fn an_input_is_not_replaced_by_the_output_of_another_one() {
        let (dir, out) = place();
        let (x, other) = (input(dir.path(), "x"), input(&out, "x.xor"));
        refused(&out, &[x.clone(), other], &[XOR, ADD], "which is an input");
        let y = input(dir.path(), "y");
        symlink(&y, out.join("x")).unwrap();
        refused(&out, &[x, y], &[XOR], "which is an input");
    }

    #[test]
    fn what_is_no_regular_file_is_not_written_to() {
        let (dir, out) = place();
        let a = input(dir.path(), "a");
        let _socket = std::os::unix::net::UnixListener::bind(out.join("a")).unwrap();
        refused(&out, &[a], &[XOR], "not a regular file");
    }

    #[test]
    fn two_inputs_of_the_same_name_are_not_written_over_each_other() {
        let (dir, out) = place();
        let (a, b) = (input(dir.path(), "one/x"), input(dir.path(), "two/x"));
        refused(&out, &[a, b], &[XOR], "run them apart");
    }

    #[tokio::test]
    async fn outputs_take_their_places_when_the_run_has_ended_well() {
        let (dir, out) = place();
        let paths = ["a", "b", "c", "d"].map(|name| input(dir.path(), name));
        for name in ["a", "b", "c"] {
            fs::write(out.join(name), "previous").unwrap();
        }
        fs::set_permissions(out.join("a"), Permissions::from_mode(0o640)).unwrap();
        let (inputs, _) = open_all(&paths);
        let sink = Sink::new(Some(out.clone()), &inputs, &[XOR]).unwrap();
        for input in &inputs[..3] {
            sink.write(input, XOR, Bytes::from("new ")).await.unwrap();
        }
        sink.write(&inputs[0], XOR, Bytes::from("content"))
            .await
            .unwrap();
        assert_eq!(fs::read(out.join("a")).unwrap(), b"previous");

        let mut files: Vec<_> = inputs
            .iter()
            .map(|input| FileResult::of_nothing(input, XOR))
            .collect();
        files[1].failure = Some("the task failed".to_owned().into());
        files[2].verified = Some(false);
        sink.commit(&mut files);
        let content = |name| fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(content("a"), "new content");
        assert_eq!(content("b"), "previous");
        assert_eq!(content("c"), "previous");
        assert_eq!(content("d"), "");
        assert_eq!(names(&out).len(), 4, "{:?}", names(&out));
        let mode = fs::metadata(out.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[tokio::test]
    async fn a_run_that_ends_early_leaves_everything_as_it_was() {
        let (dir, out) = place();
        let paths = [input(dir.path(), "a"), input(dir.path(), "b")];
        fs::write(out.join("a"), "previous").unwrap();
        let (inputs, _) = open_all(&paths);
        let sink = Sink::new(Some(out.clone()), &inputs, &[XOR]).unwrap();
        sink.write(&inputs[0], XOR, Bytes::from("half"))
            .await
            .unwrap();
        drop(sink);
        assert_eq!(names(&out), ["a"]);
        assert_eq!(fs::read(out.join("a")).unwrap(), b"previous");
    }
}
