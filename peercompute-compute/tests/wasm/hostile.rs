//! Every module of the corpus ends with its own error, inside its limits, and the next task runs.

use std::time::Duration;

use bytes::Bytes;
use peercompute_compute::{
    Control, Limits, MAX_WEIGHT, ModuleError, TaskError, TaskInput, Unsupported, WasmExecutor,
};
use peercompute_rt::Runtime;

use crate::support::{corpus, executor, names, prepare, run, spec, wat};

/// What becomes of a module of the corpus, within a megabyte of output, 4 MiB of memory and ten million of fuel.
#[derive(Debug)]
enum Fate {
    /// Its job is refused.
    Refused(fn(&Unsupported) -> bool),
    /// Its task fails.
    Fails(fn(&TaskError) -> bool),
    /// It gives this.
    Gives(&'static [u8]),
}

macro_rules! refused {
    ($pattern:pat $(if $guard:expr)?) => {
        Fate::Refused(|error| matches!(error, Unsupported::Module($pattern) $(if $guard)?))
    };
}

macro_rules! fails {
    ($pattern:pat $(if $guard:expr)?) => {
        Fate::Fails(|error| matches!(error, $pattern $(if $guard)?))
    };
}

const FUEL: u64 = 10_000_000;
const MEMORY: u64 = 4 << 20;

fn limits() -> Limits {
    Limits::none()
        .with_memory(MEMORY)
        .with_fuel(FUEL)
        .with_max_output(1 << 20)
}

fn fate(name: &str) -> Fate {
    use TaskError as E;

    match name {
        "echo" => Fate::Gives(b"12345678"),
        "endless_loop" | "endless_start" | "endless_alloc" | "endless_fill" => {
            fails!(E::OutOfFuel { limit: FUEL })
        }
        "memory_bomb" | "memory_at_once" => fails!(E::OutOfMemory { limit: MEMORY, .. }),
        "memory_from_the_start" => refused!(ModuleError::MemoryTooSmall {
            needed: 0x8000_0000,
            limit: MEMORY,
        }),
        "memory_refused_and_minded" => Fate::Gives(&[1, 0, 0, 0]),
        "memory_own_maximum" => fails!(E::Trapped { .. }),
        "output_bomb" => fails!(E::OutputTooLarge {
            size: 0x7fff_ffff,
            limit: 0x10_0000,
        }),
        "output_real" => refused!(ModuleError::MemoryTooSmall { .. }),
        "output_outside" | "output_across_the_end" => {
            fails!(E::AbiViolated { reason } if reason.contains("inside its memory"))
        }
        "stack_bomb" => fails!(E::StackOverflow { .. }),
        "out_of_bounds" => fails!(E::Trapped { reason } if reason.contains("out of bounds memory")),
        "unreachable" => fails!(E::Trapped { reason } if reason.contains("unreachable")),
        "division_by_zero" => fails!(E::Trapped { reason } if reason.contains("divide by zero")),
        "wild_call" => fails!(E::Trapped { reason } if reason.contains("table")),
        "table_bomb" => fails!(E::OutOfMemory { reason, .. } if reason.contains("table")),
        "table_from_the_start" => refused!(ModuleError::TooMany {
            what: "elements in a table",
            ..
        }),
        "many_tables" => refused!(ModuleError::TooMany {
            what: "tables",
            count: 5,
            limit: 4,
        }),
        "many_memories" => refused!(ModuleError::TooMany {
            what: "memories",
            ..
        }),
        "alloc_gives_zero" => fails!(E::AbiViolated { reason } if reason.contains("alloc gave 0")),
        "alloc_outside" => fails!(E::AbiViolated { reason } if reason.contains("alloc gave 65535")),
        "gives_up" => fails!(E::GaveUp { message } if message == "the input has no bodies"),
        "gives_up_at_length" => {
            fails!(E::GaveUp { message } if !message.is_empty() && message.len() <= 512)
        }
        "gives_up_outside" => fails!(E::AbiViolated { .. }),
        "imports_a_function" => refused!(ModuleError::Import { module, name }
            if module == "wasi_snapshot_preview1" && name == "fd_write"),
        "imports_a_memory" => refused!(ModuleError::Import { .. }),
        "other_version" => refused!(ModuleError::AbiVersion { found: 2 }),
        "other_version_in_disguise" => {
            fails!(E::AbiViolated { reason } if reason.contains("abi_version gave 2"))
        }
        "no_run" | "no_memory" => refused!(ModuleError::MissingExport { .. }),
        "run_of_another_type" | "run_is_a_global" => {
            refused!(ModuleError::WrongExport { name: "run", .. })
        }
        "threads" | "relaxed_simd" | "wide_memory" | "host_references" => {
            refused!(ModuleError::Invalid { .. })
        }
        "nan_maker" => Fate::Gives(&CANONICAL),
        _ => panic!("{name}: what becomes of it is not said here"),
    }
}

/// What `nan_maker` gives for "12345678": NaNs with nothing but their highest bit, and the other numbers as they are.
const CANONICAL: [u8; 56] = {
    let mut bytes = [0; 56];
    let wide = f64_nan();
    let mut at = 0;
    while at < 32 {
        bytes[at] = wide[at % 8];
        at += 1;
    }
    let narrow = 0x7fc0_0000_u32.to_le_bytes();
    let infinite = 0x7f80_0000_u32.to_le_bytes();
    let mut i = 0;
    while i < 4 {
        bytes[32 + i] = narrow[i];
        bytes[36 + i] = infinite[i];
        bytes[40 + i] = narrow[i];
        bytes[44 + i] = narrow[i];
        bytes[48 + i] = narrow[i];
        bytes[52 + i] = infinite[i];
        i += 1;
    }
    bytes
};

const fn f64_nan() -> [u8; 8] {
    0x7ff8_0000_0000_0000_u64.to_le_bytes()
}

const INPUT: &[u8] = b"12345678";

/// Whether the executor still does what it should.
fn is_well(executor: &WasmExecutor) {
    let answer = run(executor, &corpus("echo"), INPUT.to_vec(), limits());
    assert_eq!(answer, Ok(Bytes::from_static(INPUT)));
}

#[test]
fn each_module_of_the_corpus_ends_with_its_error_and_the_next_task_runs() {
    let executor = executor();
    for name in names() {
        let fate = fate(&name);
        let prepared = prepare(&executor, &corpus(&name), limits());
        let told = match (&fate, prepared) {
            (Fate::Refused(is), Err(error)) => {
                assert!(is(&error), "{name}: {error:?}");
                error.to_string()
            }
            (Fate::Refused(_), Ok(_)) => panic!("{name} is not refused"),
            (_, Err(error)) => panic!("{name}: {error}"),
            (Fate::Fails(is), Ok(_)) => {
                let error =
                    run(&executor, &corpus(&name), INPUT.to_vec(), limits()).expect_err("it fails");
                assert!(is(&error), "{name}: {error:?}");
                error.to_string()
            }
            (Fate::Gives(expected), Ok(_)) => {
                let answer = run(&executor, &corpus(&name), INPUT.to_vec(), limits());
                assert_eq!(answer, Ok(Bytes::from_static(expected)), "{name}");
                continue;
            }
        };
        assert!(told.len() < 640, "{name}: {told}");
        is_well(&executor);
    }
}

#[test]
fn a_check_comes_to_the_same_as_preparing_does() {
    let executor = executor();
    for name in names() {
        let module = corpus(&name);
        let checked = WasmExecutor::check(&module);
        let prepared = prepare(&executor, &module, limits()).map(drop);
        match prepared {
            Ok(()) => assert!(checked.is_ok(), "{name}: {checked:?}"),
            // The limit is the job's.
            Err(Unsupported::Module(ModuleError::MemoryTooSmall { needed, .. })) => {
                assert_eq!(checked, Ok(needed), "{name}");
            }
            // Who says what is invalid says it in its own words.
            Err(Unsupported::Module(ModuleError::Invalid { .. })) => assert!(
                matches!(checked, Err(ModuleError::Invalid { .. })),
                "{name}: {checked:?}"
            ),
            Err(error) => {
                let checked = checked.map_err(Unsupported::Module);
                assert_eq!(checked, Err(error), "{name}");
            }
        }
    }
}

#[test]
fn without_fuel_to_speak_of_the_deadline_ends_what_does_not_end() {
    let executor = executor();
    let limit = Duration::from_millis(30);
    let limits = Limits::none().with_fuel(u64::MAX).with_run_time(limit);
    for name in [
        "endless_loop",
        "endless_start",
        "endless_alloc",
        "endless_fill",
    ] {
        let program = prepare(&executor, &corpus(name), limits).expect("it is prepared");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let control = Control::limited(limits, &Runtime::tokio());
        let error = program.run(TaskInput::new(INPUT), &control);
        assert_eq!(error, Err(TaskError::DeadlineExceeded { limit }), "{name}");
        is_well(&executor);
    }
}

#[test]
fn a_job_without_a_deadline_has_the_workers() {
    use peercompute_compute::WasmConfig;

    let limit = Duration::from_millis(20);
    let executor = crate::support::with(WasmConfig::new().with_deadline(limit));
    let error = run(
        &executor,
        &corpus("endless_loop"),
        INPUT.to_vec(),
        Limits::none(),
    );
    assert_eq!(error, Err(TaskError::DeadlineExceeded { limit }));
}

#[test]
fn a_cancelled_task_stops() {
    let executor = executor();
    let limits = Limits::none().with_fuel(u64::MAX);
    let program = prepare(&executor, &corpus("endless_loop"), limits).expect("it is prepared");
    let (control, canceller) = Control::with_canceller();
    let result = std::thread::scope(|scope| {
        let task = scope.spawn(|| program.run(TaskInput::new(INPUT), &control));
        // Sooner or later than the module begins: it does not end by itself, so both come to the same.
        canceller.cancel();
        task.join().expect("it does not panic")
    });
    // Fuel of u64::MAX lasts for centuries, so nothing else can have ended it.
    assert_eq!(result, Err(TaskError::Cancelled));
}

#[test]
fn a_module_longer_than_any_may_be_is_refused_before_it_is_looked_for() {
    let executor = executor();
    let size = (16 << 20) + 1;
    let too_large = Unsupported::Module(ModuleError::TooLarge {
        size,
        limit: 16 << 20,
    });
    let hash = peercompute_compute::ProgramHash::of(b"never seen");
    let spec = peercompute_proto::v1::TaskSpec {
        program: Some(hash.wasm(size)),
        limits: None,
    };
    use peercompute_compute::Executor as _;
    assert_eq!(executor.prepare(&spec).err(), Some(too_large));
}

/// A module whose section of code is what `bodies` says, each function of type () -> ().
fn module(bodies: impl Iterator<Item = Vec<u8>>) -> Bytes {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            bytes.push(low | if number > 0 { 0x80 } else { 0 });
            if number == 0 {
                return bytes;
            }
        }
    };
    let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len()), content].concat();
    let mut count = 0;
    let mut code = Vec::new();
    for body in bodies {
        count += 1;
        code.extend(leb(body.len()));
        code.extend(body);
    }
    let functions = [leb(count), vec![0; count]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(3, functions),
        section(10, [leb(count), code].concat()),
    ]
    .concat()
    .into()
}

fn too_many(bytes: &Bytes, expected: &str) {
    let error = prepare(&executor(), bytes, limits())
        .err()
        .expect("it is refused");
    assert!(
        matches!(&error, Unsupported::Module(ModuleError::TooMany { what, .. }) if *what == expected),
        "{error:?}"
    );
}

#[test]
fn a_module_of_too_many_functions_is_refused() {
    let bytes = module((0..50_001).map(|_| vec![0, 0x0b]));
    too_many(&bytes, "functions");
}

#[test]
fn a_module_with_a_giant_function_is_refused() {
    let mut body = vec![0];
    body.extend(std::iter::repeat_n(0x01, 300 << 10));
    body.push(0x0b);
    too_many(&module([body].into_iter()), "bytes in a function");
}

#[test]
fn a_few_bytes_that_declare_thousands_of_variables_are_refused() {
    // One group of 50,000, and two hundred and one functions with a group of 9,999.
    let one = vec![1, 0xd0, 0x86, 0x03, 0x7e, 0x0b];
    too_many(&module([one].into_iter()), "local variables in a function");
    let each = vec![1, 0x8f, 0x4e, 0x7e, 0x0b];
    too_many(&module(std::iter::repeat_n(each, 201)), "local variables");
}

#[test]
fn what_is_no_module_is_refused() {
    for bytes in [
        &b""[..],
        b"\0asm",
        b"\0asm\x01\0\0",
        b"\x7fELF\x02\x01\x01\0\0\0\0\0",
        b"\0asm\x02\0\0\0",
        // A component.
        b"\0asm\x0d\0\x01\0",
        // A section longer than the file.
        b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f",
    ] {
        let error = prepare(&executor(), &Bytes::from_static(bytes), limits()).err();
        assert!(
            matches!(
                error,
                Some(Unsupported::Module(
                    ModuleError::Invalid { .. } | ModuleError::MissingExport { .. }
                ))
            ),
            "{bytes:?}: {error:?}"
        );
    }
}

#[test]
fn a_module_that_is_cut_anywhere_is_refused() {
    let executor = executor();
    // One without names, which are a section that a module can do without.
    let whole = corpus("division_by_zero");
    assert!(prepare(&executor, &whole, limits()).is_ok());
    for end in 0..whole.len() {
        assert!(
            prepare(&executor, &whole.slice(..end), limits()).is_err(),
            "{end}"
        );
    }
}

#[test]
fn memory_and_fuel_are_what_the_job_says() {
    let executor = executor();
    let echo = corpus("echo");
    let input = vec![7; 200_000];
    // A page, and four for the input.
    let enough = Limits::none().with_memory(5 << 16);
    assert!(run(&executor, &echo, input.clone(), enough).is_ok());
    let short = Limits::none().with_memory((5 << 16) - 1);
    let error = run(&executor, &echo, input, short).expect_err("a page is missing");
    assert!(
        matches!(&error, TaskError::OutOfMemory { limit: 327_679, reason } if reason.contains("alloc gave 0")),
        "{error:?}"
    );
    let error = run(
        &executor,
        &echo,
        INPUT.to_vec(),
        Limits::none().with_fuel(3),
    );
    assert_eq!(error, Err(TaskError::OutOfFuel { limit: 3 }));
}

#[test]
fn a_job_that_asks_for_more_memory_than_there_is_for_any_is_refused() {
    let executor = executor();
    let limits = Limits::none().with_memory(2 << 30);
    assert_eq!(
        prepare(&executor, &corpus("echo"), limits).err(),
        Some(Unsupported::LimitTooLarge {
            what: "memory",
            asked: 2 << 30,
            granted: 1 << 30,
        })
    );
}

#[test]
fn nothing_of_a_task_is_there_for_the_next() {
    let executor = executor();
    // Counts in its memory and in a global, both of which begin anew with each task.
    let counter = wat(r#"(module
            (memory (export "memory") 3)
            (global $count (mut i32) (i32.const 0))
            (func (export "abi_version") (result i32) i32.const 1)
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "run") (param i32 i32) (result i64)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (i32.store (i32.const 150000) (i32.add (i32.load (i32.const 150000)) (global.get $count)))
                (i32.store (i32.const 0) (i32.load (i32.const 150000)))
                (drop (memory.grow (i32.const 1)))
                (i32.store (i32.const 4) (memory.size))
                i64.const 8))"#);
    for _ in 0..50 {
        let answer = run(&executor, &counter, INPUT.to_vec(), limits());
        assert_eq!(answer, Ok(Bytes::from_static(&[1, 0, 0, 0, 4, 0, 0, 0])));
    }
}

#[test]
fn an_input_without_bytes_is_given_as_such() {
    let executor = executor();
    let answer = run(&executor, &corpus("echo"), Vec::new(), limits());
    assert_eq!(answer, Ok(Bytes::new()));
}

#[test]
fn a_task_with_a_starting_state_is_refused() {
    let executor = executor();
    let input = TaskInput::new(INPUT).with_state(Some(1));
    let error = run(&executor, &corpus("echo"), input, limits());
    assert!(
        matches!(error, Err(TaskError::InvalidInput { .. })),
        "{error:?}"
    );
}

#[test]
fn a_job_that_says_another_length_than_the_module_has_is_refused() {
    use peercompute_compute::Executor as _;

    let executor = executor();
    let echo = corpus("echo");
    let mut spec = spec(&executor, &echo, limits());
    let hash = executor.store().insert(echo.clone());
    spec.program = Some(hash.wasm(7));
    assert_eq!(
        executor.prepare(&spec).err(),
        Some(Unsupported::Module(ModuleError::WrongSize {
            size: echo.len() as u64,
            told: 7,
        }))
    );
}

/// A module whose one function, besides those of the ABI, has these variables and this body; `$many` takes and gives a thousand numbers.
fn heavy(variables: usize, body: &str) -> Bytes {
    let numbers = "i32 ".repeat(1000);
    let given: String = (0..1000)
        .map(|index| format!("(local.get {index})"))
        .collect();
    wat(&format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "abi_version") (result i32) i32.const 1)
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "run") (param i32 i32) (result i64) i64.const 0)
            (type $many (func (param {numbers}) (result {numbers})))
            (func $many (type $many) {given})
            (func (local {}) {body}))"#,
        "i32 ".repeat(variables)
    ))
}

/// Nested loops, in the innermost of which all variables change.
fn loops(variables: usize, depth: usize) -> Bytes {
    let change = |index| format!("(local.set {index} (i32.add (local.get {index}) (i32.const 1)))");
    let changes: String = (0..variables).map(change).collect();
    let begin = "(loop ".repeat(depth);
    let end = "(br_if 0 (i32.const 0)))".repeat(depth);
    heavy(variables, &format!("{begin}{changes}{end}"))
}

#[test]
fn a_short_module_that_is_much_work_for_the_compiler_is_refused() {
    let zeros = "(i32.const 0)".repeat(1000);
    let drops = "drop ".repeat(1000);
    let calls = heavy(
        0,
        &format!("{zeros} {} {drops}", "call $many ".repeat(3000)),
    );
    let branch = "(block (type $many) i32.const 0 br_if 0) ";
    let branches = heavy(0, &format!("{zeros} {} {drops}", branch.repeat(3000)));
    let table = format!(
        "{}{zeros} (block (type $many) i32.const 0 br_table {} 0) {} {drops}",
        "(block (result ".to_owned() + &"i32 ".repeat(1000) + ") ",
        "0 1 ".repeat(500),
        ")",
    );
    let blocks = heavy(5000, &"(block)".repeat(2000));
    for (name, module) in [
        ("loops", loops(2000, 500)),
        ("calls", calls),
        ("branches", branches),
        ("table", heavy(0, &table)),
        ("blocks", blocks),
    ] {
        let error = prepare(&executor(), &module, limits());
        let Err(Unsupported::Module(ModuleError::TooMany { limit, .. })) = error.map(drop) else {
            panic!("{name} is not refused");
        };
        assert_eq!(limit, MAX_WEIGHT, "{name}");
    }
}

#[test]
fn loops_that_people_write_are_no_work_to_speak_of() {
    for (variables, depth) in [(0, 0), (50, 8), (200, 100)] {
        let prepared = prepare(&executor(), &loops(variables, depth), limits());
        assert!(
            prepared.is_ok(),
            "{variables} {depth}: {:?}",
            prepared.err()
        );
    }
}
