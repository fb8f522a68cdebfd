//! Where the program keeps what it can do without.

use std::{env, path::PathBuf};

/// The program's directory among those that the user has for such things: `$XDG_CACHE_HOME/peercompute`, or `~/.cache/peercompute`. None where neither variable is set.
pub(crate) fn directory() -> Option<PathBuf> {
    let set = |name| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(caches.join("peercompute"))
}
