//! The WebAssembly modules of `examples/guests`, which tests and benchmarks run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    context::Context,
    process::run,
    wasm::{self, TARGET},
};

/// Where they are in the workspace.
const SOURCES: &str = "examples/guests";

/// Those in Rust, and what the compiler calls their files.
const RUST: &[(&str, &str)] = &[
    ("crc32c", "crc32c"),
    ("echo", "echo"),
    ("n-body", "n_body"),
    ("sum", "sum"),
];

/// Those in C, each one file in a folder of its name.
const C: &[&str] = &["word-count"];

/// The folder of the modules.
pub(crate) fn folder(context: &Context) -> PathBuf {
    context.target.join("guests")
}

/// Builds all of them into [`folder`].
pub(crate) fn build(context: &Context) -> Result<()> {
    let folder = folder(context);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let sources = context.root.join(SOURCES);
    build_rust(context, &sources, &folder)?;
    for name in C {
        build_c(
            context,
            &sources.join(name).join(format!("{name}.c")),
            &folder,
            name,
        )?;
    }
    println!("    the guests are in {}", folder.display());
    Ok(())
}

fn build_rust(context: &Context, sources: &Path, folder: &Path) -> Result<()> {
    let built = context.target.join("guests-build");
    let mut cargo = wasm::ensure_toolchain(context)?.cargo(context);
    cargo
        // Its settings for the linker lie there.
        .current_dir(sources)
        .args(["build", "--locked", "--release", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &built);
    run(&mut cargo)?;
    for (name, file) in RUST {
        let module = built
            .join(TARGET)
            .join("release")
            .join(format!("{file}.wasm"));
        let place = folder.join(format!("{name}.wasm"));
        fs::copy(&module, &place)
            .with_context(|| format!("cannot copy {} to {}", module.display(), place.display()))?;
    }
    Ok(())
}

fn build_c(context: &Context, source: &Path, folder: &Path, name: &str) -> Result<()> {
    run(context
        .command("clang")
        .args(["--target=wasm32", "-O2", "-nostdlib", "-Wall", "-Werror"])
        .args([
            "-Wl,--no-entry",
            "-Wl,-z,stack-size=65536",
            "-Wl,--strip-all",
            "-o",
        ])
        .arg(folder.join(format!("{name}.wasm")))
        .arg(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_in_the_folder_is_built() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(SOURCES);
        let mut there: Vec<String> = fs::read_dir(sources)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.') && name != "target")
            .collect();
        there.sort();
        let mut known: Vec<&str> = RUST
            .iter()
            .map(|(name, _)| *name)
            .chain(C.iter().copied())
            .collect();
        known.sort_unstable();
        assert_eq!(there, known);
    }
}
