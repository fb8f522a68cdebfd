//! `peercompute node` and the commands that control it, as real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Running, run};

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
    assert_eq!(ask(&["throttle", "40"])["throttle"], 40);
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
