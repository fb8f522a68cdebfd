//! The arena does what its help says, between real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::Mutex,
};

use serde_json::Value;

/// One at a time: each has several processes that all want to be in time.
static STAGE: Mutex<()> = Mutex::new(());

/// Where cargo has put the example.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let example = profile.join("examples").join("arena");
    let remedy = "build it first: cargo build -p peercompute-examples --example arena";
    assert!(example.exists(), "{remedy}");
    example
}

/// A session, which does not outlive its test; nor do its players, who end with it.
struct Session {
    child: Child,
    lines: BufReader<ChildStdout>,
    told: Vec<Value>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Session {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(example())
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            told: Vec::new(),
        }
    }

    /// The next line of this kind; panics where there is none.
    fn next(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            let bytes = self.lines.read_line(&mut line).unwrap();
            assert!(bytes > 0, "no {event}: {:?}", self.finish());
            let line: Value = serde_json::from_str(&line).unwrap();
            self.told.push(line.clone());
            if line["event"] == event {
                return line;
            }
        }
    }

    /// The exit status, and what is on standard error.
    fn finish(&mut self) -> (Option<i32>, String) {
        let mut error = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut error).unwrap();
        (self.child.wait().unwrap().code(), error)
    }

    /// Until the end.
    fn report(mut self) -> (Value, Option<i32>, String) {
        let report = self.next("report");
        let (code, error) = self.finish();
        (report, code, error)
    }
}

/// Plays to a good end.
fn play(arguments: &[&str]) -> Value {
    let _stage = STAGE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let (report, code, error) = Session::start(arguments).report();
    assert_eq!(code, Some(0), "{error}\n{report}");
    report
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(example()).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn reports(report: &Value) -> &Vec<Value> {
    report["reports"].as_array().unwrap()
}

/// All have the same state after a tick that they came to long after the beginning.
fn assert_alike(report: &Value, players: usize) {
    assert_eq!(reports(report).len(), players, "{report}");
    assert_eq!(report["difference"], Value::Null);
    assert!(report["state"]["tick"].as_u64().unwrap() > 60, "{report}");
    for player in reports(report) {
        assert_eq!(player["corrections"]["desyncs"], 0, "{player}");
        assert!(player["ticks"].as_u64().unwrap() > 30, "{player}");
        // Heartbeats and the like come on top of the room itself.
        let all = player["up_kb_per_s"].as_f64().unwrap() * player["seconds"].as_f64().unwrap();
        let streams = player["streams"].as_object().unwrap().values();
        let room: f64 = streams.map(|it| it["up"].as_f64().unwrap() / 1e3).sum();
        assert!(room > 0.5 * all && room < all, "{player}");
    }
}

#[test]
fn two_and_four_processes_come_to_the_same_state() {
    for players in [2, 4] {
        let count = players.to_string();
        let report = play(&["--players", &count, "--seconds", "3"]);
        assert_alike(&report, players);
        let events: u64 = reports(&report)
            .iter()
            .map(|player| player["event"]["count"].as_u64().unwrap())
            .sum();
        assert!(events > 0, "{report}");
    }
}

#[test]
fn in_hybrid_mode_they_come_to_the_hosts_state_at_sync_points() {
    let report = play(&["--players=3", "--seconds=5", "--mode=hybrid"]);
    assert_alike(&report, 3);
    let tick = report["state"]["tick"].as_u64().unwrap();
    assert_eq!(tick % 60, 0, "{report}");
}

#[test]
fn they_do_over_tcp() {
    let report = play(&["--players=2", "--seconds=2", "--transport=tcp"]);
    assert_alike(&report, 2);
}

#[test]
fn they_do_through_a_relay_alone() {
    let report = play(&["--players=3", "--seconds=3", "--relay"]);
    assert_alike(&report, 3);
    assert_eq!(report["relayed"], true);
}

#[test]
fn the_host_shows_the_others_what_it_simulates() {
    let report = play(&["--players=3", "--seconds=3", "--mode=independent"]);
    assert_eq!(reports(&report).len(), 3);
    for player in reports(&report) {
        if player["is_host"] == true {
            assert!(player["ticks"].as_u64().unwrap() > 60, "{player}");
            continue;
        }
        assert!(player["shown"]["states"].as_u64().unwrap() > 10, "{player}");
        assert!(
            player["shown"]["entities"].as_u64().unwrap() > 10,
            "{player}"
        );
        assert!(player["age"]["count"].as_u64().unwrap() > 10, "{player}");
        assert!(player["event"]["count"].as_u64().unwrap() > 0, "{player}");
    }
}

/// Kills the host of a session as soon as it plays. Gives the report, and the player that was killed.
fn without_its_host(mode: &str) -> (Value, u64) {
    let _stage = STAGE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut session = Session::start(&["--players=4", "--seconds=8", "--mode", mode]);
    let host = session.next("second")["host"].as_u64().unwrap();
    let is_host = |line: &&Value| line["event"] == "player" && line["player"] == host;
    let pid = session.told.iter().find(is_host).unwrap()["pid"]
        .as_u64()
        .unwrap();
    // SIGKILL, as nobody expects it.
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(session.next("lost")["player"], host);
    let (report, code, error) = session.report();
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("did not come to the end"), "{error}");
    assert_eq!(report["lost"], serde_json::json!([host]));
    assert_eq!(reports(&report).len(), 3, "{report}");
    let hosts = reports(&report).iter().filter(|it| it["is_host"] == true);
    assert_eq!(hosts.count(), 1, "{report}");
    (report, host)
}

#[test]
fn the_rest_plays_on_in_the_same_ticks_when_the_host_is_killed() {
    let (report, host) = without_its_host("kernel");
    assert_alike(&report, 3);
    // The room went on after it had found another host.
    let tick = report["state"]["tick"].as_u64().unwrap();
    assert!(tick > 180, "{report}");
    assert!(reports(&report).iter().all(|it| it["player"] != host));
}

#[test]
fn another_goes_on_from_what_it_has_seen_when_the_host_is_killed() {
    let (report, _) = without_its_host("independent");
    let host = reports(&report).iter().find(|it| it["is_host"] == true);
    let host = host.unwrap();
    assert_eq!(host["shown"]["takeovers"], 1, "{host}");
    assert!(host["ticks"].as_u64().unwrap() > 60, "{host}");
    // The others have seen it, too.
    for player in reports(&report).iter().filter(|it| it["is_host"] == false) {
        assert!(player["shown"]["states"].as_u64().unwrap() > 30, "{player}");
    }
}

#[test]
fn a_session_that_was_recorded_comes_to_the_same_state_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("game.pcrec");
    let path = file.to_str().unwrap();
    let report = play(&["--players=2", "--seconds=2", "--record", path]);
    let (code, out, error) = run(&["--replay", path, "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let replay: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(replay["divergence"], Value::Null);
    assert_eq!(replay["players"], 2);
    // The player that recorded may have come a few ticks further than the other.
    let (ticks, common) = (&replay["ticks"], &report["state"]["tick"]);
    assert!(ticks.as_u64() >= common.as_u64(), "{replay} {report}");
    if ticks == common {
        assert_eq!(replay["hash"], report["state"]["hash"]);
    }

    let bytes = fs::read(&file).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        run(&["--replay", path])
    };
    let (code, out, error) = with(&bytes[..bytes.len() - 3]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("torn off after tick"), "{error}");
    assert!(out.contains("ticks"), "{out}");
    let (code, _, error) = with(&[]);
    assert_eq!((code, error.contains("empty")), (Some(2), true), "{error}");
    let (code, _, error) = with(b"a letter");
    let is_told = error.contains("not a record of a session") && error.contains("--record");
    assert_eq!((code, is_told), (Some(2), true), "{error}");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let (code, _, error) = with(&flipped);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("damaged"), "{error}");
    fs::remove_file(&file).unwrap();
    let (code, _, error) = run(&["--replay", path]);
    assert_eq!(code, Some(2));
    assert!(error.contains(path), "{error}");
}

#[test]
fn unusable_arguments_end_with_2_and_say_why() {
    for (arguments, why) in [
        (&["--players", "0"][..], "1..=64"),
        (&["--players", "65"], "1..=64"),
        (&["--mode", "dance"], "kernel"),
        (&["--mode=hybrid", "--record", "x"], "only the mode kernel"),
        (&["--seconds", "0"], "0"),
        (&["--watch"], "terminal"),
        (&["--replay", "a", "--record", "b"], "cannot be used with"),
        (
            &["--record", "/no/such/folder/file"],
            "/no/such/folder/file",
        ),
        (
            &["--mode=independent", "--record", "x"],
            "use --mode kernel",
        ),
    ] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_is_left_when_it_is_interrupted_or_killed() {
    let _stage = STAGE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    for (signal, code) in [("-INT", Some(0)), ("-KILL", None)] {
        let mut session = Session::start(&["--players=3", "--seconds=60"]);
        session.next("second");
        let players = session.told.iter().filter(|line| line["event"] == "player");
        let pids: Vec<u64> = players.map(|line| line["pid"].as_u64().unwrap()).collect();
        assert_eq!(pids.len(), 3);
        let pid = session.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
        assert_eq!(session.finish().0, code);
        // The players write to the same standard error, which has come to its end: so they have, too.
        let left = pids.iter().find(|pid| is_there(**pid));
        assert_eq!(left, None);
    }
}

#[cfg(target_os = "linux")]
fn is_there(pid: u64) -> bool {
    let command = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
    // One that has ended and was not waited for has none.
    command.is_ok_and(|command| !command.is_empty())
}
