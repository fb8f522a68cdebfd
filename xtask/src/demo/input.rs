//! The files of the job. Small ones are repeated, so that a worker can be killed while the job runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

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

/// Paths that an error names; it counts the others.
const NAMED: usize = 3;

/// An argument on the command line is of no use.
#[derive(Debug)]
pub(crate) struct Unusable(pub(crate) String);

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Unusable {}

/// What the job works on.
#[derive(Debug)]
pub(super) struct Input {
    files: Vec<Source>,
    bytes: u64,
    /// How many files were left out because nothing is in them.
    empty: usize,
}

/// A file to work on.
#[derive(Debug)]
struct Source {
    /// From the root, so that every process finds it.
    path: PathBuf,
    /// As it was found.
    name: PathBuf,
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
    /// How many files, and how often repeated.
    pub(super) fn words(self, input: &Input) -> String {
        let files = match input.files.len() {
            1 => "1 file".to_owned(),
            number => format!("{} files", report::thousands(number as u64)),
        };
        let empty = match input.empty {
            0 => String::new(),
            1 => " (1 empty one left out)".to_owned(),
            number => format!(
                " ({} empty ones left out)",
                report::thousands(number as u64)
            ),
        };
        let times = match self.repeats {
            1 => String::new(),
            number => format!(", repeated {} times", report::thousands(number)),
        };
        format!("{files}{empty}{times}")
    }
}

impl Input {
    /// The files below `paths`, or those of the workspace. Empty ones and links in folders are left out.
    ///
    /// # Errors
    ///
    /// [`Unusable`], where there is nothing to work on, too much, or what cannot be read.
    pub(super) fn find(context: &Context, paths: &[PathBuf]) -> Result<Self> {
        let mut found = BTreeSet::new();
        if paths.is_empty() {
            for file in workspace_files(context)? {
                // What is removed and not yet committed is listed, too.
                if file.is_file() {
                    found.insert(file);
                }
            }
        }
        for path in paths {
            let metadata = fs::metadata(path).map_err(|error| {
                Unusable(format!(
                    "{}: cannot be read: {error}; name a file or a folder",
                    path.display()
                ))
            })?;
            if metadata.is_dir() {
                walk(path, &mut found)?;
            } else if metadata.is_file() {
                found.insert(path.clone());
            } else {
                let path = path.display();
                return Err(Unusable(format!(
                    "{path}: is neither a regular file nor a folder; copy it to a file first"
                ))
                .into());
            }
        }
        let (mut files, mut bytes, mut empty) = (BTreeMap::new(), 0, 0);
        for name in found {
            let (path, length) = measure(&name).map_err(|error| unreadable(&name, &error))?;
            if length == 0 {
                empty += 1;
            } else if files.insert(path, name).is_none() {
                bytes += length;
            }
        }
        if files.is_empty() {
            return Err(Unusable(nothing_in(paths)).into());
        }
        if files.len() > MAX_FILES {
            return Err(Unusable(format!(
                "{} files are too many for one job; name at most {}",
                report::thousands(files.len() as u64),
                report::thousands(MAX_FILES as u64)
            ))
            .into());
        }
        let files = files.into_iter().map(|(path, name)| Source { path, name });
        Ok(Self {
            files: files.collect(),
            bytes,
            empty,
        })
    }

    /// The files' names, for people, in the order of [`Input::prepare`].
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|file| file.name.as_path())
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
        let files = self.files.iter().map(|file| &file.path);
        if size.repeats == 1 {
            return Ok(files.cloned().collect());
        }
        files
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

/// A file's path from the root, and how long it is. An error if it cannot be read.
fn measure(file: &Path) -> io::Result<(PathBuf, u64)> {
    let length = File::open(file)?.metadata()?.len();
    Ok((file.canonicalize()?, length))
}

fn unreadable(path: &Path, error: &io::Error) -> Unusable {
    Unusable(format!("{}: cannot be read: {error}", path.display()))
}

/// What to say of paths with nothing to work on.
fn nothing_in(paths: &[PathBuf]) -> String {
    let mut names: Vec<_> = paths
        .iter()
        .take(NAMED)
        .map(|path| path.display().to_string())
        .collect();
    match paths.len() {
        0 => names.push("this workspace".to_owned()),
        number if number > NAMED => names.push(format!("{} more", number - NAMED)),
        _ => {}
    }
    format!(
        "{}: nothing to work on, as there is no file with anything in it; name one, or a folder with one",
        names.join(", ")
    )
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
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
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

    fn one(path: PathBuf, bytes: u64) -> Input {
        let name = path.clone();
        Input {
            files: vec![Source { path, name }],
            bytes,
            empty: 0,
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
        assert_eq!(
            input.names().collect::<Vec<_>>(),
            [root.path().join("a.rs"), root.path().join("sub/b.rs")]
        );
        assert_eq!(
            input.size_for(10).words(&input),
            "2 files (1 empty one left out), repeated 2 times"
        );
    }

    #[test]
    fn small_files_are_repeated_and_large_ones_are_not() {
        let input = one("a".into(), 100);
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
        let input = one(file, 2);
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
    fn a_file_with_two_names_is_worked_on_once() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("x"), "ab").expect("written");
        let paths = ["x", "./x"].map(|name| root.path().join(name));
        let again = root
            .path()
            .join("../")
            .join(root.path().file_name().expect("has one"));
        let paths = [&paths[..], &[again]].concat();
        let input = Input::find(&context(root.path()), &paths).expect("files");
        assert_eq!((input.files.len(), input.bytes), (1, 2));
    }

    #[test]
    fn what_cannot_be_worked_on_is_named_and_unusable() {
        let root = tempfile::tempdir().expect("a folder");
        let (empty, missing) = (root.path().join("empty"), root.path().join("missing"));
        fs::write(&empty, "").expect("written");
        let cases = [
            (
                vec![root.path().to_path_buf()],
                root.path(),
                "nothing to work on",
            ),
            (vec![empty.clone()], &empty, "nothing to work on"),
            (vec![missing.clone()], &missing, "name a file or a folder"),
            (vec!["/dev/null".into()], Path::new("/dev/null"), "copy it"),
            (vec![empty.clone(); 5], &empty, "2 more: nothing"),
        ];
        for (paths, culprit, remedy) in cases {
            let error = Input::find(&context(root.path()), &paths).expect_err("unusable");
            assert!(error.is::<Unusable>(), "{error:?}");
            let error = error.to_string();
            assert!(error.starts_with(&culprit.display().to_string()), "{error}");
            assert!(error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn tasks_are_of_a_size_that_makes_enough_of_them() {
        assert_eq!(chunk_for(1 << 20), 16 << 10);
        assert_eq!(chunk_for(768 << 20), 512 << 10);
        assert_eq!(chunk_for(1 << 40), 1 << 20);
    }
}
