//! Programs of the user's own over inputs that are cut into pieces, and results that are combined, between real processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use common::{Running, command, file, finish, run};

/// Gives back what it got. It never ends where that begins with `!`, and traps where it does with `?` and ends with something else than an end of a line.
const ECHO: &str = r#"(module
  (memory (export "memory") 17)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param $pointer i32) (param $length i32) (result i64)
    (if (i32.eq (i32.load8_u (local.get $pointer)) (i32.const 33))
      (then (loop $on (br $on))))
    (if (i32.eq (i32.load8_u (local.get $pointer)) (i32.const 63))
      (then (if (i32.ne (i32.load8_u offset=1023 (local.get $length)) (i32.const 10)) (then unreachable))))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32))
      (i64.extend_i32_u (local.get $length)))))"#;

/// Takes the lengths away from results: what is left is all of them, one behind the other.
const JOIN: &str = r#"(module
  (memory (export "memory") 160)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param $from i32) (param $length i32) (result i64)
    (local $to i32) (local $end i32) (local $part i32)
    (local.set $to (i32.const 1024))
    (local.set $end (i32.add (local.get $from) (local.get $length)))
    (loop $next
      (if (i32.lt_u (local.get $from) (local.get $end))
        (then
          (local.set $part (i32.load (local.get $from)))
          (memory.copy (local.get $to) (i32.add (local.get $from) (i32.const 4)) (local.get $part))
          (local.set $to (i32.add (local.get $to) (local.get $part)))
          (local.set $from (i32.add (i32.add (local.get $from) (i32.const 4)) (local.get $part)))
          (br $next))))
    (i64.or
      (i64.shl (i64.const 1024) (i64.const 32))
      (i64.extend_i32_u (i32.sub (local.get $to) (i32.const 1024))))))"#;

/// Gives nothing.
const NOTHING: &str = r#"(module
  (memory (export "memory") 17)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param i32 i32) (result i64) i64.const 0))"#;

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn module(folder: &Path, name: &str, text: &str) -> String {
    put(folder, name, wat::parse_str(text).unwrap())
}

/// One of `examples/guests`, which `cargo xtask guests` builds.
fn guest(name: &str) -> String {
    let folder = std::env::var_os("PEERCOMPUTE_GUESTS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../guests"),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "no {}; `cargo xtask guests` builds it",
        path.display()
    );
    path.to_str().unwrap().to_owned()
}

/// A file of letters that are not all alike.
fn letters(folder: &Path, name: &str, size: usize) -> String {
    let path = file(folder, name, size);
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    put(folder, name, bytes)
}

/// Runs with a pipe at either end.
fn piped(args: &[&str]) -> Child {
    command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_pieces_of_an_input_come_out_as_one_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), "echo.wasm", ECHO);
    let a = letters(dir.path(), "a", 100_001);
    let empty = put(dir.path(), "empty", "");
    let all = fs::read(&a).unwrap();
    let args = [
        "run", "--wasm", &wasm, "--chunk", "1000B", "--input", &a, &empty,
    ];
    assert_eq!(run(&args).expect(0).stdout, all);

    let out = dir.path().to_str().unwrap();
    let ran = run(&[&args[..], &["--json", "--out", out]].concat()).expect(0);
    let reports: Vec<serde_json::Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["input"], a);
    assert_eq!(reports[0]["tasks"], 101);
    assert_eq!(reports[0]["by_node"]["local"]["tasks"], 101);
    assert_eq!(reports[0]["bytes"], 100_001);
    assert_eq!(
        fs::read(reports[0]["output"].as_str().unwrap()).unwrap(),
        all
    );
    assert_eq!(reports[1]["tasks"], 1);
    assert_eq!(fs::read(dir.path().join("empty.out")).unwrap(), b"");
}

#[test]
fn lines_are_not_torn_if_they_are_not_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), "echo.wasm", ECHO);
    let text = "?1\n?22\n?333\n\n\n?4444\n".repeat(100);
    let a = put(dir.path(), "a", &text);
    let args = ["run", "--wasm", &wasm, "--chunk", "7B", "--input", &a];
    run(&args).expect(1);
    let lines = [&args[..], &["--split", "lines"]].concat();
    assert_eq!(run(&lines).expect(0).text(), text);
    fs::write(&a, "?1\n?22\n?555555\n").unwrap();
    let b = put(dir.path(), "b", "?1\n");
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let more = [b.as_str(), "--json", "--out", out.to_str().unwrap()];
    let ran = run(&[&lines[..5], &["--input", &a], &more[..], &lines[7..]].concat()).expect(2);
    let told: Vec<serde_json::Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 2, "{}", ran.text());
    assert_eq!(told[0]["file"], a);
    let error = told[0]["error"].as_str().unwrap();
    assert!(
        error.contains("begins at byte 7 ") && !error.contains(&a),
        "{error}"
    );
    assert_eq!(told[1]["input"], b);
    assert_eq!(common::names(&out), ["b.out"]);
    let join = module(dir.path(), "join.wasm", JOIN);
    let reduced = run(&[&lines[..], &["--reduce", &join]].concat()).expect(2);
    assert!(reduced.stderr.contains(&a), "{}", reduced.stderr);
}

#[test]
fn results_come_out_while_standard_input_still_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), "echo.wasm", ECHO);
    let args = ["run", "--wasm", &wasm, "--chunk", "4B", "--input", "-"];
    let mut child = piped(&args);
    let mut stdin = child.stdin.take().unwrap();
    for piece in ["abcd", "efgh", "ijkl"] {
        stdin.write_all(piece.as_bytes()).unwrap();
        let mut result = [0; 4];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut result).unwrap();
        assert_eq!(result, piece.as_bytes());
    }
    drop(stdin);
    assert_eq!(finish(child).expect(0).text(), "");
}

#[test]
#[cfg(target_os = "linux")]
fn an_input_of_any_length_takes_bounded_memory() {
    const INPUT: usize = 1 << 30;
    const MOST_KIB: u64 = 512 << 10;
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), "nothing.wasm", NOTHING);
    let mut child = piped(&["run", "--wasm", &wasm, "--chunk", "1MiB", "--input", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    let block = vec![1; 1 << 20];
    for _ in 0..INPUT / block.len() {
        stdin.write_all(&block).unwrap();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most: u64 = most
        .unwrap()
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse()
        .unwrap();
    drop(stdin);
    finish(child).expect(0);
    assert!(most < MOST_KIB, "{most} KiB");
}

#[test]
fn an_input_beyond_one_task_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), "nothing.wasm", NOTHING);
    let big = dir.path().join("big");
    File::create(&big).unwrap().set_len((8 << 20) + 1).unwrap();
    let big = big.to_str().unwrap();
    let args = ["run", "--wasm", &wasm, "--input", big];
    let ran = run(&args).expect(2);
    assert!(ran.stderr.contains("--chunk 1MiB"), "{}", ran.stderr);
    run(&[&args[..], &["--chunk", "1MiB"]].concat()).expect(0);
}

#[test]
fn a_piece_that_fails_ends_its_input_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), "echo.wasm", ECHO);
    let bad = put(dir.path(), "bad", "aaaa!bbbcccc");
    let good = put(dir.path(), "good", "ddddeeeeff");
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let args = [
        "run", "--wasm", &wasm, "--chunk", "4B", "--fuel", "100000", "--input", &bad, &good,
    ];
    let ran = run(&args).expect(1);
    assert_eq!(ran.text(), "aaaaddddeeeeff");
    assert!(
        ran.stderr.contains("the 4 bytes from byte 4: "),
        "{}",
        ran.stderr
    );
    run(&[&args[..], &["--out", out.to_str().unwrap()]].concat()).expect(1);
    assert_eq!(common::names(&out), ["good.out"]);
}

#[test]
fn results_are_combined_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let echo = module(dir.path(), "echo.wasm", ECHO);
    let join = module(dir.path(), "join.wasm", JOIN);
    let a = letters(dir.path(), "a", 40_000);
    let b = letters(dir.path(), "b", 500);
    let all = [fs::read(&a).unwrap(), fs::read(&b).unwrap()].concat();
    let args = ["run", "--wasm", &echo, "--reduce", &join, "--input", &a, &b];
    assert_eq!(run(&args).expect(0).stdout, all);
    let out = dir.path().to_str().unwrap();
    let pieces = [&args[..], &["--chunk", "100B", "--out", out, "--json"]].concat();
    let report = run(&pieces).expect(0).json();
    assert_eq!(report["tasks"], 405);
    // 7 of them, one of which combines the rest of 21; these are combined by one more.
    assert_eq!(report["reductions"], 8);
    assert_eq!(report["bytes"], 40_500);
    assert_eq!(report["by_node"]["local"]["tasks"], 413);
    assert_eq!(report["local_fallback"], true);
    assert!(report["seconds"].as_f64() > Some(0.0), "{report}");
    assert_eq!(fs::read(report["output"].as_str().unwrap()).unwrap(), all);
}

#[test]
fn nothing_is_reduced_where_a_task_fails_or_results_grow_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let echo = module(dir.path(), "echo.wasm", ECHO);
    let join = module(dir.path(), "join.wasm", JOIN);
    let bad = put(dir.path(), "bad", "aaaa!bbb");
    let args = ["run", "--wasm", &echo, "--reduce", &join, "--chunk"];
    let ran = run(&[&args[..], &["4B", "--fuel", "100000", "--input", &bad]].concat()).expect(1);
    assert_eq!(ran.text(), "");
    assert!(ran.stderr.contains("nothing is reduced"), "{}", ran.stderr);
    let out = dir.path().to_str().unwrap();
    let told = [
        "4B", "--fuel", "100000", "--json", "--out", out, "--input", &bad,
    ];
    let told = run(&[&args[..], &told].concat()).expect(1).json();
    assert_eq!(
        (&told["file"], &told["field"]),
        (&bad.as_str().into(), &"input".into())
    );
    assert!(!told["error"].as_str().unwrap().contains(&bad), "{told}");
    let long = letters(dir.path(), "long", 12 << 20);
    let ran = run(&[
        &args[..],
        &["1MiB", "--max-output", "8MiB", "--input", &long],
    ]
    .concat())
    .expect(1);
    assert!(
        ran.stderr.contains("too long to be combined"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(&join), "{}", ran.stderr);
}

#[test]
fn two_nodes_count_the_words_of_a_text_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..20_000)
        .map(|n| format!("line {n} of a text\n"))
        .collect();
    let text = put(dir.path(), "text", &lines);
    let nodes = [Running::node(&[]), Running::node(&[])];
    let (count, sum) = (guest("word-count"), guest("sum"));
    for topology in ["distributed", "emergent"] {
        let args = [
            "run",
            "--wasm",
            &count,
            "--input",
            &text,
            "--chunk",
            "4KiB",
            "--split",
            "lines",
            "--reduce",
            &sum,
            "--no-local",
            "--topology",
            topology,
            "--peer",
            nodes[0].address(),
            "--peer",
            nodes[1].address(),
        ];
        let ran = run(&args).expect(0);
        let numbers: Vec<u64> = ran
            .stdout
            .as_chunks()
            .0
            .iter()
            .map(|number| u64::from_le_bytes(*number))
            .collect();
        assert_eq!(numbers, [20_000, 100_000, lines.len() as u64]);
    }
    for node in nodes {
        assert_eq!(node.interrupt(), 0);
    }
}
