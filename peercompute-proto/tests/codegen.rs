//! The checked-in types are what the schema generates. `PEERCOMPUTE_CODEGEN=write` (or `cargo xtask codegen`) writes them anew.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

const GENERATED: &str = "peercompute.v1.rs";

#[test]
fn checked_in_types_are_what_the_schema_generates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = root.join("src/generated").join(GENERATED);
    let fresh = generate(&root.join("proto"));
    if std::env::var_os("PEERCOMPUTE_CODEGEN").is_some_and(|mode| mode == "write") {
        std::fs::write(&checked_in, &fresh).unwrap();
        return;
    }
    let old = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        old == fresh,
        "{} does not match the schema; run `cargo xtask codegen` and commit the result",
        checked_in.display()
    );
}

fn generate(include: &Path) -> String {
    let descriptors = protox::compile(schema_files(include), [include]).unwrap();
    let out = tempfile();
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(&out)
        .compile_fds(descriptors)
        .unwrap();
    let text = std::fs::read_to_string(out.join(GENERATED)).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    text
}

fn schema_files(include: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(include.join("peercompute/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn tempfile() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("peercompute-codegen-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
