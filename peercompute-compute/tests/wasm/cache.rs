//! Machine code that is kept on disk.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use peercompute_compute::{
    Executor as _, Limits, ProgramStore, WasmConfig, WasmError, WasmExecutor,
};

use crate::support::{corpus, run, spec, with};

fn cached(folder: &Path) -> WasmExecutor {
    with(WasmConfig::new().with_cache(folder))
}

/// The files of machine code in `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there");
    entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "native"))
        .collect()
}

fn works(executor: &WasmExecutor) {
    let answer = run(executor, &corpus("echo"), b"abc".to_vec(), Limits::none());
    assert_eq!(answer, Ok(Bytes::from_static(b"abc")));
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("made/by/the/cache");
    (temporary, folder)
}

#[test]
fn what_was_compiled_is_on_disk_for_the_next_program() {
    let (_temporary, folder) = folder();
    works(&cached(&folder));
    let [file] = &files(&folder)[..] else {
        panic!("one file");
    };
    let written = fs::metadata(file).expect("it is there").modified().ok();
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(&folder), mode(file)), (0o700, 0o600));
    works(&cached(&folder));
    // It was neither written again nor joined by another.
    assert_eq!(files(&folder), std::slice::from_ref(file));
    assert_eq!(
        fs::metadata(file).expect("it is there").modified().ok(),
        written
    );
}

#[test]
fn a_file_that_was_tampered_with_is_not_run_but_made_anew() {
    let (_temporary, folder) = folder();
    works(&cached(&folder));
    let file = files(&folder).pop().expect("one file");
    let whole = fs::read(&file).expect("it is there");
    let mut cases = vec![
        Vec::new(),
        whole[..whole.len() - 1].to_vec(),
        vec![7; whole.len()],
    ];
    for at in [0, 31, 32, 33, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        cases.push(changed);
    }
    for case in cases {
        fs::write(&file, case).expect("it can be written");
        works(&cached(&folder));
        assert_eq!(fs::read(&file).expect("it is there"), whole);
    }
}

#[test]
fn machine_code_of_another_module_under_this_ones_name_is_not_run() {
    let (_temporary, folder) = folder();
    let executor = cached(&folder);
    works(&executor);
    let echo = files(&folder).pop().expect("one file");
    executor
        .prepare(&spec(&executor, &corpus("gives_up"), Limits::none()))
        .expect("it is prepared");
    let other = files(&folder)
        .into_iter()
        .find(|file| *file != echo)
        .expect("a second file");
    fs::copy(&other, &echo).expect("it can be written");
    works(&cached(&folder));
}

#[test]
fn machine_code_under_another_key_is_not_run() {
    let (_temporary, folder) = folder();
    works(&cached(&folder));
    fs::write(folder.join("key"), [9; 32]).expect("it can be written");
    works(&cached(&folder));
    assert_eq!(files(&folder).len(), 1);
}

#[test]
fn a_directory_that_others_can_get_into_is_refused() {
    let (_temporary, folder) = folder();
    works(&cached(&folder));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).expect("it is ours");
    let config = WasmConfig::new().with_cache(&folder);
    let error = WasmExecutor::new(ProgramStore::new(), config).expect_err("others can get in");
    assert!(
        matches!(&error, WasmError::Cache { reason, .. } if reason.contains("chmod 700")),
        "{error:?}"
    );
}

#[test]
fn a_link_to_a_directory_is_refused() {
    let (temporary, folder) = folder();
    works(&cached(&folder));
    let link = temporary.path().join("link");
    std::os::unix::fs::symlink(&folder, &link).expect("links are there");
    let config = WasmConfig::new().with_cache(&link);
    let error = WasmExecutor::new(ProgramStore::new(), config).expect_err("it is a link");
    assert!(matches!(error, WasmError::Cache { .. }), "{error:?}");
}

#[test]
fn parts_of_files_that_a_killed_program_left_are_removed() {
    let (_temporary, folder) = folder();
    let executor = cached(&folder);
    let part = |name: &str, age: u64| {
        let path = folder.join(name);
        let file = fs::File::create(&path).expect("it can be made");
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(then).expect("it is ours");
        path
    };
    let old = part("module.0123456789abcdef", 100_000);
    let new = part("module.fedcba9876543210", 10);
    works(&executor);
    assert!(!old.exists() && new.exists() && folder.join("key").exists());
}

#[test]
fn whoever_can_do_without_a_directory_does() {
    let (temporary, _) = folder();
    let folder = temporary.path().join("file");
    fs::write(&folder, "no directory").expect("it can be written");
    let config = WasmConfig::new().with_cache(&folder);
    assert!(WasmExecutor::new(ProgramStore::new(), config).is_err());
    let config = WasmConfig::new().with_cache_if_usable(&folder);
    works(&WasmExecutor::new(ProgramStore::new(), config).expect("it is not needed"));
}
