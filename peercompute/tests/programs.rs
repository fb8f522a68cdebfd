//! Programs of the user's own, between real processes over loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, io::Write as _, path::Path, process::Stdio};

use common::{Running, command, finish, run, wait_until};

/// Gives back what it got, unless it begins with `!`: then it never ends.
const ECHO: &str = r#"(module
  (memory (export "memory") 2)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param $pointer i32) (param $length i32) (result i64)
    (if (i32.eq (i32.load8_u (local.get $pointer)) (i32.const 33))
      (then (loop $on (br $on))))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32))
      (i64.extend_i32_u (local.get $length)))))"#;

/// Doubles numbers of 32 bits.
const DOUBLE: &str = "
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { output[id.x] = 2u * input[id.x]; }";

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn module(folder: &Path, text: &str) -> String {
    put(folder, "program.wasm", wat::parse_str(text).unwrap())
}

#[test]
fn a_module_runs_here_and_its_output_comes_in_the_order_of_the_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let (a, b) = (put(dir.path(), "a", "one "), put(dir.path(), "b", "two"));
    let ran = run(&["run", "--wasm", &wasm, "--input", &a, &b, "--input", &a]).expect(0);
    assert_eq!(ran.text(), "one twoone ");
    assert!(
        ran.stderr.starts_with("3 tasks, 11 B in "),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("nobody was named"), "{}", ran.stderr);
    assert_eq!(run(&["run", "--wasm", &wasm]).expect(0).text(), "");
}

#[test]
fn a_run_that_found_only_nodes_that_lend_nothing_says_so_and_who_ran_it() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let a = put(dir.path(), "a", "one");
    let idle = Running::node(&["--throttle", "0"]);
    let meet = ["--patience", "500ms", "--peer", idle.address()];
    let args = ["run", "--wasm", &wasm, "--input", &a];
    for (more, tasks) in [
        (&[][..], "1 task, 3 B in "),
        // The echo of one result is that with its length in front.
        (&["--reduce", &wasm], "2 tasks, 10 B in "),
    ] {
        let ran = run(&[&args[..], more, &meet].concat()).expect(0);
        for part in [
            tasks,
            "  local  ",
            "no other node took part",
            "1 node is connected and lends nothing now; `peercompute resume`",
        ] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    }
    let out = dir.path().to_str().unwrap();
    let told = run(&[&args[..], &meet, &["--json", "--out", out]].concat()).expect(0);
    assert_eq!(told.json()["node"], "local");
    assert_eq!(told.json()["local_fallback"], true);
    let share = &told.json()["by_node"]["local"];
    assert_eq!((&share["tasks"], &share["bytes"]), (&1.into(), &3.into()));
    let alone = run(&[&args[..], &meet, &["--no-local"]].concat()).expect(1);
    assert!(
        alone.stderr.contains("lends nothing now"),
        "{}",
        alone.stderr
    );
    assert_eq!(idle.interrupt(), 0);
}

#[test]
fn why_a_task_failed_is_told_to_programs_in_one_word() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let (good, bad) = (put(dir.path(), "good", "fine"), put(dir.path(), "bad", "!"));
    let out = dir.path().to_str().unwrap();
    let cases: [(&str, &str, &str, &str); 3] = [
        (&bad, "--fuel", "100000", "fuel"),
        (&bad, "--deadline", "200ms", "deadline"),
        (&good, "--max-output", "3B", "output"),
    ];
    for (input, limit, value, word) in cases {
        let args = [
            "run", "--json", "--wasm", &wasm, "--out", out, "--input", input,
        ];
        let told = run(&[&args[..], &[limit, value]].concat()).expect(1).json();
        assert_eq!(told["reason"], word, "{told}");
        assert!(told.get("seconds").is_none(), "{told}");
    }
    let args = [
        "run", "--json", "--wasm", &wasm, "--out", out, "--input", &good,
    ];
    let told = run(&args).expect(0).json();
    let micros = told["seconds"].as_f64().unwrap() * 1e6;
    assert!((micros - micros.round()).abs() < 1e-3, "{told}");
}

#[test]
fn standard_input_is_an_input() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let mut child = command(&["run", "--wasm", &wasm, "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"through a pipe")
        .unwrap();
    assert_eq!(finish(child).expect(0).text(), "through a pipe");
}

#[test]
fn peers_fetch_the_module_and_run_it() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let a = put(dir.path(), "a", "over the network");
    let out = dir.path().to_str().unwrap();
    let node = Running::node(&[]);
    for topology in ["distributed", "emergent", "hierarchy"] {
        let args = [
            "run",
            "--json",
            "--wasm",
            &wasm,
            "--input",
            &a,
            "--out",
            out,
            "--peer",
            node.address(),
            "--topology",
            topology,
            "--no-local",
        ];
        let report = run(&args).expect(0).json();
        assert_eq!(report["node"], node.peer.as_str());
        assert_eq!(report["bytes"], 16);
        let written = report["output"].as_str().unwrap();
        assert_eq!(fs::read(written).unwrap(), b"over the network");
        fs::remove_file(written).unwrap();
    }
    assert_eq!(node.interrupt(), 0);
}

#[test]
fn a_task_that_goes_beyond_its_limits_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let (good, bad) = (put(dir.path(), "good", "fine"), put(dir.path(), "bad", "!"));
    let limits: [(&[&str], &str); 2] = [
        (&["--fuel", "100000"], "spent its fuel of 100000"),
        (&["--deadline", "200ms"], "longer than its limit of 200ms"),
    ];
    for (limit, reason) in limits {
        let args = ["run", "--wasm", &wasm, "--input", &bad, &good];
        let ran = run(&[&args[..], limit].concat()).expect(1);
        assert_eq!(ran.text(), "fine");
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
    let args = [
        "run",
        "--wasm",
        &wasm,
        "--input",
        &good,
        "--max-output",
        "3B",
    ];
    let ran = run(&args).expect(1);
    assert!(ran.stderr.contains("4 bytes is longer"), "{}", ran.stderr);
}

#[test]
fn what_is_no_module_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    for (bytes, remedy) in [
        ("", "name the .wasm file"),
        ("MZ", "name the .wasm file"),
        (ECHO, "wat2wasm"),
    ] {
        let file = put(dir.path(), "file", bytes);
        for argument in ["--wasm", "--reduce"] {
            let good = module(dir.path(), ECHO);
            let args = match argument {
                "--wasm" => vec!["run", "--wasm", &file],
                _ => vec!["run", "--wasm", &good, "--reduce", &file],
            };
            let ran = run(&args).expect(2);
            assert!(ran.stderr.contains(remedy), "{}", ran.stderr);
            let named = format!("error: {argument} {file}: ");
            assert!(ran.stderr.starts_with(&named), "{}", ran.stderr);
            assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        }
    }
    let imports = "(module (import \"env\" \"time\" (func)))";
    let ran = run(&["run", "--wasm", &module(dir.path(), imports)]).expect(2);
    assert!(ran.stderr.contains("\"env\" \"time\""), "{}", ran.stderr);
    // What only a look into its code tells.
    let mut torn = wat::parse_str(ECHO).unwrap();
    let at = torn.windows(2).position(|it| it == [0x2d, 0]).unwrap();
    torn[at] = 0xff;
    let torn = put(dir.path(), "torn.wasm", torn);
    let ran = run(&[
        "run",
        "--json",
        "--wasm",
        &torn,
        "--out",
        dir.path().to_str().unwrap(),
    ])
    .expect(2);
    assert_eq!(ran.json()["file"], torn);
    assert_eq!(ran.json()["field"], "wasm");
}

#[test]
fn a_shader_runs_on_a_device_and_its_faults_are_pointed_at() {
    let dir = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = (0..8_u32).flat_map(u32::to_le_bytes).collect();
    let input = put(dir.path(), "numbers", &numbers);
    let good = put(dir.path(), "double.wgsl", DOUBLE);
    let args = [
        "--workgroups",
        "2",
        "--output-bytes",
        "32B",
        "--input",
        &input,
    ];
    let ran = run(&[&["run", "--wgsl", &good], &args[..]].concat()).expect(0);
    let doubled: Vec<u8> = (0..8_u32).flat_map(|n| (2 * n).to_le_bytes()).collect();
    assert_eq!(ran.stdout, doubled);
    let bad = put(dir.path(), "bad.wgsl", DOUBLE.replace("2u *", "2u * ("));
    let ran = run(&[&["run", "--wgsl", &bad], &args[..]].concat()).expect(2);
    assert!(ran.stderr.contains(&bad), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("5:") && ran.stderr.contains('^'),
        "{}",
        ran.stderr
    );
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let a = put(dir.path(), "a", "one");
    let a_out = put(dir.path(), "a.out", "two");
    let reduced = put(dir.path(), "reduced.out", "three");
    let b = put(dir.path(), "b", "four");
    let b_out = put(dir.path(), "b.out", fs::read(&wasm).unwrap());
    let folder = dir.path().to_str().unwrap();
    let refused: [(&[&str], &str); 16] = [
        (&["--wasm", "/nowhere"], "cannot be opened"),
        (&["--wasm", folder], "is a directory"),
        (
            &["--wasm", &wasm, "--input", "/nowhere"],
            "cannot be opened",
        ),
        (
            &["--wasm", &wasm, "--input", "-", "-"],
            "standard input is there once",
        ),
        (&["--wasm", &wasm, "--op", "crc32c"], "cannot be used with"),
        (&["--wasm", &wasm, "--fuel", "0"], "0 is not in 1.."),
        (&["--wasm", &wasm, "--memory", "64"], "has no unit"),
        (
            &["--wasm", &wasm, "--out", folder, "--input", &a, &a],
            "two inputs",
        ),
        (&["--json", "--wasm", &wasm, "--input", &a], "--out DIR"),
        (&["--wasm", &wasm, "--split", "lines"], "--chunk"),
        (&["--wasm", &wasm, "--chunk", "9MiB"], "8.0 MiB at most"),
        (
            &["--op", "crc32c", "--reduce", &wasm, &a],
            "cannot be used with",
        ),
        (&["--op", "matmul", &a], "A.npy B.npy"),
        (
            &["--wasm", &wasm, "--out", folder, "--input", &a, &a_out],
            "which is an input",
        ),
        (
            &["--wasm", &b_out, "--out", folder, "--input", &b],
            "which is an input or a program",
        ),
        (
            &[
                "--wasm", &wasm, "--reduce", &wasm, "--out", folder, "--input", &reduced,
            ],
            "which is an input",
        ),
    ];
    for (args, reason) in refused {
        let ran = run(&[&["run"], args].concat()).expect(2);
        assert!(ran.stderr.contains(reason), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_machine_is_measured_once() {
    let dir = tempfile::tempdir().unwrap();
    let probe = || {
        let child = command(&["probe", "--json"])
            .env("XDG_CACHE_HOME", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        finish(child).expect(0).json()
    };
    let first = probe();
    assert!(first["ops_score"].as_u64().unwrap() > 0);
    assert_eq!(probe(), first);
}

#[test]
fn a_node_tells_others_what_its_machine_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&["node", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.env("XDG_CACHE_HOME", dir.path());
    let node = Running::started(command);
    let submitter = Running::node(&["--peer", node.address()]);
    let told = || {
        let status = run(&["status", "--json", "--control", submitter.control()]).expect(0);
        status.json()["peers"][0]["machine"]["ops_score"].as_u64()
    };
    wait_until("the other node knows the score", || told() > Some(0));
    let kept = fs::read(dir.path().join("peercompute/profile.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["ops_score"].as_u64(), told());
}

#[test]
fn a_module_that_begins_with_more_memory_than_it_is_given_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = module(dir.path(), ECHO);
    let ran = run(&["run", "--wasm", &wasm, "--memory", "64KiB"]).expect(2);
    assert!(ran.stderr.contains("131072"), "{}", ran.stderr);
}

#[test]
fn a_shader_that_is_nested_deeply_is_refused_and_nothing_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let nested = format!("{}1u{}", "(".repeat(5000), ")".repeat(5000));
    let text = DOUBLE.replace("2u", &nested);
    let shader = put(dir.path(), "nested.wgsl", text);
    let ran = run(&["run", "--wgsl", &shader, "--output-bytes", "4B"]);
    assert!(ran.status.code().is_some(), "{ran:?}");
}

#[test]
fn a_profile_that_is_none_is_measured_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("peercompute")).unwrap();
    common::named_pipe(&dir.path().join("peercompute"), "profile.json");
    let child = command(&["probe", "--json"])
        .env("XDG_CACHE_HOME", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let probe = finish(child).expect(0).json();
    assert!(probe["ops_score"].as_u64() > Some(0));
}
