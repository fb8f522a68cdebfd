//! `peercompute run` between real processes over loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::Stdio,
};

use common::{Running, command, crc, file, finish, run, spawn};
use serde_json::Value;

#[test]
fn without_a_peer_files_are_worked_on_here() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (file(dir.path(), "a", 3_000_000), file(dir.path(), "b", 10));
    let report = run(&["run", "--op", "crc32c", "--json", &a, &b])
        .expect(0)
        .json();
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert_eq!(report["results"][1]["value"], crc(&b));
    assert_eq!(report["verified"], true);
    assert_eq!(report["local_fallback"], true);
    assert_eq!(report["tasks"], 4);
    assert_eq!(report["bytes"], 3_000_010);
    assert_eq!(report["by_node"]["local"]["path"], "local");
}

#[test]
fn a_peer_does_the_work_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 5_000_000);
    let node = Running::node(&[]);
    let report = run(&[
        "run",
        "--op",
        "crc32c",
        "--json",
        "--peer",
        node.address(),
        &a,
    ]);
    let report = report.expect(0).json();
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert_eq!(report["verified"], true);
    assert_eq!(report["local_fallback"], false);
    assert_eq!(report["by_node"][&node.peer]["path"], "direct");
    assert_eq!(report["by_node"][&node.peer]["tasks"], 5);
    assert_eq!(report["by_node"][&node.peer]["bytes"], 5_000_000);
    assert_eq!(node.interrupt(), 0);
}

#[test]
fn quic_and_websocket_carry_the_work_too() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 3_000_000);
    for listen in ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
        let node = Running::start(&["node", "--listen", listen]);
        let report = run(&[
            "run",
            "--op",
            "crc32c",
            "--json",
            "--peer",
            node.address(),
            &a,
        ]);
        let report = report.expect(0).json();
        assert_eq!(report["results"][0]["value"], crc(&a));
        assert_eq!(report["by_node"][&node.peer]["tasks"], 3);
    }
}

#[test]
fn nodes_behind_a_relay_do_the_work_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 8_000_000);
    let relay = Running::relay();
    let (one, two) = (Running::behind(&relay), Running::behind(&relay));
    let report = run(&[
        "run",
        "--op",
        "crc32c",
        "--chunk",
        "100KiB",
        "--json",
        "--relay",
        relay.address(),
        &a,
    ]);
    let report = report.expect(0).json();
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert_eq!(report["local_fallback"], false);
    for node in [&one, &two] {
        assert_eq!(report["by_node"][&node.peer]["path"], "relayed", "{report}");
    }
    assert_eq!(one.interrupt(), 0);
    assert_eq!(two.interrupt(), 0);
    assert_eq!(relay.interrupt(), 0);
}

#[test]
fn a_worker_that_is_killed_midway_costs_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 100_000_000);
    let mut nodes = [Running::node(&[]), Running::node(&[])];
    let mut run = command(&[
        "run",
        "--op",
        "crc32c",
        "--op",
        "fnv64",
        "--chunk",
        "64KiB",
        "--json",
        "--events",
        "--peer",
        nodes[0].address(),
        "--peer",
        nodes[1].address(),
        &a,
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    for line in lines.by_ref() {
        let Ok(event) = serde_json::from_str::<Value>(&line.unwrap()) else {
            continue;
        };
        if event["by_node"][&nodes[0].peer]["tasks"].as_u64() > Some(0) {
            assert!(event["done"].as_u64() < event["total"].as_u64());
            break;
        }
    }
    nodes[0].kill();
    for line in lines {
        line.unwrap();
    }
    let mut output = String::new();
    run.stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(run.wait().unwrap().success());
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["verified"], true);
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert!(report["by_node"][&nodes[0].peer]["tasks"].as_u64() > Some(0));
    assert!(report["by_node"][&nodes[1].peer]["tasks"].as_u64() > Some(0));
}

#[test]
fn a_job_that_loses_its_last_worker_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 100_000_000);
    for operation in ["crc32c", "fnv64"] {
        // Slow enough to be killed midway, while more waits to be handed over than a job holds at a time.
        let mut node = Running::node(&["--throttle", "1"]);
        let args = ["run", "--op", operation, "--chunk", "64KiB", "--json"];
        let more = [
            "--events",
            "--no-local",
            "--patience",
            "1s",
            "--peer",
            node.address(),
            &a,
        ];
        let mut run = spawn(&[&args[..], &more].concat());
        let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
        for line in lines.by_ref() {
            let Ok(event) = serde_json::from_str::<Value>(&line.unwrap()) else {
                continue;
            };
            if event["by_node"][&node.peer]["tasks"].as_u64() > Some(0) {
                break;
            }
        }
        node.kill();
        for line in lines {
            line.unwrap();
        }
        let finished = finish(run).expect(1);
        let error = finished.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("no node is there"), "{operation}: {error}");
    }
}

#[test]
fn when_nobody_answers_the_work_is_done_here_unless_that_was_ruled_out() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 1_000_000);
    let mut node = Running::node(&[]);
    let gone = node.address().to_owned();
    node.kill();
    let args = [
        "run",
        "--op",
        "crc32c",
        "--patience",
        "500ms",
        "--peer",
        &gone,
    ];
    let report = run(&[&args[..], &["--json", &a]].concat()).expect(0).json();
    assert_eq!(report["local_fallback"], true);
    assert_eq!(report["verified"], true);
    let refused = run(&[&args[..], &["--no-local", &a]].concat()).expect(1);
    assert!(
        refused.stderr.contains("no node is there"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_relay_that_is_gone_ends_in_the_local_fallback() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 1_000_000);
    let mut relay = Running::relay();
    let gone = relay.address().to_owned();
    relay.kill();
    let args = ["run", "--op", "crc32c", "--json", "--patience", "500ms"];
    let report = run(&[&args[..], &["--relay", &gone, &a]].concat())
        .expect(0)
        .json();
    assert_eq!(report["local_fallback"], true);
}

#[test]
fn a_node_of_another_room_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 100_000);
    let node = Running::node(&["--room", "other"]);
    let report = run(&[
        "run",
        "--op",
        "crc32c",
        "--json",
        "--peer",
        node.address(),
        &a,
    ]);
    assert_eq!(report.expect(0).json()["local_fallback"], true);
}

#[test]
fn bytes_go_to_files_or_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 2_500_000);
    let empty = file(dir.path(), "empty", 0);
    let flipped: Vec<u8> = std::fs::read(&a)
        .unwrap()
        .iter()
        .map(|byte| byte ^ 255)
        .collect();

    let piped = run(&["run", "--op", "xor", "--imm", "255", &a]).expect(0);
    assert!(piped.stdout == flipped, "the piped output differs");

    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let out_name = out.to_str().unwrap();
    let node = Running::node(&[]);
    let report = run(&[
        "run",
        "--op",
        "xor",
        "--imm",
        "255",
        "--json",
        "--out",
        out_name,
        "--peer",
        node.address(),
        &a,
        &empty,
    ]);
    assert_eq!(report.expect(0).json()["verified"], true);
    assert!(
        std::fs::read(out.join("a")).unwrap() == flipped,
        "the written output differs"
    );
    assert_eq!(std::fs::read(out.join("empty")).unwrap(), b"");
}

#[test]
fn an_empty_file_has_the_results_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let empty = file(dir.path(), "empty", 0);
    let report = run(&[
        "run", "--op", "crc32c", "--op", "fnv64", "--op", "counteq", "--imm", "0", "--json", &empty,
    ]);
    let report = report.expect(0).json();
    let values: Vec<_> = (0..3)
        .map(|n| report["results"][n]["value"].as_str().unwrap())
        .collect();
    assert_eq!(values, ["00000000", "cbf29ce484222325", "0"]);
    assert_eq!(report["verified"], true);
}

#[test]
fn arguments_that_are_unusable_end_with_two_and_name_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    let missing = dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--op", "sing", &a], "crc32c"),
        (&["run", "--op", "xor", &a], "--imm N"),
        (&["run", "--op", "xor", "--imm", "256", &a], "255"),
        (&["run", "--op", "crc32c", "--imm", "1", &a], "--imm"),
        (&["run", "--op", "crc32c", missing], "missing"),
        (
            &["run", "--op", "crc32c", dir.path().to_str().unwrap()],
            "directory",
        ),
        (
            &["run", "--op", "crc32c", "--peer", "somewhere", &a],
            "somewhere",
        ),
        (&["run", "--op", "crc32c", "--chunk", "64", &a], "unit"),
        (&["run", "--op", "crc32c", "--chunk", "1GiB", &a], "--chunk"),
        (&["run", "--op", "xor", "--imm", "1", "--json", &a], "--out"),
        (
            &["run", "--op", "xor", "--imm", "1", "--out", missing, &a],
            "make it first",
        ),
        (
            &["run", "--op", "crc32c", "--room", &"r".repeat(65), &a],
            "64",
        ),
        (&["run", "--op", "crc32c"], "FILE"),
        (&["node", "--listen", "nowhere"], "multiaddress"),
        (&["node", "--listen", "none"], "--relay"),
        (&["node", "--throttle", "101"], "101"),
        (&["--log", "loud,=", "status"], "--log"),
        (&["dance"], "dance"),
    ];
    for (args, remedy) in cases {
        let finished = run(args);
        assert_eq!(finished.code(), 2, "{args:?}: {}", finished.stderr);
        assert!(
            finished.stderr.contains(remedy),
            "{args:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn a_file_that_cannot_be_used_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 10);
    let finished = run(&["run", "--op", "crc32c", "--json", "/no/such/file", &a]).expect(2);
    let lines: Vec<Value> = finished
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["file"], "/no/such/file");
    assert!(
        lines[0]["error"]
            .as_str()
            .unwrap()
            .contains("cannot be opened")
    );
    assert_eq!(lines[1]["results"][0]["value"], crc(&a));
}

#[test]
fn garbage_on_its_port_does_a_node_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 1_000_000);
    let node = Running::node(&[]);
    let port: u16 = node.address().split('/').nth(4).unwrap().parse().unwrap();
    for garbage in [
        &[0_u8; 4096][..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff",
    ] {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        // It may hang up at any time.
        let _ = socket.write_all(garbage);
    }
    let report = run(&[
        "run",
        "--op",
        "crc32c",
        "--json",
        "--peer",
        node.address(),
        &a,
    ]);
    assert_eq!(report.expect(0).json()["local_fallback"], false);
}
