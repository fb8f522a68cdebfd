//! Options of `peercompute run` that belong to one kind of work, or that have a maximum.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{file, run};

/// Gives nothing.
const NOTHING: &str = r#"(module
  (memory (export "memory") 17)
  (func (export "abi_version") (result i32) i32.const 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "run") (param i32 i32) (result i64) i64.const 0))"#;

const SHADER: &str = "
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(1)
fn main() { output[0] = 1u; }";

struct Files {
    _dir: tempfile::TempDir,
    a: String,
    wasm: String,
    wgsl: String,
}

fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let wasm = put("nothing.wasm", &wat::parse_str(NOTHING).unwrap());
    let wgsl = put("one.wgsl", SHADER.as_bytes());
    let a = file(dir.path(), "a", 10);
    Files {
        _dir: dir,
        a,
        wasm,
        wgsl,
    }
}

/// Fails unless `run` refuses each of these options by its name.
#[track_caller]
fn refuses(with: &[&str], options: &[&[&str]]) {
    for option in options {
        let ran = run(&[&["run"], with, option].concat()).expect(2);
        assert!(
            ran.stderr.contains(option[0]),
            "{with:?} {option:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn operations_take_no_options_of_programs() {
    let Files { _dir, a, wasm, .. } = files();
    let options: [&[&str]; 11] = [
        &["--memory", "1MiB"],
        &["--fuel", "10"],
        &["--reduce", &wasm],
        &["--split", "lines", "--chunk", "1KiB"],
        &["--deadline", "1s"],
        &["--max-output", "1KiB"],
        &["--entry", "main"],
        &["--workgroups", "1"],
        &["--output-bytes", "4B"],
        &["--uniforms", &a],
        &["--input", &a],
    ];
    for operation in ["crc32c", "matmul"] {
        refuses(&["--op", operation, &a, &a], &options);
    }
}

#[test]
fn programs_take_no_options_of_operations() {
    let Files {
        _dir,
        a,
        wasm,
        wgsl,
        ..
    } = files();
    let options: [&[&str]; 4] = [
        &["--imm", "1"],
        &["--verify"],
        &["--no-verify"],
        &["--events"],
    ];
    refuses(&["--wasm", &wasm, "--input", &a], &options);
    refuses(&["--wgsl", &wgsl, "--output-bytes", "4B"], &options);
    refuses(&["--op", "matmul", &a, &a], &[&["--events"]]);
}

#[test]
fn modules_take_no_options_of_shaders() {
    let Files { _dir, a, wasm, .. } = files();
    let options: [&[&str]; 4] = [
        &["--entry", "main"],
        &["--workgroups", "1"],
        &["--output-bytes", "4B"],
        &["--uniforms", &a],
    ];
    refuses(&["--wasm", &wasm], &options);
}

#[test]
fn shaders_take_limits_of_modules_only_for_their_reducer() {
    let Files {
        _dir, wasm, wgsl, ..
    } = files();
    let shader = ["--wgsl", &wgsl, "--output-bytes", "4B"];
    let limits = [&["--memory", "2MiB"][..], &["--fuel", "100000"]];
    refuses(&shader, &limits);
    let reduced = ["run", "--reduce", &wasm];
    run(&[&reduced[..], &shader, limits[0], limits[1]].concat()).expect(0);
}

#[test]
fn a_shader_needs_the_length_of_its_result() {
    let Files { _dir, wgsl, .. } = files();
    let ran = run(&["run", "--wgsl", &wgsl]).expect(2);
    assert!(ran.stderr.contains("--output-bytes"), "{}", ran.stderr);
}

#[test]
fn what_is_beyond_a_maximum_is_refused_with_the_maximum() {
    let Files {
        _dir, wasm, wgsl, ..
    } = files();
    let cases: [(&[&str], &str); 5] = [
        (&["--wasm", &wasm, "--max-output", "9MiB"], "8.0 MiB"),
        (&["--wgsl", &wgsl, "--output-bytes", "9MiB"], "8.0 MiB"),
        (
            &[
                "--wgsl",
                &wgsl,
                "--output-bytes",
                "4B",
                "--workgroups",
                "65536",
            ],
            "65535",
        ),
        (&["--wasm", &wasm, "--fuel", "1e9"], "write 1000000000"),
        (&["--wasm", &wasm, "--fuel", "0"], "0 is not in 1..="),
    ];
    for (args, reason) in cases {
        let ran = run(&[&["run"], args].concat()).expect(2);
        assert!(ran.stderr.contains(reason), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn what_is_given_in_the_wrong_place_is_told_the_right_one() {
    let Files { _dir, a, wasm, .. } = files();
    let cases: [(&[&str], &str); 5] = [
        (&["--wasm", &wasm, &a], "programs take `--input "),
        (&["--input", &a], "--wasm FILE or --wgsl FILE"),
        (
            &["--wgsl", &wasm, "--output-bytes", "4B"],
            "did you mean --wasm?",
        ),
        (&["--op", "matmul", &a, "-"], "not standard input"),
        (&["--op", "crc32c"], "<FILE>"),
    ];
    for (args, reason) in cases {
        let ran = run(&[&["run"], args].concat()).expect(2);
        assert!(ran.stderr.contains(reason), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn an_input_that_cannot_be_used_does_not_stop_the_others_unless_all_become_one() {
    let Files { _dir, a, wasm, .. } = files();
    let out = _dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let args = [
        "run",
        "--json",
        "--wasm",
        &wasm,
        "--out",
        out.to_str().unwrap(),
        "--input",
        "/no/such/file",
        &a,
    ];
    let ran = run(&args).expect(2);
    let lines: Vec<serde_json::Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["file"], "/no/such/file");
    assert_eq!(lines[0]["field"], "input");
    assert_eq!(lines[1]["input"], a);
    assert_eq!(lines.len(), 2);
    assert!(Path::new(lines[1]["output"].as_str().unwrap()).exists());

    let reduced = run(&[&args[..], &["--reduce", &wasm]].concat()).expect(2);
    assert_eq!(reduced.text().lines().count(), 1, "{}", reduced.text());
    assert_eq!(reduced.json()["file"], "/no/such/file");
    let error = reduced.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("cannot be opened"), "{error}");
}
