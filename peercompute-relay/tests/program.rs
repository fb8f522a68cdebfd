//! The program, started as a user starts it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use multiaddr::Protocol;
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport, Multiaddr, Transport as _};
use peercompute_rt::Runtime;
use serde_json::Value;

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peercompute-relay"));
    command
        .env_clear()
        .env("XDG_DATA_HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

const ANY_PORT: [&str; 10] = [
    "--listen-host",
    "127.0.0.1",
    "--listen-port",
    "0",
    "--tcp-port",
    "0",
    "--quic-port",
    "0",
    "--http",
    "127.0.0.1:0",
];

/// A running relay; it ends with the test.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut errors = String::new();
            self.child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut errors)
                .unwrap();
            panic!("{error}: {line:?}\n{errors}")
        })
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(url: &str, path: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: relay\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

fn failed(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_first_json_line_tells_where_the_relay_listens_and_sigterm_ends_it_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Running::start(program(folder.path()).arg("--json").args(ANY_PORT));
    let listening = relay.json();
    assert_eq!(listening["event"], "listening");
    let peer = listening["peer_id"].as_str().unwrap();
    let addresses: Vec<&str> = listening["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|address| address.as_str().unwrap())
        .collect();
    for part in ["/tcp/", "/quic-v1", "/ws"] {
        assert!(
            addresses.iter().any(|address| address.contains(part)),
            "{part}: {addresses:?}"
        );
    }
    for address in addresses {
        assert!(address.ends_with(&format!("/p2p/{peer}")), "{address}");
    }
    relay.signal("-TERM");
    assert_eq!(relay.json()["event"], "draining");
    assert_eq!(relay.json()["event"], "stopped");
    assert_eq!(relay.exit_code(), Some(0));
}

#[tokio::test]
async fn a_second_interrupt_ends_a_draining_relay_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Running::start(
        program(folder.path())
            .arg("--json")
            .args(ANY_PORT)
            .args(["--drain", "1d"]),
    );
    let at: Multiaddr = relay.json()["addresses"][0]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let runtime = Runtime::tokio();
    let client = || {
        let mut config = Libp2pConfig::new(Identity::generate(&runtime));
        config.direct_upgrade = false;
        Libp2pTransport::start(config, &runtime).unwrap()
    };
    let (callee, caller) = (client(), client());
    let reachable = callee.listen(at.with(Protocol::P2pCircuit)).await.unwrap();
    caller.dial(reachable).await.unwrap();
    relay.signal("-INT");
    let draining = relay.json();
    assert_eq!(
        (&draining["event"], &draining["circuits"]),
        (&"draining".into(), &1.into())
    );
    relay.signal("-INT");
    assert_eq!(relay.exit_code(), Some(1));
}

#[test]
fn a_relay_with_a_certificate_listens_for_secure_websocket() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&chain, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.key_pair.serialize_pem()).unwrap();
    let mut command = program(folder.path());
    command
        .arg("--json")
        .args(ANY_PORT)
        .env("RELAY_SSL_CERT", chain)
        .env("RELAY_SSL_KEY", key);
    let mut relay = Running::start(&mut command);
    let listening = relay.json();
    let secure = |address: &Value| address.as_str().unwrap().contains("/wss/");
    assert!(
        listening["addresses"]
            .as_array()
            .unwrap()
            .iter()
            .any(secure),
        "{listening}"
    );
    let (_, config) = get(listening["http"].as_str().unwrap(), "/relay-config.json");
    assert_eq!(config["relayProtocol"], "wss");
}

#[test]
fn the_text_names_the_server_and_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Running::start(program(folder.path()).args(ANY_PORT));
    let id = relay.line();
    let peer = id.strip_prefix("Relay Server ID: ").unwrap().trim();
    for _ in 0..3 {
        let line = relay.line();
        let address = line.strip_prefix("Relay Address: ").unwrap().trim();
        assert!(address.ends_with(&format!("/p2p/{peer}")), "{address}");
    }
    assert!(relay.line().starts_with("Relay HTTP: http://127.0.0.1:"));
    relay.signal("-INT");
    assert_eq!(relay.exit_code(), Some(0));
}

#[test]
fn the_peer_id_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let peer = || {
        let mut relay = Running::start(program(folder.path()).arg("--json").args(ANY_PORT));
        let peer = relay.json()["peer_id"].clone();
        relay.signal("-TERM");
        relay.exit_code();
        peer
    };
    assert_eq!(peer(), peer());
    let file = folder.path().join("peercompute/relay-identity.key");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn clients_find_health_and_configuration_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("relay-config.json");
    let mut command = program(folder.path());
    command
        .arg("--json")
        .args(ANY_PORT)
        .args(["--config-out", out.to_str().unwrap()]);
    command
        .env("RELAY_PUBLIC_HOST", "relay.example.org")
        .env("RELAY_PUBLIC_PORT", "8443");
    let mut relay = Running::start(&mut command);
    let listening = relay.json();
    let http = listening["http"].as_str().unwrap();
    let (head, health) = get(http, "/healthz");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(health["peer_id"], listening["peer_id"]);
    let (_, config) = get(http, "/relay-config.json");
    assert_eq!(config["relayHost"], "relay.example.org");
    assert_eq!(config["relayPort"], 8443);
    assert_eq!(config["relayProtocol"], "ws");
    assert_eq!(config["relayPeerId"], listening["peer_id"]);
    assert_eq!(config["bootstrapPeers"][0], listening["addresses"][0]);
    assert_eq!(config["relayIdentityFile"], Value::Null);
    let written: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(written, config);
}

#[test]
fn an_unusable_configuration_ends_with_2_and_names_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.json");
    std::fs::write(&file, r#"{"listenPort": "four"}"#).unwrap();
    let (code, message) = failed(program(folder.path()).arg("--config").arg(&file));
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("relay.json: listenPort is \"four\""),
        "{message}"
    );
}

#[test]
fn a_damaged_identity_file_ends_with_2_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id.key");
    std::fs::write(&file, "damaged").unwrap();
    let (code, message) = failed(
        program(folder.path())
            .args(ANY_PORT)
            .arg("--identity")
            .arg(&file),
    );
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains(file.to_str().unwrap()), "{message}");
    assert_eq!(std::fs::read(&file).unwrap(), b"damaged");
}

#[test]
fn a_taken_port_ends_with_1_and_names_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--tcp-port", "--listen-port"] {
        let (code, message) = failed(program(folder.path()).args(ANY_PORT).args([flag, &port]));
        assert_eq!(code, Some(1), "{message}");
        assert!(
            message.contains(flag) && message.contains(&port),
            "{message}"
        );
    }
    let http = format!("127.0.0.1:{port}");
    let (code, message) = failed(
        program(folder.path())
            .args(ANY_PORT)
            .args(["--http", &http]),
    );
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains("--http") && message.contains(&http),
        "{message}"
    );
}

#[test]
fn a_port_that_another_relay_has_ends_with_1_and_names_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Running::start(program(folder.path()).arg("--json").args(ANY_PORT));
    let listening = first.json();
    for (part, flag) in [("/ws/", "--listen-port"), ("/quic-v1/", "--quic-port")] {
        let mut addresses = listening["addresses"].as_array().unwrap().iter();
        let address = addresses.find_map(|address| address.as_str().filter(|a| a.contains(part)));
        let port = address.unwrap().split('/').nth(4).unwrap();
        let (code, message) = failed(program(folder.path()).args(ANY_PORT).args([flag, port]));
        assert_eq!(code, Some(1), "{message}");
        assert!(
            message.contains(flag) && message.contains(port),
            "{message}"
        );
    }
}

#[test]
fn an_identity_that_is_no_file_ends_with_2_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [pipe.as_path(), folder.path()] {
        let (code, message) = failed(
            program(folder.path())
                .args(ANY_PORT)
                .arg("--identity")
                .arg(path),
        );
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("is no file"), "{message}");
    }
}

#[test]
fn a_peer_id_that_is_not_the_identitys_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.json");
    let other = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    std::fs::write(&file, format!("{{\"relayPeerId\": \"{other}\"}}")).unwrap();
    let (code, message) = failed(
        program(folder.path())
            .args(ANY_PORT)
            .arg("--config")
            .arg(&file),
    );
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains(other), "{message}");
}
