//! `node --web`: the page that it serves, with and without a certificate, as whoever asks for it gets it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use common::{Finished, Running, command, finish, named_pipe, run};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

const PAGE: &str = "<!doctype html>";

/// A folder with a page, and a certificate and its key beside it.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(files.dir.path().join("pages")).unwrap();
        std::fs::write(files.dir.path().join("pages/lend.html"), PAGE).unwrap();
        let (certificate, key) = pair(2040);
        files.put("cert", &certificate);
        files.put("key", &key);
        files
    }

    fn put(&self, name: &str, text: &str) -> String {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// A node that serves the page, with these further arguments.
    fn node(&self, args: &[&str]) -> (Running, Vec<String>) {
        let pages = self.path("pages");
        let serve = ["--web", "127.0.0.1:0", "--web-folder", &pages];
        let mut node = Running::node(&[&serve[..], args].concat());
        let urls = node.wait_for("web")["urls"].clone();
        (node, serde_json::from_value(urls).unwrap())
    }

    /// What a node says that is to serve the page with these files and does not start.
    #[track_caller]
    fn refused(&self, certificate: &str, key: &str) -> Finished {
        let pages = self.path("pages");
        let args = ["node", "--json", "--web", "127.0.0.1:0", "--web-folder"];
        let files = [&pages, "--web-cert", certificate, "--web-key", key];
        let finished = run(&[&args[..], &files].concat()).expect(2);
        assert_eq!(finished.text().lines().count(), 1, "{}", finished.text());
        finished
    }
}

fn pair(until: i32) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2010, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Asks whoever serves a URL, without encryption, and gives the answer.
fn ask(url: &str, header: &str) -> String {
    let (_, place) = url.split_once("://").unwrap();
    let (host, path) = place.split_once('/').unwrap();
    let host = host.replace("localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(&host).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_page_is_served_once_to_a_browser_that_keeps_it() {
    let (node, urls) = Files::new().node(&[]);
    let first = ask(&urls[0], "");
    assert!(
        first.starts_with("HTTP/1.1 200") && first.ends_with(PAGE),
        "{first}"
    );
    let tag = first.lines().find(|line| line.starts_with("etag: "));
    let kept = tag.unwrap().replace("etag", "if-none-match");
    let again = ask(&urls[0], &format!("{kept}\r\n"));
    assert!(
        again.starts_with("HTTP/1.1 304") && !again.contains(PAGE),
        "{again}"
    );
    let status = ["status", "--control", node.control()];
    let page = format!("page      {}\n", urls[0]);
    assert!(run(&status).expect(0).text().contains(&page));
}

#[test]
fn with_a_certificate_page_and_node_are_encrypted() {
    let files = Files::new();
    let (certificate, key) = (files.path("cert"), files.path("key"));
    let (node, urls) = files.node(&["--web-cert", &certificate, "--web-key", &key]);
    assert!(urls[0].starts_with("https://localhost:"), "{urls:?}");
    assert!(
        urls[1].starts_with("https://127.0.0.1:") && urls.len() == 2,
        "{urls:?}"
    );
    let secure =
        |address: &String| address.starts_with("/ip4/127.0.0.1/") && address.contains("/wss");
    assert!(node.addresses.iter().any(secure), "{:?}", node.addresses);
    let elsewhere = ask(&urls[1], "");
    assert!(
        elsewhere.contains(&format!("location: {}\r\n", urls[1])),
        "{elsewhere}"
    );
    let status = run(&["status", "--json", "--control", node.control()]).expect(0);
    assert_eq!(status.json()["web"], serde_json::json!(urls));
}

#[test]
fn certificate_files_that_cannot_be_used_are_named_before_anything_listens() {
    let files = Files::new();
    let (certificate, key) = (files.path("cert"), files.path("key"));
    let (other_certificate, other_key) = pair(2040);
    let (late, late_key) = pair(2020);
    let empty = files.put("empty", "");
    let pipe = named_pipe(files.dir.path(), "pipe");
    let missing = files.path("missing");
    let other_key = files.put("other-key", &other_key);
    let cut = files.put("cut", &other_certificate[..other_certificate.len() / 2]);
    let (late, late_key) = (files.put("late", &late), files.put("late-key", &late_key));
    for (certificate, key, field, reason) in [
        (&empty, &key, "web-cert", "no certificate is in it"),
        (&key, &key, "web-cert", "no certificate is in it"),
        (&cut, &key, "web-cert", "not a certificate chain"),
        (&missing, &key, "web-cert", "cannot be read"),
        (&pipe, &key, "web-cert", "is no file"),
        (&late, &late_key, "web-cert", "has expired"),
        (&certificate, &empty, "web-key", "not a private key"),
        (&certificate, &certificate, "web-key", "not a private key"),
        (&certificate, &missing, "web-key", "cannot be read"),
        (
            &certificate,
            &other_key,
            "web-key",
            "not the private key of",
        ),
    ] {
        let finished = files.refused(certificate, key);
        let said = finished.json();
        let file = if field == "web-key" { key } else { certificate };
        assert_eq!(said["field"], field, "{said}");
        assert_eq!(said["file"], file.as_str(), "{said}");
        assert!(said["error"].as_str().unwrap().contains(reason), "{said}");
        let told = format!("--{field} {file}");
        assert!(finished.stderr.contains(&told), "{}", finished.stderr);
    }
}

#[test]
fn half_a_certificate_is_refused_wherever_it_is_named() {
    let files = Files::new();
    let (certificate, key, pages) = (files.path("cert"), files.path("key"), files.path("pages"));
    let args = ["node", "--web", "127.0.0.1:0", "--web-folder", &pages];
    let option = |name: &str, path: &str| run(&[&args[..], &[name, path]].concat()).expect(2);
    let refused = option("--web-cert", &certificate).stderr;
    assert!(refused.contains("--web-key FILE"), "{refused}");
    let refused = option("--web-key", &key).stderr;
    assert!(refused.contains("--web-cert FILE"), "{refused}");
    let variable = |name: &str, path: &str| {
        let mut command = command(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.env(name, path).spawn().unwrap()).expect(2)
    };
    let refused = variable("PEERCOMPUTE_WEB_CERT", &certificate).stderr;
    assert!(refused.contains("PEERCOMPUTE_WEB_KEY"), "{refused}");
    let refused = variable("PEERCOMPUTE_WEB_KEY", "/no/such/file").stderr;
    assert!(refused.contains("PEERCOMPUTE_WEB_CERT"), "{refused}");
    let refused = run(&["node", "--web-cert", &certificate, "--web-key", &key]).expect(2);
    assert!(refused.stderr.contains("--web"), "{}", refused.stderr);
}
