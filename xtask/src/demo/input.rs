//! The files of the job. Small ones are repeated, so that a worker can be killed while the job runs.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::report;
use crate::{context::Context, process::output_of};

/// The most files of one job: what fits on a command line, with room to spare.
const MAX_FILES: usize = 2_000;

/// How many tasks a job is cut into, about.
const TASKS: u64 = 3_000;

/// The smallest and the largest piece of a file that is one task.
const CHUNKS: (u64, u64) = (16 << 10, 1 << 20);

/// Folders that hold what was built or installed.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

/// What the job works on.
#[derive(Debug)]
pub(super) struct Input {
    files: Vec<PathBuf>,
    bytes: u64,
}

/// How large one attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// How often each file is repeated.
    pub(super) repeats: u64,
    /// All files with their repeats.
    pub(super) bytes: u64,
}

impl Size {
    pub(super) fn words(self, input: &Input) -> String {
        let files = match input.files.len() {
            1 => "1 file".to_owned(),
            number => format!("{number} files"),
        };
        let times = match self.repeats {
            1 => String::new(),
            number => format!(", repeated {number} times"),
        };
        format!("{files}{times}, {}", report::bytes(self.bytes))
    }
}

impl Input {
    /// The files below `paths`, or those of the workspace. Empty ones and links are left out.
    pub(super) fn find(context: &Context, paths: &[PathBuf]) -> Result<Self> {
        let mut files = BTreeSet::new();
        if paths.is_empty() {
            for file in workspace_files(context)? {
                // What is removed and not yet committed is listed, too.
                if file.is_file() {
                    files.insert(file);
                }
            }
        }
        for path in paths {
            let metadata = fs::metadata(path).with_context(|| {
                format!(
                    "{}: cannot be read; name a file or a folder",
                    path.display()
                )
            })?;
            if metadata.is_dir() {
                walk(path, &mut files)?;
            } else {
                files.insert(path.clone());
            }
        }
        let mut kept = Vec::new();
        let mut bytes = 0;
        for file in files {
            let length = fs::metadata(&file)
                .with_context(|| format!("{}: cannot be read", file.display()))?
                .len();
            if length > 0 {
                bytes += length;
                kept.push(file.canonicalize()?);
            }
        }
        if kept.is_empty() {
            bail!("no file with anything in it was found; name one");
        }
        if kept.len() > MAX_FILES {
            bail!(
                "{} files are too many for one job; name at most {MAX_FILES}",
                kept.len()
            );
        }
        Ok(Self { files: kept, bytes })
    }

    /// How often the files must be repeated to hold `wanted` bytes.
    pub(super) fn size_for(&self, wanted: u64) -> Size {
        let repeats = wanted.div_ceil(self.bytes).max(1);
        Size {
            repeats,
            bytes: self.bytes * repeats,
        }
    }

    /// The files to name to the job: as they are, or repeated in `folder`.
    pub(super) fn prepare(&self, size: Size, folder: &Path) -> Result<Vec<PathBuf>> {
        if size.repeats == 1 {
            return Ok(self.files.clone());
        }
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let copy = folder.join(format!("{index}-{name}"));
                repeat(file, &copy, size.repeats).with_context(|| {
                    format!("cannot repeat {} in {}", file.display(), copy.display())
                })?;
                Ok(copy)
            })
            .collect()
    }
}

/// The size of a task: a power of two, so that the job has about [`TASKS`] of them.
pub(super) fn chunk_for(bytes: u64) -> u64 {
    let (least, most) = CHUNKS;
    (bytes / TASKS)
        .clamp(least, most)
        .next_power_of_two()
        .min(most)
}

fn repeat(file: &Path, copy: &Path, times: u64) -> io::Result<()> {
    let content = fs::read(file)?;
    let mut out = BufWriter::new(File::create(copy)?);
    for _ in 0..times {
        out.write_all(&content)?;
    }
    out.flush()
}

/// What git knows of, or, where this is no checkout, what is there.
fn workspace_files(context: &Context) -> Result<Vec<PathBuf>> {
    if let Ok(listed) = output_of(context.command("git").args(["ls-files", "-z"])) {
        let files: Vec<_> = listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(|name| context.root.join(name))
            .collect();
        if !files.is_empty() {
            return Ok(files);
        }
    }
    let mut files = BTreeSet::new();
    walk(&context.root, &mut files)?;
    Ok(files.into_iter().collect())
}

fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.insert(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(root: &Path) -> Context {
        Context {
            root: root.to_path_buf(),
            cache: root.join("cache"),
            target: root.join("out"),
            jobs: 1,
            ci: false,
        }
    }

    #[test]
    fn folders_are_walked_and_what_was_built_is_left_out() {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("a.rs", "aa"),
            ("sub/b.rs", "bbb"),
            ("target/c.o", "c"),
            ("empty", ""),
        ] {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().expect("has one")).expect("made");
            fs::write(file, text).expect("written");
        }
        let input =
            Input::find(&context(root.path()), &[root.path().to_path_buf()]).expect("files");
        assert_eq!(input.bytes, 5);
        assert_eq!(input.files.len(), 2);
    }

    #[test]
    fn small_files_are_repeated_and_large_ones_are_not() {
        let input = Input {
            files: vec!["a".into()],
            bytes: 100,
        };
        assert_eq!(
            input.size_for(1_000),
            Size {
                repeats: 10,
                bytes: 1_000
            }
        );
        assert_eq!(
            input.size_for(1_001),
            Size {
                repeats: 11,
                bytes: 1_100
            }
        );
        assert_eq!(
            input.size_for(99),
            Size {
                repeats: 1,
                bytes: 100
            }
        );
    }

    #[test]
    fn a_repeated_file_holds_its_content_over_and_over() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("x");
        fs::write(&file, "ab").expect("written");
        let input = Input {
            files: vec![file],
            bytes: 2,
        };
        let copies = input
            .prepare(
                Size {
                    repeats: 3,
                    bytes: 6,
                },
                root.path(),
            )
            .expect("repeated");
        assert_eq!(fs::read_to_string(&copies[0]).expect("there"), "ababab");
    }

    #[test]
    fn no_file_at_all_is_said() {
        let root = tempfile::tempdir().expect("a folder");
        let error = Input::find(&context(root.path()), &[root.path().to_path_buf()])
            .expect_err("nothing there");
        assert_eq!(
            error.to_string(),
            "no file with anything in it was found; name one"
        );
    }

    #[test]
    fn tasks_are_of_a_size_that_makes_enough_of_them() {
        assert_eq!(chunk_for(1 << 20), 16 << 10);
        assert_eq!(chunk_for(768 << 20), 512 << 10);
        assert_eq!(chunk_for(1 << 40), 1 << 20);
    }
}
