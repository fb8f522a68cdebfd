use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use peercompute_rt::Runtime;

use super::{Identity, IdentityFileError};

/// The largest identity file that is read, in bytes; an encoded key takes 68.
const MAX_FILE: u64 = 4096;

impl Identity {
    /// Reads the identity in the file at `path`, as [`save`](Self::save) wrote it.
    ///
    /// # Errors
    ///
    /// [`IdentityFileError::Read`], [`IdentityFileError::NotAFile`] and [`IdentityFileError::Invalid`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, IdentityFileError> {
        let path = path.as_ref();
        let unreadable = |error| IdentityFileError::Read {
            path: path.into(),
            error,
        };
        // Before it is opened: a pipe would keep whoever opens it waiting.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(IdentityFileError::NotAFile { path: path.into() });
        }
        let bytes = read(path).map_err(unreadable)?;
        Self::from_bytes(&bytes).map_err(|error| IdentityFileError::Invalid {
            path: path.into(),
            error,
        })
    }

    /// Writes the private key to the file at `path` and replaces what is there. The file is readable by its owner alone, and at every moment either
    /// the old one or the complete new one.
    ///
    /// # Errors
    ///
    /// [`IdentityFileError::Write`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), IdentityFileError> {
        let path = path.as_ref();
        let written = self.write_beside(path).and_then(|beside| {
            fs::rename(&beside.0, path)?;
            sync_folder(path)
        });
        written.map_err(|error| IdentityFileError::Write {
            path: path.into(),
            error,
        })
    }

    /// Reads the identity in the file at `path`; where there is no file, generates one and writes it there. Never replaces a file, not even one that
    /// another program writes at the same moment.
    ///
    /// # Errors
    ///
    /// [`IdentityFileError`].
    pub fn load_or_generate(
        path: impl AsRef<Path>,
        runtime: &Runtime,
    ) -> Result<Self, IdentityFileError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(IdentityFileError::Read { error, .. })
                if error.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let identity = Self::generate(runtime);
        let written = identity.write_beside(path).and_then(|beside| {
            // A link, unlike a rename, fails when the name is taken.
            fs::hard_link(&beside.0, path)?;
            sync_folder(path)
        });
        match written {
            Ok(()) => Ok(identity),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(IdentityFileError::Write {
                path: path.into(),
                error,
            }),
        }
    }

    fn write_beside(&self, path: &Path) -> io::Result<Temporary> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{number}.new", std::process::id()));
        let beside = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        let beside = Temporary(beside);
        file.write_all(&self.to_bytes())?;
        file.sync_all()?;
        Ok(beside)
    }
}

/// A file that goes away with this value, unless it was renamed meanwhile.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use peercompute_rt::Simulation;

    use super::*;

    #[test]
    fn a_generated_identity_is_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let runtime = Simulation::new(1).runtime();
        let first = Identity::load_or_generate(&path, &runtime).unwrap();
        let second = Identity::load_or_generate(&path, &runtime).unwrap();
        assert_eq!(first.peer(), second.peer());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_but_the_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let runtime = Simulation::new(1).runtime();
        Identity::generate(&runtime).save(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn saving_replaces_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let runtime = Simulation::new(1).runtime();
        fs::write(&path, b"something else").unwrap();
        let identity = Identity::generate(&runtime);
        identity.save(&path).unwrap();
        assert_eq!(Identity::load(&path).unwrap().peer(), identity.peer());
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        fs::write(&path, b"damaged").unwrap();
        let error = Identity::load_or_generate(&path, &Simulation::new(1).runtime()).unwrap_err();
        assert!(
            matches!(error, IdentityFileError::Invalid { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_without_opening_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe.as_path(), folder.path()] {
            let error =
                Identity::load_or_generate(path, &Simulation::new(1).runtime()).unwrap_err();
            assert!(
                matches!(error, IdentityFileError::NotAFile { .. }),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("identity");
        let error = Identity::load_or_generate(&path, &Simulation::new(1).runtime()).unwrap_err();
        assert!(
            matches!(error, IdentityFileError::Write { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}
