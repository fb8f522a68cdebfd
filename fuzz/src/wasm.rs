use std::sync::OnceLock;

use bytes::Bytes;
use peercompute_compute::{
    Control, Executor as _, ProgramStore, Returned, TaskError, TaskInput, WasmConfig, WasmExecutor,
};
use peercompute_proto::v1;

/// Bytes of programs, and of machine code, that are kept from input to input: few, or they would be the whole of what is held.
const KEPT: u64 = 1 << 20;
/// What a module may have and spend.
const MEMORY: u64 = 4 << 20;
const OUTPUT: u64 = 64 << 10;
const FUEL: u64 = 100_000;

fn executor() -> &'static WasmExecutor {
    static EXECUTOR: OnceLock<WasmExecutor> = OnceLock::new();
    EXECUTOR.get_or_init(|| {
        let config = WasmConfig::new()
            .with_memory(MEMORY)
            .with_output(OUTPUT)
            .with_fuel(FUEL)
            .with_compiled_bytes(KEPT)
            .with_instances(2);
        WasmExecutor::new(ProgramStore::with_bound(KEPT), config).expect("an engine starts")
    })
}

/// Whatever is refused is refused with a reason, and whatever runs stays within its limits.
pub(crate) fn module(data: &[u8]) {
    let executor = executor();
    let hash = executor.store().insert(Bytes::copy_from_slice(data));
    let spec = v1::TaskSpec {
        program: Some(hash.wasm(data.len() as u64)),
        limits: None,
    };
    let program = match executor.prepare(&spec) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let run = || program.run(TaskInput::new(&b"12345678"[..]), &Control::unlimited());
    let first = run();
    match &first {
        Ok(value) => assert!(value.len() as u64 <= OUTPUT),
        // The clock may end one run and not the other.
        Err(TaskError::DeadlineExceeded { .. }) => return,
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // How deep the stack is when it overflows is the machine's affair, but it is the same machine.
    assert_eq!(run(), first);
}

/// No answer makes the host read outside of the module's memory, or more than it may.
pub(crate) fn answer(data: &[u8]) {
    let Some((returned, memory)) = data.split_first_chunk::<8>() else {
        return;
    };
    let returned = Returned::decode(i64::from_le_bytes(*returned));
    let start = returned.pointer as usize;
    let inside = memory
        .get(start..)
        .and_then(|rest| rest.get(..returned.length as usize));
    match returned.read(memory, OUTPUT) {
        Ok(value) => assert_eq!(Some(&value[..]), inside),
        Err(TaskError::GaveUp { message }) => {
            assert!(inside.is_some() && message.len() <= TaskError::MAX_MESSAGE);
        }
        Err(TaskError::OutputTooLarge { size, .. }) => assert!(size > OUTPUT),
        Err(_) => assert!(inside.is_none()),
    }
}
