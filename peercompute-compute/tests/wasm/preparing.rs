//! From a job to something that runs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::executor::block_on;
use peercompute_compute::{
    Control, Executor, Executors, Limits, ModuleError, NativeExecutor, ProgramHash, ProgramStore,
    TaskInput, Unsupported, WasmConfig, WasmError, WasmExecutor, ZeroLimit,
};
use peercompute_proto::v1;

use crate::support::{corpus, executor, spec, wat, with};

#[test]
fn a_module_that_is_not_here_is_asked_for_and_then_runs() {
    let executor = executor();
    let echo = corpus("echo");
    let hash = ProgramHash::of(&echo);
    let size = echo.len() as u64;
    let spec = v1::TaskSpec {
        program: Some(hash.wasm(size)),
        limits: None,
    };
    for _ in 0..2 {
        let refused = executor.prepare(&spec).err().expect("it is not here");
        assert_eq!(refused, Unsupported::Missing { hash, size });
        assert!(refused.is_passing());
    }
    executor.store().insert(echo);
    let program = executor.prepare(&spec).expect("it is here");
    let answer = program.run(TaskInput::new("abc"), &Control::unlimited());
    assert_eq!(answer, Ok(Bytes::from_static(b"abc")));
}

#[test]
fn a_module_once_compiled_runs_though_its_bytes_are_gone() {
    let executor = executor();
    let spec = spec(&executor, &corpus("echo"), Limits::none());
    executor.prepare(&spec).expect("it is here");
    executor.store().remove(&ProgramHash::of(&corpus("echo")));
    assert!(executor.prepare(&spec).is_ok());
}

#[test]
fn many_who_ask_for_the_same_module_at_once_all_get_it() {
    let executor = executor();
    let spec = spec(&executor, &corpus("echo"), Limits::none());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(executor.prepare(&spec).is_ok()));
        }
    });
}

#[test]
fn a_check_tells_how_much_memory_a_module_begins_with() {
    assert_eq!(WasmExecutor::check(&corpus("echo")), Ok(1 << 16));
    let most = WasmExecutor::check(&corpus("memory_from_the_start"));
    assert_eq!(most, Ok(2 << 30));
}

#[test]
fn executors_prepare_each_kind_of_program_apart() {
    let wasm = executor();
    let wasm_spec = spec(&wasm, &corpus("echo"), Limits::none());
    let native = NativeExecutor::new().with("same", |input, _control| Ok(input.bytes));
    let executors = Executors::default().with(wasm).with(native);
    let native_spec = peercompute_compute::NativeName::new("same")
        .expect("it is short")
        .into();
    for spec in [wasm_spec, native_spec] {
        let program = block_on(executors.prepare_apart(Arc::new(spec))).expect("it is prepared");
        let answer = program.run(TaskInput::new("abc"), &Control::unlimited());
        assert_eq!(answer, Ok(Bytes::from_static(b"abc")));
    }
}

#[test]
fn a_module_that_takes_too_long_to_compile_is_given_up_and_not_tried_again() {
    let limit = Duration::from_nanos(1);
    let executor = with(WasmConfig::new().with_compile_time(limit));
    let mut text = r#"(module (memory (export "memory") 1)
        (func (export "abi_version") (result i32) i32.const 1)
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i64)"#
        .to_owned();
    for number in 0..5000 {
        text += &format!(
            "(i32.store (i32.const {number}) (local.get {}))",
            number % 2
        );
    }
    text += "i64.const 0))";
    let module = wat(&text);
    let spec = spec(&executor, &module, Limits::none());
    let too_long = Some(Unsupported::Module(ModuleError::CompileTime { limit }));
    assert_eq!(executor.prepare(&spec).err(), too_long);
    // It is known by now, so its bytes are not asked for.
    executor.store().remove(&ProgramHash::of(&module));
    assert_eq!(executor.prepare(&spec).err(), too_long);
}

#[test]
fn limits_of_zero_and_memories_that_do_not_fit_are_refused() {
    let config = WasmConfig::new;
    let zeros = [
        (config().with_memory(0), "memory"),
        (config().with_output(0), "result"),
        (config().with_fuel(0), "fuel"),
        (config().with_deadline(Duration::ZERO), "run time"),
        (config().with_instances(0), "number of instances"),
    ];
    let start = |config| WasmExecutor::new(ProgramStore::new(), config);
    for (config, expected) in zeros {
        let error = start(config).expect_err("a limit of zero");
        assert!(
            matches!(&error, WasmError::Zero(ZeroLimit { limit, .. }) if *limit == expected),
            "{error:?}"
        );
    }
    for config in [
        config().with_max_memory(5 << 30),
        config().with_memory(2 << 30),
    ] {
        assert!(matches!(start(config), Err(WasmError::Memory { .. })));
    }
}

#[test]
fn a_hash_of_another_length_is_refused() {
    let wasm = v1::WasmProgram {
        hash: Bytes::from_static(b"short"),
        size: 1,
    };
    let spec = v1::TaskSpec {
        program: Some(v1::Program {
            program: Some(v1::program::Program::Wasm(wasm)),
        }),
        limits: None,
    };
    assert_eq!(
        executor().prepare(&spec).err(),
        Some(Unsupported::Module(ModuleError::NoHash { size: 5 }))
    );
}
