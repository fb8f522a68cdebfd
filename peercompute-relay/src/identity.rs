use std::{env, fs, path::Path};

use peercompute_net::Identity;
use peercompute_rt::Runtime;

use crate::{
    StartError,
    config::{IdentitySource, RelayOptions, default_identity_file},
};

/// Reads the relay's identity, or makes one at the first start.
pub(crate) fn load(runtime: &Runtime, options: &RelayOptions) -> Result<Identity, StartError> {
    let file = match &options.identity {
        IdentitySource::Default => Some(default_identity_file(|name| env::var_os(name))?),
        IdentitySource::File(file) => Some(file.clone()),
        IdentitySource::Ephemeral => None,
    };
    let identity = match file {
        Some(file) => {
            make_folder(&file)?;
            let identity = Identity::load_or_generate(&file, runtime)?;
            warn_of_readers(&file);
            identity
        }
        None => Identity::generate(runtime),
    };
    match options.peer_id {
        Some(expected) if expected != identity.peer() => Err(StartError::OtherPeerId {
            expected,
            found: identity.peer(),
        }),
        _ => Ok(identity),
    }
}

/// Makes the folder of the identity file, for its owner alone; one that is there stays as it is.
fn make_folder(file: &Path) -> Result<(), StartError> {
    let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|source| StartError::IdentityFolder {
            folder: folder.to_owned(),
            source,
        })
}

/// Says so when others on this machine can read the relay's private key.
fn warn_of_readers(file: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(file)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0
    {
        tracing::warn!(file = %file.display(), "others can read the relay's private key; run `chmod 600` on it");
    }
    #[cfg(not(unix))]
    let _ = file;
}

#[cfg(test)]
mod tests {
    use peercompute_rt::Simulation;

    use super::*;

    fn options(file: &Path) -> RelayOptions {
        let mut options = RelayOptions::local();
        options.identity = IdentitySource::File(file.to_owned());
        options
    }

    #[test]
    fn the_folder_is_made_and_the_identity_is_the_same_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(&folder.path().join("a/b/id.key"));
        let runtime = Simulation::new(1).runtime();
        let first = load(&runtime, &options).unwrap().peer();
        assert_eq!(load(&runtime, &options).unwrap().peer(), first);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_look_into_a_folder_that_was_made() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        load(
            &Simulation::new(1).runtime(),
            &options(&made.join("id.key")),
        )
        .unwrap();
        assert_eq!(fs::metadata(made).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("file");
        fs::write(&taken, "").unwrap();
        let error = load(
            &Simulation::new(1).runtime(),
            &options(&taken.join("id.key")),
        );
        let error = error.unwrap_err();
        assert!(
            matches!(error, StartError::IdentityFolder { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains(taken.to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn another_peer_id_than_the_configured_one_is_refused() {
        let mut options = RelayOptions::local();
        options.peer_id = Some(peercompute_net::PeerId::random());
        let error = load(&Simulation::new(1).runtime(), &options).unwrap_err();
        assert!(matches!(error, StartError::OtherPeerId { .. }), "{error}");
    }
}
