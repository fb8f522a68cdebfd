//! The files, read piece by piece.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces of one file that are read ahead. Reading waits while they are not taken.
const READ_AHEAD: usize = 4;

/// A file that can be read.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    /// Its size when the run began; a file that grows meanwhile is read to where it ends then.
    pub(crate) size: u64,
    pub(crate) id: FileId,
    /// As it was when the run began.
    pub(crate) stamp: Stamp,
}

/// A file under whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// What a file's content does not change without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    id: FileId,
    size: u64,
    /// When it was changed last, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            id: FileId::of(metadata),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file that cannot.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    pub(crate) error: String,
}

/// Sorts the files into those that can be read and those that cannot.
pub(super) fn open_all(paths: &[PathBuf]) -> (Vec<Input>, Vec<Unusable>) {
    let mut inputs = Vec::new();
    let mut unusable = Vec::new();
    for path in paths {
        match open(path) {
            Ok(input) => inputs.push(input),
            Err(error) => unusable.push(Unusable {
                path: path.clone(),
                error,
            }),
        }
    }
    (inputs, unusable)
}

fn open(path: &Path) -> Result<Input, String> {
    let cannot = |error| format!("cannot be opened: {error}");
    // Before it is opened, which for a pipe that nobody writes to would never end.
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err("is a directory; name the files in it".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a regular file, and is read twice; copy it to a file first".to_owned());
    }
    File::open(path).map_err(cannot)?;
    Ok(Input {
        path: path.to_owned(),
        size: metadata.len(),
        id: FileId::of(&metadata),
        stamp: Stamp::of(&metadata),
    })
}

/// Reads a file on a thread of its own, in pieces of `chunk` bytes, the last one shorter; an empty file has none.
pub(super) fn pieces(path: &Path, chunk: usize) -> mpsc::Receiver<Result<Bytes, String>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let read = read_pieces(&path, chunk, |piece| {
            sender.blocking_send(Ok(piece)).is_ok()
        });
        if let Err(error) = read {
            // Nobody listens any more if the run has ended meanwhile.
            let _ = sender.blocking_send(Err(format!("cannot be read: {error}")));
        }
    });
    receiver
}

/// Calls `take` with each piece until it answers false.
pub(super) fn read_pieces(
    path: &Path,
    chunk: usize,
    mut take: impl FnMut(Bytes) -> bool,
) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    loop {
        let mut piece = Vec::with_capacity(chunk);
        file.by_ref().take(chunk as u64).read_to_end(&mut piece)?;
        if piece.is_empty() || !take(Bytes::from(piece)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_chunks_with_a_shorter_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, [7; 10]).unwrap();
        let mut sizes = Vec::new();
        read_pieces(&path, 4, |piece| {
            sizes.push(piece.len());
            true
        })
        .unwrap();
        assert_eq!(sizes, [4, 4, 2]);
    }

    #[test]
    fn an_empty_file_has_no_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, []).unwrap();
        read_pieces(&path, 4, |_| panic!("a piece of nothing")).unwrap();
    }

    #[test]
    fn missing_files_and_directories_are_unusable_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, [1]).unwrap();
        let (inputs, unusable) = open_all(&[
            dir.path().join("missing"),
            path.clone(),
            dir.path().to_owned(),
        ]);
        assert_eq!(
            inputs.iter().map(|input| &input.path).collect::<Vec<_>>(),
            [&path]
        );
        assert!(unusable[0].error.contains("cannot be opened"));
        assert!(unusable[1].error.contains("directory"));
    }

    #[test]
    fn what_is_no_regular_file_is_unusable_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (inputs, unusable) = open_all(&[socket, "/dev/zero".into()]);
        assert!(inputs.is_empty());
        for file in &unusable {
            assert!(file.error.contains("copy it to a file"), "{file:?}");
        }
    }
}
