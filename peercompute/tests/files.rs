//! What `peercompute run` reads and writes: nothing is lost, and nothing is waited for that does not come.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use common::{command, crc, file, finish, interrupt, named_pipe, names, run, spawn};

const XOR: [&str; 5] = ["run", "--op", "xor", "--imm", "1"];

/// A file, and a directory with an earlier output of it.
fn with_previous(dir: &Path) -> (String, PathBuf) {
    let a = file(dir, "a", 100_000);
    let out = dir.join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("a"), "previous").unwrap();
    (a, out)
}

#[track_caller]
fn assert_previous(out: &Path) {
    assert_eq!(names(out), ["a"]);
    assert_eq!(fs::read(out.join("a")).unwrap(), b"previous");
}

fn xor_into(out: &Path, more: &[&str]) -> Vec<String> {
    let out = ["--out", out.to_str().unwrap()];
    let args = XOR.iter().chain(&out).chain(more);
    args.map(|arg| (*arg).to_owned()).collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn an_input_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (a, out) = with_previous(dir.path());
    let before = crc(&a);
    fs::remove_file(out.join("a")).unwrap();
    fs::hard_link(&a, out.join("a")).unwrap();
    let refused = run(&strs(&xor_into(&out, &["--json", &a]))).expect(2);
    assert_eq!(crc(&a), before);
    assert_eq!(refused.json()["file"], a);
    assert_eq!(refused.json()["field"], "out");
    assert!(
        refused.stderr.contains("another --out"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_earlier_output_stays_when_the_run_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (a, out) = with_previous(dir.path());
    run(&strs(&xor_into(&out, &["--no-local", &a]))).expect(1);
    assert_previous(&out);
}

#[test]
fn an_earlier_output_stays_when_the_run_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let (a, out) = with_previous(dir.path());
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let peer = format!("/ip4/127.0.0.1/tcp/{port}");
    let args = xor_into(&out, &["--patience", "1h", "--peer", &peer, &a]);
    let running = spawn(&strs(&args));
    let _connection = silent.accept().unwrap();
    interrupt(&running);
    let finished = finish(running).expect(1);
    assert!(
        finished.stderr.contains("interrupted"),
        "{}",
        finished.stderr
    );
    assert_previous(&out);
}

#[test]
fn an_earlier_output_is_replaced_when_the_run_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let (a, out) = with_previous(dir.path());
    run(&strs(&xor_into(&out, &[&a]))).expect(0);
    assert_eq!(names(&out), ["a"]);
    assert_eq!(fs::metadata(out.join("a")).unwrap().len(), 100_000);
}

#[test]
fn pipes_are_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (a, out) = with_previous(dir.path());
    let pipe = named_pipe(dir.path(), "pipe");
    let refused = run(&["run", "--op", "crc32c", "--json", &pipe]).expect(2);
    assert_eq!(refused.json()["file"], pipe);
    assert!(
        refused.stderr.contains("copy it to a file"),
        "{}",
        refused.stderr
    );

    let mut piped = command(&["run", "--op", "crc32c", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it read any of it.
    let _ = piped.stdin.take().unwrap().write_all(b"piped");
    finish(piped).expect(2);

    fs::remove_file(out.join("a")).unwrap();
    named_pipe(&out, "a");
    run(&strs(&xor_into(&out, &[&a]))).expect(2);
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_cannot_be_written_fail_the_run() {
    let dir = tempfile::tempdir().unwrap();
    // Without a line feed the last of it stays in a buffer until the end.
    let a = dir.path().join("a");
    fs::write(&a, vec![b'a'; 100]).unwrap();
    let a = a.to_str().unwrap();
    for args in [
        &[&XOR[..], &[a]].concat()[..],
        &["run", "--op", "crc32c", a],
        &["run", "--op", "crc32c", "--json", a],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command(args)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let finished = finish(child).expect(1);
        assert!(
            finished
                .stderr
                .contains("standard output: cannot be written"),
            "{args:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn names_reach_a_terminal_without_commands_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a\x1b[2J\nb", 10);
    let text = run(&["run", "--op", "crc32c", &a]).expect(0);
    assert!(text.text().contains("a\\u{1b}[2J\\nb"), "{}", text.text());
    assert_eq!(text.text().lines().count(), 1);
    let json = run(&["run", "--op", "crc32c", "--json", &a]).expect(0);
    assert_eq!(json.json()["results"][0]["file"], a);
}

#[test]
fn a_directory_for_output_that_there_is_none_of_is_mentioned() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    let finished = run(&["run", "--op", "crc32c", "--out", "nowhere", &a]).expect(0);
    assert!(
        finished.stderr.contains("--out nowhere is not used"),
        "{}",
        finished.stderr
    );
}
