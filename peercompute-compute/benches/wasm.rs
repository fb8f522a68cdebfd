//! WebAssembly tasks against a bare engine and against native code: `cargo xtask guests`, then `cargo bench -p peercompute-compute --bench wasm`.
#![cfg_attr(target_arch = "wasm32", no_main)]

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use divan::{Bencher, black_box, counter::BytesCount};
use peercompute_compute::{
    Control, Executor as _, Program, ProgramStore, TaskInput, WasmConfig, WasmExecutor,
};
use peercompute_proto::v1;

#[path = "../../examples/guests/n-body/src/simulate.rs"]
mod simulate;
#[path = "../../examples/guests/crc32c/src/table.rs"]
mod table;

fn main() {
    divan::main();
}

fn prepare(module: Bytes) -> Arc<dyn Program> {
    let store = ProgramStore::new();
    let size = module.len() as u64;
    let hash = store.insert(module);
    let executor = WasmExecutor::new(store, WasmConfig::new()).expect("an engine starts");
    let spec = v1::TaskSpec {
        program: Some(hash.wasm(size)),
        limits: None,
    };
    executor.prepare(&spec).expect("it runs")
}

fn guest(name: &str) -> Arc<dyn Program> {
    let folder = std::env::var_os("PEERCOMPUTE_GUESTS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../guests"),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask guests` builds it",
            path.display()
        )
    });
    prepare(bytes.into())
}

const SMALL: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "abi_version") (result i32) i32.const 1)
    (func (export "alloc") (param i32) (result i32) i32.const 1024)
    (func (export "run") (param i32 i32) (result i64)
        (i64.store (i32.const 0) (i64.load (local.get 0)))
        i64.const 8))"#;

/// To start a small module that is compiled already, run it and drop it.
#[divan::bench(sample_count = 2000, sample_size = 16)]
fn small_module(bencher: Bencher<'_, '_>) {
    let program = prepare(wat::parse_str(SMALL).expect("it is a module").into());
    let input = Bytes::from_static(&[7; 64]);
    let control = Control::unlimited();
    bencher.bench(|| program.run(TaskInput::new(black_box(&input).clone()), &control));
}

/// The same with the guest crate.
#[divan::bench(sample_count = 2000, sample_size = 16)]
fn echo_of_64_bytes(bencher: Bencher<'_, '_>) {
    let program = guest("echo");
    let input = Bytes::from_static(&[7; 64]);
    let control = Control::unlimited();
    bencher.bench(|| program.run(TaskInput::new(black_box(&input).clone()), &control));
}

const CRC_BYTES: usize = 512 << 10;

fn crc_input() -> Bytes {
    (0..CRC_BYTES)
        .map(|i| ((i * 31) >> 3) as u8)
        .collect::<Vec<_>>()
        .into()
}

#[divan::bench(sample_count = 500)]
fn crc32c_guest(bencher: Bencher<'_, '_>) {
    let program = guest("crc32c");
    let input = crc_input();
    let control = Control::unlimited();
    bencher
        .counter(BytesCount::new(CRC_BYTES))
        .bench(|| program.run(TaskInput::new(black_box(&input).clone()), &control));
}

#[divan::bench(sample_count = 500)]
fn crc32c_native(bencher: Bencher<'_, '_>) {
    let input = crc_input();
    bencher
        .counter(BytesCount::new(CRC_BYTES))
        .bench(|| table::crc32c(black_box(&input)));
}

const STEP: f64 = 0.001;

/// How many steps of how many bodies; in all there are about as many pairs.
type Sizes = (u32, u32);

const SIZES: [Sizes; 2] = [(2000, 5), (4, 100)];

fn bodies(count: u32) -> Vec<simulate::Body> {
    (0..count)
        .map(|n| {
            let n = f64::from(n);
            [n, n * n, -n, 0.1 * n, 0.0, 0.3, 1.0 + n]
        })
        .collect()
}

#[divan::bench(args = SIZES, sample_count = 500)]
fn n_body_guest(bencher: Bencher<'_, '_>, (steps, count): Sizes) {
    let program = guest("n-body");
    let bodies = bodies(count);
    let numbers = bodies.as_flattened().iter().flat_map(|x| x.to_le_bytes());
    let input: Vec<u8> = steps
        .to_le_bytes()
        .into_iter()
        .chain(STEP.to_le_bytes())
        .chain(numbers)
        .collect();
    let input = Bytes::from(input);
    let control = Control::unlimited();
    bencher.bench(|| program.run(TaskInput::new(black_box(&input).clone()), &control));
}

#[divan::bench(args = SIZES, sample_count = 500)]
fn n_body_native(bencher: Bencher<'_, '_>, (steps, count): Sizes) {
    bencher
        .with_inputs(|| bodies(count))
        .bench_values(|mut bodies| {
            simulate::simulate(&mut bodies, black_box(steps), black_box(STEP));
            bodies
        });
}
