//! Private rooms, between real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::process::Command;

use common::{Finished, Running, command, file, finish, named_pipe, run};

/// The program with these arguments, and the password in its environment.
fn with_variable(password: &str, args: &[&str]) -> Command {
    let mut command = command(args);
    command.env("PEERCOMPUTE_PASSWORD", password);
    command
}

fn end(mut command: Command) -> Finished {
    let piped = std::process::Stdio::piped;
    finish(command.stdout(piped()).stderr(piped()).spawn().unwrap())
}

fn password_file(directory: &std::path::Path, password: &str) -> String {
    let path = directory.join("password");
    std::fs::write(&path, format!("{password}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn nodes_with_the_same_password_meet_whether_it_is_in_a_file_or_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let password = password_file(dir.path(), "open sesame");
    let data = file(dir.path(), "data", 100_000);
    let mut node = Running::node(&["--password-file", &password]);
    let address = node.address().to_owned();
    let listen = ["node", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let other = [&listen[..], &["--peer", &address]].concat();
    let other = Running::started(with_variable("open sesame", &other));
    assert_eq!(node.wait_for("peer_joined")["peer_id"], other.peer);

    let args = ["run", "--json", "--no-local", "--op", "crc32c", &data];
    let args = [&args[..], &["--peer", &address]].concat();
    for ran in [
        run(&[&args[..], &["--password-file", &password]].concat()),
        end(with_variable("open sesame", &args)),
    ] {
        let report = ran.expect(0).json();
        assert_eq!(report["verified"], true, "{report}");
        assert_eq!(report["local_fallback"], false, "{report}");
    }
}

#[test]
fn whoever_has_another_password_or_none_meets_nobody_and_is_told_that_it_may_be_that() {
    let dir = tempfile::tempdir().unwrap();
    let data = file(dir.path(), "data", 10);
    let relay = Running::relay();
    let args = [
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--relay",
        relay.address(),
    ];
    let args = [&["node"], &args[..]].concat();
    let node = Running::started(with_variable("open sesame", &args));
    let listed = Running::started(with_variable("open sesame", &args));

    for way in [["--relay", relay.address()], ["--peer", node.address()]] {
        let args = ["run", "--json", "--no-local", "--patience", "2s"];
        let args = [&args[..], &way, &["--op", "crc32c", &data]].concat();
        let wrong = end(with_variable("open sesam", &args)).expect(1);
        let error = wrong.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("a wrong password looks the same"), "{error}");
        assert!(error.contains("--password-file"), "{error}");
        let none = run(&args).expect(1);
        let error = none.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("check --room and --game"), "{error}");

        let args = ["node", "--listen", "/ip4/127.0.0.1/tcp/0", "--wait", "1s"];
        let args = [&args[..], &way].concat();
        let wrong = end(with_variable("open sesam", &args)).expect(1);
        assert!(
            wrong
                .stderr
                .contains("no peer came within 1s; a wrong password looks the same"),
            "{}",
            wrong.stderr
        );
        assert!(!wrong.stderr.contains("has come"), "{}", wrong.stderr);
        let none = run(&args).expect(1);
        assert!(!none.stderr.contains("password"), "{}", none.stderr);
    }

    let status = run(&["status", "--json", "--control", node.control()]);
    let status = status.expect(0).json();
    assert_eq!(status["peers"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status["peers"][0]["peer_id"], listed.peer);
}

#[test]
fn what_holds_no_password_is_refused_with_the_file_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let data = file(dir.path(), "data", 10);
    let missing = dir.path().join("missing");
    let cases = [
        (put("empty", b""), "is empty; write the password there"),
        (
            put("line", b"\nlate\n"),
            "is empty; write the password there",
        ),
        (put("long", &[b'a'; 257]), "choose a shorter one"),
        (put("bytes", b"\xff\xfe\n"), "is not UTF-8; write"),
        (missing.to_str().unwrap().to_owned(), "check that it exists"),
        (named_pipe(dir.path(), "pipe"), "is no file; name one"),
        (
            dir.path().to_str().unwrap().to_owned(),
            "is no file; name one",
        ),
    ];
    for (path, remedy) in &cases {
        let commands: [&[&str]; 3] = [
            &["node", "--json"],
            &["run", "--json", "--op", "crc32c", &data],
            &["run", "--json", "--lan", "--op", "crc32c", &data],
        ];
        for command in commands {
            let refused = run(&[command, &["--password-file", path]].concat()).expect(2);
            assert!(refused.stderr.contains(path.as_str()), "{}", refused.stderr);
            let told = refused.json();
            assert!(told["error"].as_str().unwrap().contains(remedy), "{told}");
            assert_eq!(told["file"], path.as_str());
            assert_eq!(told["field"], "password-file");
        }
    }
}

#[test]
fn a_password_in_the_environment_that_cannot_be_used_is_refused_and_not_passed_over() {
    let long = "a".repeat(257);
    let cases: [(&str, &[&str], &str); 3] = [
        ("", &[], "is empty"),
        (&long, &[], "shorter"),
        ("open sesame", &["--room", "attic"], "leave --room out"),
    ];
    for (password, more, remedy) in cases {
        let args = [&["node", "--listen", "/ip4/127.0.0.1/tcp/0"][..], more].concat();
        let refused = end(with_variable(password, &args)).expect(2);
        assert!(refused.stderr.contains(remedy), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("unset PEERCOMPUTE_PASSWORD"),
            "{}",
            refused.stderr
        );
    }
    let both = ["node", "--password-file", "file", "--room", "attic"];
    let refused = run(&both).expect(2);
    assert!(refused.stderr.contains("--room"), "{}", refused.stderr);
}
