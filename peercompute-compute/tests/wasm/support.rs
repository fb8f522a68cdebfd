use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use peercompute_compute::{
    Control, Executor, Limits, Program, ProgramStore, TaskError, TaskInput, Unsupported,
    WasmConfig, WasmExecutor,
};
use peercompute_proto::v1;
use peercompute_rt::Simulation;

/// The module of this name in the corpus.
pub(crate) fn corpus(name: &str) -> Bytes {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wasm/corpus/{name}.wat"));
    wat::parse_file(path)
        .unwrap_or_else(|error| panic!("{error}"))
        .into()
}

/// Every name in the corpus.
pub(crate) fn names() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wasm/corpus");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| {
            let path = entry.expect("it can be read").path();
            let name = path.file_stem().expect("a file has a name");
            name.to_str().expect("in plain letters").to_owned()
        })
        .collect();
    names.sort();
    names
}

/// This text as a module.
pub(crate) fn wat(text: &str) -> Bytes {
    wat::parse_str(text)
        .unwrap_or_else(|error| panic!("{error}"))
        .into()
}

/// An executor with an empty store.
pub(crate) fn executor() -> WasmExecutor {
    with(WasmConfig::new())
}

pub(crate) fn with(config: WasmConfig) -> WasmExecutor {
    WasmExecutor::new(ProgramStore::new(), config).expect("an engine starts")
}

/// A job of `module`, which is put into the executor's store.
pub(crate) fn spec(executor: &WasmExecutor, module: &Bytes, limits: Limits) -> v1::TaskSpec {
    let hash = executor.store().insert(module.clone());
    v1::TaskSpec {
        program: Some(hash.wasm(module.len() as u64)),
        limits: Some(limits.to_wire().expect("no limit of zero")),
    }
}

pub(crate) fn prepare(
    executor: &WasmExecutor,
    module: &Bytes,
    limits: Limits,
) -> Result<Arc<dyn Program>, Unsupported> {
    executor.prepare(&spec(executor, module, limits))
}

/// Runs a task of `module` within `limits`.
pub(crate) fn run(
    executor: &WasmExecutor,
    module: &Bytes,
    input: impl Into<TaskInput>,
    limits: Limits,
) -> Result<Bytes, TaskError> {
    let program = prepare(executor, module, limits).expect("the module can run");
    // A clock that stands still: nothing here depends on how fast the machine is.
    let clock = Simulation::new(1).runtime();
    program.run(input.into(), &Control::limited(limits, &clock))
}

/// A module of `programs/`: one that does something useful.
pub(crate) fn program(name: &str) -> Bytes {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wasm/programs/{name}.wat"));
    wat::parse_file(path)
        .unwrap_or_else(|error| panic!("{error}"))
        .into()
}

/// The guests, with their names: in the folder that `PEERCOMPUTE_GUESTS` names, or where `cargo xtask guests` puts them. They have to be built.
pub(crate) fn guests() -> Vec<(String, Bytes)> {
    let folder = std::env::var_os("PEERCOMPUTE_GUESTS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../guests"),
        PathBuf::from,
    );
    let names = ["echo", "crc32c", "n-body", "sum", "word-count"];
    let read = |name| {
        let path = folder.join(format!("{name}.wasm"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask guests` builds it",
                path.display()
            )
        });
        (format!("the guest {name}"), bytes.into())
    };
    names.into_iter().map(read).collect()
}
