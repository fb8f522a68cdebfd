//! The example with a live room does what its first line says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use serde_json::Value;

/// Numbers that each is to see of the other.
const COUNTS: usize = 40;

/// Where cargo has put the example, which it builds with the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join("live_room")
}

/// A process that does not outlive the test.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    peer: String,
    address: String,
}

impl Program {
    /// Once it listens.
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(example())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut program = Self {
            child,
            lines,
            peer: String::new(),
            address: String::new(),
        };
        let listening = program.line("listening");
        program.peer = listening["peer_id"].as_str().unwrap().to_owned();
        program.address = listening["addresses"][0].as_str().unwrap().to_owned();
        program
    }

    /// The next line of this kind.
    fn line(&mut self, event: &str) -> Value {
        loop {
            let line = self.lines.next().unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["event"] == event {
                return line;
            }
        }
    }

    /// The next numbers that it sees of a peer.
    fn counts(&mut self, peer: &str) -> Vec<u64> {
        let count = |line: Value| {
            assert_eq!(line["from"], peer);
            line["payload"].as_str().unwrap().parse().unwrap()
        };
        let seen = (0..COUNTS).map(|_| count(self.line("snapshot")));
        seen.collect()
    }

    /// Ends its input, and waits until it has ended.
    fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_see_each_other_count_in_order_and_hear_what_the_other_says() {
    let mut one = Program::start(&["--room", "tested"]);
    let mut other = Program::start(&["--room", "tested", "--peer", &one.address]);
    let (first, second) = (one.peer.clone(), other.peer.clone());
    assert_eq!(one.line("joined")["peer_id"], *second);
    assert_eq!(other.line("joined")["peer_id"], *first);

    let (seen_by_one, seen_by_other) = thread::scope(|scope| {
        let one = scope.spawn(|| one.counts(&second));
        (other.counts(&first), one.join().unwrap())
    });
    for counts in [seen_by_one, seen_by_other] {
        assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    }

    let input = other.child.stdin.as_mut().unwrap();
    input.write_all(b"hello\n").unwrap();
    let heard = one.line("heard");
    assert_eq!(
        (&heard["from"], &heard["payload"]),
        (&second.as_str().into(), &"hello".into())
    );
    let settled = other.line("settled");
    assert_eq!(
        (&settled["peer_id"], &settled["acked"]),
        (&first.as_str().into(), &true.into())
    );

    other.end();
    assert_eq!(one.line("left")["peer_id"], *second);
    one.end();
}
