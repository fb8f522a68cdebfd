//! Machine code on disk.
//!
//! What is read here is run as it is: `Module::deserialize` believes its input, which is why it is unsafe. So only a directory is used that is this user's own and that nobody else can
//! look into, and each file begins with a hash of the rest under a key that lies in the same directory. The mode of the directory keeps other users out; the hash finds what was cut short,
//! has rotted or was put there by hand. Whoever can write as this user can run what he likes anyway.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use wasmtime::{Engine, Module};

use super::{WasmError, config::CACHE_BYTES, nan};
use crate::ProgramHash;

/// Bytes of one file: far more than the largest module needs.
const MAX_FILE: u64 = 512 << 20;

const KEY_FILE: &str = "key";
const KEY: usize = 32;
const MAC: usize = 32;

/// A part of a file that is older than this was left by a program that ended in the middle of it.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// Files of machine code end so.
const ENDING: &str = "native";

pub(super) struct Disk {
    path: PathBuf,
    key: [u8; KEY],
    /// Names the version of the engine and its settings: machine code of another one has another file.
    engine: String,
}

impl Disk {
    pub(super) fn open(path: &Path, engine: &Engine) -> Result<Self, WasmError> {
        let refused = |reason: String| WasmError::Cache {
            path: path.to_owned(),
            reason,
        };
        private::ensure(path).map_err(&refused)?;
        let key = key(&path.join(KEY_FILE))
            .map_err(|error| refused(format!("its key cannot be read or made: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            key,
            engine: fingerprint(engine),
        })
    }

    /// The module, if its machine code is here and whole.
    pub(super) fn load(&self, hash: &ProgramHash, engine: &Engine) -> Option<Module> {
        let path = self.file(hash);
        let size = fs::symlink_metadata(&path).ok()?.len();
        if size > MAX_FILE {
            return None;
        }
        let file = fs::read(&path).ok()?;
        let (mac, code) = file.split_first_chunk::<MAC>()?;
        // This comparison takes the same time wherever they differ.
        if blake3::Hash::from(*mac) != self.mac(hash, code) {
            tracing::warn!(path = %path.display(), "machine code on disk is not what was put there; it is made anew");
            let _ = fs::remove_file(&path);
            return None;
        }
        // SAFETY: these bytes were written by `save` of this program's user from `Module::serialize`, for this module and this engine: nobody else can write into the directory, which
        // `ensure` has checked, nor knows the key that the hash just checked was made with. They are in memory, so nobody changes them between the check and their use.
        let module = unsafe { Module::deserialize(engine, code) };
        module
            .inspect_err(|error| tracing::warn!(%error, "machine code on disk is not used"))
            .ok()
    }

    /// Keeps the machine code of a module. That it cannot be kept is said in the log and does not matter else.
    pub(super) fn save(&self, hash: &ProgramHash, module: &Module) {
        if let Err(error) = self.try_save(hash, module) {
            tracing::warn!(%error, path = %self.path.display(), "machine code cannot be kept");
        }
    }

    fn try_save(&self, hash: &ProgramHash, module: &Module) -> std::io::Result<()> {
        let code = module.serialize().map_err(std::io::Error::other)?;
        let size = (MAC + code.len()) as u64;
        if size > MAX_FILE.min(CACHE_BYTES) {
            return Ok(());
        }
        self.make_room(size)?;
        let mac = self.mac(hash, &code);
        write(&self.file(hash), &[mac.as_bytes(), &code])
    }

    /// Removes what was written longest ago until there is room for `size` more bytes.
    fn make_room(&self, size: u64) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                let about = entry.metadata()?;
                let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((written, about.len(), path));
            } else if path.extension().is_some() && is_left(&entry.metadata()?) {
                let _ = fs::remove_file(path);
            }
        }
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        files.sort();
        for (_, each, path) in files {
            if total <= CACHE_BYTES - size {
                break;
            }
            fs::remove_file(path)?;
            total -= each;
        }
        Ok(())
    }

    fn file(&self, hash: &ProgramHash) -> PathBuf {
        self.path.join(format!("{hash}-{}.{ENDING}", self.engine))
    }

    /// Binds the code to the module, and to the engine.
    fn mac(&self, hash: &ProgramHash, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(hash.as_bytes());
        hasher.update(self.engine.as_bytes());
        hasher.update(code);
        hasher.finalize()
    }
}

fn is_left(about: &fs::Metadata) -> bool {
    let age = about.modified().ok().and_then(|at| at.elapsed().ok());
    about.is_file() && age.is_some_and(|age| age > LEFT)
}

/// Names the version of the engine, its settings and what it found of the processor.
fn fingerprint(engine: &Engine) -> String {
    struct Feed(blake3::Hasher);
    impl std::hash::Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut feed = Feed(blake3::Hasher::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut feed);
    std::hash::Hash::hash(&nan::REVISION, &mut feed);
    let hex = feed.0.finalize().to_hex();
    hex[..16].to_owned()
}

fn key(path: &Path) -> std::io::Result<[u8; KEY]> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let mut key = [0; KEY];
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    write(path, &[&key])?;
    // Another program may have come first; what lies there now is what both go by.
    Ok(read_key(path)?.unwrap_or(key))
}

fn read_key(path: &Path) -> std::io::Result<Option<[u8; KEY]>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.try_into().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file so that whoever opens it finds all of it or none.
fn write(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    use std::io::Write as _;

    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(std::io::Error::other)?;
    let beside = path.with_extension(format!("{:016x}", u64::from_le_bytes(name)));
    let written = private::create(&beside).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&beside, path));
    if moved.is_err() {
        let _ = fs::remove_file(&beside);
    }
    moved
}

#[cfg(unix)]
mod private {
    use std::{
        fs,
        os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
        path::Path,
    };

    /// Makes the directory if it is not there, and looks whether it is this user's own.
    pub(super) fn ensure(path: &Path) -> Result<(), String> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        made.map_err(|error| format!("it cannot be made: {error}"))?;
        let about = fs::symlink_metadata(path)
            .map_err(|error| format!("it cannot be looked at: {error}"))?;
        if !about.is_dir() {
            return Err("it is a link or no directory; name the directory itself".to_owned());
        }
        let mode = about.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "others can get into it (mode {mode:o}), and what lies there is run; chmod 700 it, or name another one"
            ));
        }
        // A file that was just made belongs to whoever runs this, and so must the directory. It is looked at under a name that nobody has seen before.
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| error.to_string())?;
        let probe = path.join(format!("{:016x}.probe", u64::from_le_bytes(name)));
        let owner = create(&probe)
            .and_then(|file| file.metadata())
            .map(|about| about.uid());
        let _ = fs::remove_file(&probe);
        match owner {
            Ok(owner) if owner == about.uid() => Ok(()),
            Ok(_) => Err(
                "it belongs to another user, and what lies there is run; name another one"
                    .to_owned(),
            ),
            Err(error) => Err(format!("nothing can be written into it: {error}")),
        }
    }

    pub(super) fn create(path: &Path) -> std::io::Result<fs::File> {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }
}

#[cfg(not(unix))]
mod private {
    use std::{fs, path::Path};

    pub(super) fn ensure(_path: &Path) -> Result<(), String> {
        Err(
            "whether others can get into it can only be checked on Unix; leave the cache out"
                .to_owned(),
        )
    }

    pub(super) fn create(path: &Path) -> std::io::Result<fs::File> {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
    }
}
