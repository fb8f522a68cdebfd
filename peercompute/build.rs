//! Puts the pages of `node --web` into the program where they are at hand: those in the folder that `PEERCOMPUTE_EMBED_WEB` names, else in `web/` of this package.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const VARIABLE: &str = "PEERCOMPUTE_EMBED_WEB";

/// The file without which a folder does not hold the pages.
const PAGE: &str = "lend.html";

/// What browsers ask for; the rest of the npm package is for people and tools.
const SERVED: [&str; 5] = ["html", "css", "js", "wasm", "gz"];

fn main() -> io::Result<()> {
    // What is not there is not watched: it would be taken for a change each time.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let own = Path::new("web");
    let folder = match env::var_os(VARIABLE).filter(|it| !it.is_empty()) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => own.join(PAGE).is_file().then(|| own.to_owned()),
    };
    let list = match folder {
        Some(folder) if folder.join(PAGE).is_file() => list(&folder)?,
        Some(folder) => {
            println!(
                "cargo::error={VARIABLE}={}: there is no {PAGE} in it; name the folder that `cargo xtask web` makes by its whole path, or unset the variable",
                folder.display()
            );
            return Ok(());
        }
        None => String::new(),
    };
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("pages.rs"), format!("&[{list}]"))
}

/// The files in the folder as the items of a slice, which rebuilds the program when one changes.
fn list(folder: &Path) -> io::Result<String> {
    let folder = folder.canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut list = String::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let (Some(name), Some(kind)) = (path.file_name(), path.extension()) else {
            continue;
        };
        if SERVED.iter().any(|served| kind == *served) {
            list += &format!("({name:?}, include_bytes!({path:?})),\n");
        }
    }
    Ok(list)
}
