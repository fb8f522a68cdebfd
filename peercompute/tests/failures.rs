//! Commands that fail say why: to people on standard error, with `--json` to programs on standard output.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Finished, Running, command, file, finish, names, run, wait_until};

/// The reason that a failed command gives to programs, and that it is all that it gives.
#[track_caller]
fn error(finished: &Finished) -> String {
    assert_eq!(finished.text().lines().count(), 1, "{}", finished.text());
    assert!(
        finished.stderr.contains("error: "),
        "people are told too: {}",
        finished.stderr
    );
    finished.json()["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_command_that_fails_tells_programs_why() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    let socket = dir.path().join("none.sock");
    let socket = socket.to_str().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["run", "--json", "--op", "crc32c", "--no-local", &a],
            1,
            "--peer",
        ),
        (&["run", "--json", "--op", "sing", &a], 2, "crc32c"),
        (&["run", "--json", "--op", "crc32c"], 2, "<FILE>"),
        (
            &["run", "--json", "--op", "crc32c", "--peer", "foo", &a],
            2,
            "/ip4/",
        ),
        (
            &["status", "--json", "--control", socket],
            1,
            "peercompute node",
        ),
        (
            &["bench", "tasks", "--json", "--payload", "100MiB"],
            2,
            "8.0 MiB",
        ),
        (&["bench", "tasks", "--json", "--bulk", "0B"], 2, "0B"),
    ];
    for (args, code, reason) in cases {
        let finished = run(args).expect(*code);
        let error = error(&finished);
        assert!(error.contains(reason), "{args:?}: {error}");
    }
}

#[test]
fn without_json_nothing_is_on_standard_output() {
    let finished = run(&["run", "--op", "crc32c", "--", "--json"]).expect(2);
    assert_eq!(finished.text(), "");
    assert_eq!(run(&["run", "--op", "crc32c"]).expect(2).text(), "");
}

#[test]
fn a_file_that_is_at_fault_is_told_once() {
    let finished = run(&["run", "--json", "--op", "crc32c", "/no/such/file"]).expect(2);
    assert_eq!(error(&finished), finished.json()["error"]);
    assert_eq!(finished.json()["file"], "/no/such/file");
    assert_eq!(finished.json()["field"], "file");
    assert!(
        finished.stderr.contains("/no/such/file: cannot be opened"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_run_without_a_node_says_why_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    let mut dead = Running::node(&[]);
    let gone = dead.address().to_owned();
    dead.kill();
    let (relay, other) = (Running::relay(), Running::node(&["--room", "other"]));
    let impostor = format!(
        "{}/p2p/{}",
        other.address().split("/p2p/").next().unwrap(),
        dead.peer
    );
    // Nobody answers at the first two, and the search ends with the patience; at the others it ends by itself.
    let cases: [(&[&str], &str, &str); 5] = [
        (
            &["--patience", "500ms", "--peer", &gone],
            &gone,
            "check that the peer runs",
        ),
        (
            &["--patience", "500ms", "--relay", &gone],
            &gone,
            "check that the peer runs",
        ),
        (&["--peer", &impostor], &other.peer, "present address"),
        (
            &["--peer", other.address()],
            other.address(),
            "check --room and --game",
        ),
        (
            &["--relay", relay.address()],
            "room `default` of game `default`",
            "a node runs there",
        ),
    ];
    for (meet, what, remedy) in cases {
        let args = ["run", "--json", "--no-local", "--op", "crc32c", &a];
        let finished = run(&[&args[..], meet].concat()).expect(1);
        for text in [error(&finished), finished.stderr.clone()] {
            assert!(text.contains(what), "{meet:?}: {text}");
            assert!(text.contains(remedy), "{meet:?}: {text}");
        }
        // And where it works without them.
        let args = ["run", "--op", "crc32c", &a];
        let finished = run(&[&args[..], meet].concat()).expect(0);
        assert!(finished.stderr.contains(what), "{}", finished.stderr);
    }
}

#[test]
fn addresses_that_name_no_place_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    for address in [
        "",
        "/memory/1234",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/tcp/99999",
    ] {
        for flag in ["--peer", "--relay"] {
            let finished = run(&["run", "--op", "crc32c", flag, address, &a]).expect(2);
            assert!(
                finished.stderr.contains("for example /ip4/"),
                "{}",
                finished.stderr
            );
        }
    }
}

#[test]
fn numbers_below_zero_are_numbers_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    let cases: &[&[&str]] = &[
        &["run", "--op", "xor", "--imm", "-1", &a],
        &["node", "--throttle", "-1"],
        &["throttle", "-1"],
        &["bench", "tasks", "--workers", "-1"],
        &["bench", "tasks", "--tasks", "-1"],
        &["bench", "tasks", "--round-trips", "-1"],
        &["bench", "events", "--events", "-1"],
        &["bench", "events", "--interval", "-1"],
    ];
    for args in cases {
        let finished = run(args).expect(2);
        assert!(
            finished.stderr.contains("-1 is not in"),
            "{args:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn a_benchmark_that_is_interrupted_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let child = command(&["bench", "tasks", "--tasks", "1000000000"])
        .env("TMPDIR", dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("its directory is there", || !names(dir.path()).is_empty());
    common::interrupt(&child);
    finish(child).expect(0);
    assert_eq!(names(dir.path()), [""; 0]);
}
