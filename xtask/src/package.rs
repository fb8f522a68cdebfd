//! The crates as they would be published, and what their manifests say.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    context::Context,
    process::{output_of, run},
};

/// Packs every crate that is published and builds each from its package.
pub(crate) fn package(context: &Context) -> Result<()> {
    let metadata = metadata(context)?;
    let unpublished = unpublished(&metadata)?;
    let names = names(&metadata, |_| true)?;
    forget_builds(&context.target, &names)?;
    if let Some(home) = cargo_home() {
        forget_sources(&home, &names)?;
    }
    let mut cargo = context.cargo(["package", "--workspace", "--locked"]);
    for name in &unpublished {
        cargo.args(["--exclude", name]);
    }
    if !context.ci {
        // A person may try what is not committed yet; a CI machine has nothing else than what is.
        cargo.arg("--allow-dirty");
    }
    run(&mut cargo)
}

/// Has cargo build what it built from packages anew. A package comes from a registry, whose versions never change, so cargo would take what it built from the same
/// version before, however the sources have changed since.
fn forget_builds(target: &Path, names: &[String]) -> Result<()> {
    let profile = target.join("debug");
    let Ok(files) = fs::read_dir(profile.join("deps")) else {
        // Nothing has been built yet.
        return Ok(());
    };
    for file in files {
        let path = file?.path();
        let Some((name, hash)) = build_of(&path, names) else {
            continue;
        };
        let sources = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        if is_packaged(&sources) {
            let fingerprint = profile.join(format!(".fingerprint/{name}-{hash}"));
            if fingerprint.exists() {
                fs::remove_dir_all(&fingerprint)
                    .with_context(|| format!("{} cannot be removed", fingerprint.display()))?;
            }
        }
    }
    Ok(())
}

/// Has cargo unpack the packages anew, for the same reason.
fn forget_sources(cargo_home: &Path, names: &[String]) -> Result<()> {
    let Ok(registries) = fs::read_dir(cargo_home.join("registry/src")) else {
        // Nothing has been unpacked yet.
        return Ok(());
    };
    for registry in registries {
        for name in names {
            let package = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
            let unpacked = registry
                .as_ref()
                .map(|registry| registry.path().join(&package));
            if let Ok(unpacked) = unpacked
                && unpacked.exists()
            {
                fs::remove_dir_all(&unpacked)
                    .with_context(|| format!("{} cannot be removed", unpacked.display()))?;
            }
        }
    }
    Ok(())
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// Which of the crates a list of sources in `deps` belongs to, and which of its builds.
fn build_of<'a>(path: &'a Path, names: &'a [String]) -> Option<(&'a str, &'a str)> {
    if path.extension()? != "d" {
        return None;
    }
    let (stem, hash) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let name = names.iter().find(|name| name.replace('-', "_") == stem)?;
    Some((name, hash))
}

/// Whether a list of sources is that of an unpacked package.
fn is_packaged(sources: &str) -> bool {
    sources.contains("/registry/src/")
}

/// The crates that have default features.
pub(crate) fn features_packages(context: &Context) -> Result<Vec<String>> {
    let metadata = metadata(context)?;
    names(&metadata, |package| {
        package["features"]["default"]
            .as_array()
            .is_some_and(|default| !default.is_empty())
    })
}

fn metadata(context: &Context) -> Result<Value> {
    let text = output_of(&mut context.cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?;
    serde_json::from_str(&text).context("`cargo metadata` printed no JSON")
}

/// The crates with `publish = false`.
fn unpublished(metadata: &Value) -> Result<Vec<String>> {
    names(metadata, |package| {
        package["publish"].as_array().is_some_and(Vec::is_empty)
    })
}

fn names(metadata: &Value, wanted: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` names no packages")?;
    Ok(packages
        .iter()
        .filter(|package| wanted(package))
        .filter_map(|package| package["name"].as_str())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_from_packages_are_forgotten_and_others_kept() {
        let target = tempfile::tempdir().expect("a folder");
        let debug = target.path().join("debug");
        let build = |hash: &str, source: &str| {
            let fingerprint = debug.join(".fingerprint").join(format!("two-words-{hash}"));
            fs::create_dir_all(&fingerprint).expect("a folder");
            fs::create_dir_all(debug.join("deps")).expect("a folder");
            let list = debug.join(format!("deps/two_words-{hash}.d"));
            fs::write(list, format!("out: {source}\n")).expect("a file");
            fingerprint
        };
        let packed = build(
            "1a",
            "/home/me/.cargo/registry/src/-9f/two-words-0.1.0/src/lib.rs",
        );
        let own = build("2b", "/home/me/two-words/src/lib.rs");
        let names = ["two-words".to_owned()];
        forget_builds(target.path(), &names).expect("nothing is in the way");
        assert!(!packed.exists());
        assert!(own.exists());
        forget_builds(&target.path().join("none"), &names).expect("nothing is there");
    }

    #[test]
    fn unpacked_packages_are_forgotten_and_those_of_others_kept() {
        let home = tempfile::tempdir().expect("a folder");
        let registry = home.path().join("registry/src/-9f");
        let own = registry.join(concat!("two-words-", env!("CARGO_PKG_VERSION")));
        let other = registry.join("bytes-1.0.0");
        for folder in [&own, &other] {
            fs::create_dir_all(folder).expect("a folder");
        }
        forget_sources(home.path(), &["two-words".to_owned()]).expect("nothing is in the way");
        assert!(!own.exists());
        assert!(other.exists());
    }

    #[test]
    fn what_is_not_published_is_told_from_what_is() {
        let metadata = serde_json::json!({"packages": [
            {"name": "xtask", "publish": []}, {"name": "peercompute", "publish": null}, {"name": "inner", "publish": ["somewhere"]},
        ]});
        assert_eq!(unpublished(&metadata).expect("well-formed"), ["xtask"]);
    }
}
