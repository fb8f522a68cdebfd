//! `peercompute node` and the commands that control it, as real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
};

use common::{Running, file, finish, interrupt, named_pipe, run, spawn};

#[test]
fn a_node_ends_cleanly_when_it_is_interrupted() {
    let node = Running::node(&[]);
    let control = node.control().to_owned();
    assert_eq!(node.interrupt(), 0);
    assert!(
        !std::path::Path::new(&control).exists(),
        "the socket is left"
    );
}

#[test]
fn events_of_a_live_room_go_from_process_to_process() {
    for transport in ["quic", "tcp"] {
        let args = [
            "--json",
            "--events",
            "300",
            "--interval",
            "200",
            "--transport",
            transport,
        ];
        let report = run(&[&["bench", "events"][..], &args].concat())
            .expect(0)
            .json();
        assert_eq!(report["received"], 300, "{report}");
        assert_eq!(report["transport"], transport);
        let [p50, max] = ["p50", "max"].map(|it| report["one_way_us"][it].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= max, "{report}");
    }
}

#[test]
fn a_node_that_waits_says_when_nobody_came() {
    let finished = run(&[
        "node",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--wait",
        "200ms",
    ])
    .expect(1);
    assert!(
        finished.stderr.contains("no peer came within 200ms"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_taken_port_is_named_with_what_changes_it() {
    let node = Running::node(&[]);
    let taken = node.address().split("/p2p/").next().unwrap().to_owned();
    let finished = run(&["node", "--listen", &taken]).expect(1);
    assert!(finished.stderr.contains(&taken), "{}", finished.stderr);
    assert!(finished.stderr.contains("--listen"), "{}", finished.stderr);
}

#[test]
fn a_running_node_is_controlled_over_its_socket() {
    let node = Running::node(&[]);
    let socket = ["--control", node.control(), "--json"];
    let ask = |command: &[&str]| run(&[command, &socket[..]].concat()).expect(0).json();
    let status = ask(&["status"]);
    assert_eq!(status["peer_id"], node.peer);
    assert_eq!(status["paused"], false);
    assert_eq!(status["throttle"], 100);
    assert_eq!(ask(&["pause"])["paused"], true);
    assert_eq!(ask(&["resume"])["paused"], false);
    assert_eq!(ask(&["throttle", "40%"])["throttle"], 40);
    assert_eq!(ask(&["status"])["throttle"], 40);
}

#[test]
fn the_socket_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Running::node(&[]);
    let mode = std::fs::metadata(node.control())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn people_are_told_what_a_command_has_changed() {
    let node = Running::node(&[]);
    let say = |command: &[&str]| {
        let told = run(&[command, &["--control", node.control()]].concat()).expect(0);
        assert_eq!(told.text().lines().count(), 1, "{}", told.text());
        told.text().trim_end().to_owned()
    };
    assert!(say(&["pause"]).starts_with("paused; 0 tasks"));
    let resumed = say(&["resume"]);
    assert!(
        resumed.starts_with("lends 100 %: ") && resumed.contains("worker"),
        "{resumed}"
    );
    assert_eq!(say(&["throttle", "0"]), "lends 0 %: no worker");
    let status = run(&["status", "--control", node.control()]).expect(0);
    let status = status.text();
    assert!(status.contains("lends     0 %: no worker\n"), "{status}");
}

#[test]
fn without_a_node_the_control_commands_say_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let finished = run(&["status", "--control", socket.to_str().unwrap()]).expect(1);
    assert!(finished.stderr.contains("none.sock"), "{}", finished.stderr);
}

#[test]
fn a_node_tells_who_comes_and_who_leaves() {
    let mut one = Running::node(&[]);
    let two = Running::start(&[
        "node",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--peer",
        one.address(),
    ]);
    assert_eq!(one.wait_for("peer_joined")["peer_id"], two.peer);
    assert_eq!(two.interrupt(), 0);
    one.wait_for("peer_left");
    assert_eq!(one.interrupt(), 0);
}

#[test]
fn a_node_says_how_its_peers_are_heard() {
    let mut one = Running::node(&["--health", "1s"]);
    let two = Running::node(&["--peer", one.address()]);
    let health = loop {
        let health = one.wait_for("health");
        if health["peers"][0]["link"].is_object() {
            break health;
        }
    };
    let peer = &health["peers"][0];
    assert_eq!(peer["peer_id"], two.peer);
    assert!(peer["link"]["rtt_us"].as_u64().unwrap() > 0, "{peer}");
    assert_eq!(peer["link"]["loss"], 0.0);
    for of in [peer, &health] {
        for key in ["received_bytes", "sent_bytes"] {
            assert!(of[key].as_u64().unwrap() > 0, "{key}: {of}");
        }
        for key in ["last_received_s", "last_sent_s"] {
            assert!(of[key].as_f64().unwrap() < 60.0, "{key}: {of}");
        }
    }
    let control = ["status", "--control", one.control()];
    let status = run(&[&control[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(status["health"]["peers"][0]["peer_id"], two.peer);
    let text = run(&control).expect(0);
    let text = text.text();
    assert_eq!(text.matches("round trip ").count(), 2, "{text}");
    assert!(text.contains("health    1 peer, heard "), "{text}");
}

#[test]
fn people_are_told_how_peers_are_heard() {
    let args = ["node", "--listen", "/ip4/127.0.0.1/tcp/0", "--health", "1s"];
    let mut node = spawn(&args);
    let mut lines = BufReader::new(node.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("0 peers, nothing heard yet")));
    interrupt(&node);
    assert!(lines.all(|line| line.is_ok()));
    finish(node).expect(0);
    let refused = run(&["node", "--health", "10ms"]).expect(2);
    assert!(refused.stderr.contains("1s to 24h"), "{}", refused.stderr);
}

#[test]
fn a_node_keeps_its_identity_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let args = ["--identity", path.to_str().unwrap()];
    let (first, second) = (
        Running::node(&args).peer.clone(),
        Running::node(&args).peer.clone(),
    );
    assert_eq!(first, second);
    std::fs::write(&path, b"no key").unwrap();
    let refused = run(&["node", "--identity", path.to_str().unwrap()]).expect(2);
    assert!(refused.stderr.contains("key"), "{}", refused.stderr);
}

#[test]
fn a_node_waits_for_longer_than_the_clock_goes() {
    let node = Running::node(&["--wait", "500000000000y"]);
    assert_eq!(node.interrupt(), 0);
}

#[test]
fn a_node_that_was_told_so_ends_with_its_standard_input() {
    let mut node = Running::node(&["--stop-with-input"]);
    let control = node.control().to_owned();
    node.end_input();
    node.wait_for("stopped");
    assert_eq!(node.wait(), 0);
    assert!(
        !std::path::Path::new(&control).exists(),
        "the socket is left"
    );
}

#[test]
fn a_node_lists_nobody_who_has_left_and_whose_relay_has_gone() {
    let mut relay = Running::relay();
    let args = ["--relay", relay.address()];
    let mut one = Running::node(&args);
    let mut two = Running::node(&args);
    assert_eq!(one.wait_for("peer_joined")["peer_id"], two.peer);
    relay.kill();
    one.wait_for("relay_lost");
    two.kill();
    one.wait_for("peer_left");
    let status = run(&["status", "--json", "--control", one.control()])
        .expect(0)
        .json();
    assert_eq!(status["peers"], serde_json::json!([]));
    assert!(status["unreached"].is_null(), "{status}");
}

#[test]
fn a_node_listens_in_no_other_peers_name() {
    let other = Running::node(&[]);
    let listen = format!("/ip4/127.0.0.1/tcp/0/p2p/{}", other.peer);
    let refused = run(&["node", "--listen", &listen]).expect(2);
    assert!(refused.stderr.contains(&other.peer), "{}", refused.stderr);
}

#[test]
fn an_identity_is_read_from_a_regular_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let empty = file(dir.path(), "empty", 0);
    let pipe = named_pipe(dir.path(), "pipe");
    for (path, reason) in [
        (empty.as_str(), "it is empty"),
        (pipe.as_str(), "is no file"),
        (dir.path().to_str().unwrap(), "is no file"),
    ] {
        let refused = run(&["node", "--json", "--identity", path]).expect(2);
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        assert_eq!(refused.json()["file"], path);
        assert_eq!(refused.json()["field"], "identity");
    }
    // The relay ends alike.
    for path in [empty.as_str(), dir.path().to_str().unwrap()] {
        let refused = run(&["relay", "--json", "--identity", path]).expect(2);
        assert!(!refused.stderr.contains("rsa"), "{}", refused.stderr);
        assert_eq!(refused.json()["file"], path);
    }
}

#[test]
fn a_control_path_that_cannot_be_used_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let plain = file(dir.path(), "plain", 1);
    let long = dir.path().join("l".repeat(200));
    let long = long.to_str().unwrap();
    for command in ["node", "status"] {
        for (path, remedy) in [
            (plain.as_str(), "choose another path"),
            (long, "choose a shorter one"),
        ] {
            let refused = run(&[command, "--control", path]).expect(2);
            assert!(refused.stderr.contains(remedy), "{}", refused.stderr);
        }
    }
    assert_eq!(std::fs::read(&plain).unwrap().len(), 1);

    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let stale = stale.to_str().unwrap();
    let refused = run(&["status", "--control", stale]).expect(1);
    assert!(refused.stderr.contains("has gone"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("peercompute node"),
        "{}",
        refused.stderr
    );
}

#[test]
fn what_is_no_request_is_answered_with_the_reason() {
    let node = Running::node(&[]);
    for request in [&b"\xff\xfe\n"[..], b"{}\n", b"\n"] {
        let mut socket = UnixStream::connect(node.control()).unwrap();
        socket.write_all(request).unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(
            answer["error"].as_str().unwrap().contains("no request"),
            "{answer}"
        );
    }
}

#[test]
fn a_question_to_a_node_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silent.sock");
    let silent = UnixListener::bind(&path).unwrap();
    let asked = spawn(&["status", "--control", path.to_str().unwrap()]);
    let _connection = silent.accept().unwrap();
    interrupt(&asked);
    finish(asked).expect(0);
}
