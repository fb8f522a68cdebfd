//! The example with two nodes does what its first line says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Where cargo has put the example, which it builds with the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join("two_nodes")
}

/// A process that does not outlive the test.
struct Responder(Child);

impl Drop for Responder {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn unusable_arguments_end_with_2_and_with_how_they_should_be() {
    for arguments in [&[][..], &["dancer"], &["initiator"], &["responder", "home"]] {
        let output = Command::new(example()).args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains("usage: two_nodes"), "{arguments:?}: {error}");
    }
}

#[test]
fn the_initiator_delegates_to_the_responder_and_falls_back_when_it_is_gone() {
    let child = Command::new(example())
        .arg("responder")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut responder = Responder(child);
    let stdout = responder.0.stdout.take().unwrap();
    // Held to the end: the responder goes on to print.
    let mut lines = BufReader::new(stdout).lines();
    let address = lines.next().unwrap().unwrap();

    let initiate = || {
        let output = Command::new(example())
            .args(["initiator", &address])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let peer = address.rsplit('/').next().unwrap();
    let delegated = initiate();
    assert_eq!(
        delegated
            .lines()
            .filter(|line| line.ends_with(peer))
            .count(),
        3,
        "{delegated}"
    );

    drop(responder);
    assert!(initiate().contains("nobody answered"));
    drop(lines);
}
