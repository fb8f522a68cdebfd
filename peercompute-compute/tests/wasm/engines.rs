//! The same module gives the same bytes: twice, in another engine, and whatever the pool is throttled to.

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use peercompute_compute::{
    ABI_VERSION, Control, Limits, Pool, PoolConfig, Program, Returned, TaskError, TaskInput,
    Throttle, Work, input_place,
};
use peercompute_rt::Runtime;
use proptest::{collection::vec, prelude::*};

use crate::support::{corpus, executor, guests, names, prepare, program};

/// What the other engine grants a task: enough for every module here that ends.
const FUEL: u64 = 200_000_000;
const MAX_OUTPUT: u64 = 8 << 20;
const MEMORY: usize = 64 << 20;

/// Runs a task in wasmi, an interpreter that has nothing in common with wasmtime but the standard. `None` if it breaks off.
fn reference(module: &[u8], input: &[u8]) -> Option<Result<Bytes, TaskError>> {
    let mut config = wasmi::Config::default();
    config.consume_fuel(true);
    let engine = wasmi::Engine::new(&config);
    let module = wasmi::Module::new(&engine, module).expect("wasmtime took it");
    let limits = wasmi::StoreLimitsBuilder::new()
        .memory_size(MEMORY)
        .table_elements(65_536)
        .build();
    let mut store = wasmi::Store::new(&engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(FUEL).expect("fuel is on");
    let instance = wasmi::Linker::new(&engine)
        .instantiate_and_start(&mut store, &module)
        .ok()?;
    let memory = instance.get_memory(&store, "memory")?;
    let version = instance
        .get_typed_func::<(), i32>(&store, "abi_version")
        .ok()?;
    assert_eq!(version.call(&mut store, ()).ok()?, ABI_VERSION);
    let alloc = instance.get_typed_func::<u32, u32>(&store, "alloc").ok()?;
    let run = instance
        .get_typed_func::<(u32, u32), i64>(&store, "run")
        .ok()?;

    let length = u32::try_from(input.len()).expect("tests are smaller");
    let pointer = alloc.call(&mut store, length).ok()?;
    input_place(memory.data_mut(&mut store), pointer, length)
        .ok()?
        .copy_from_slice(input);
    let returned = run.call(&mut store, (pointer, length)).ok()?;
    Some(Returned::decode(returned).read(memory.data(&store), MAX_OUTPUT))
}

/// Runs a task here.
fn ours(program: &dyn Program, input: &[u8]) -> Result<Bytes, TaskError> {
    let input = TaskInput::new(Bytes::copy_from_slice(input));
    let clock = peercompute_rt::Simulation::new(1).runtime();
    program.run(input, &Control::limited(limits(), &clock))
}

fn limits() -> Limits {
    Limits::none()
        .with_max_output(MAX_OUTPUT)
        .with_fuel(FUEL / 100)
}

/// The modules that are good for something, with their names.
fn good() -> Vec<(String, Bytes)> {
    let own = ["mix", "float", "vector"].map(|name| (name.to_owned(), program(name)));
    let corpus = ["echo", "gives_up", "memory_refused_and_minded"]
        .map(|name| (name.to_owned(), corpus(name)));
    own.into_iter().chain(corpus).chain(guests()).collect()
}

/// Any bytes, or a few steps of a few bodies that are any numbers.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let bodies = (0..20_u32, any::<f64>(), vec(any::<[f64; 7]>(), 0..6));
    prop_oneof![
        vec(any::<u8>(), 0..700),
        bodies.prop_map(|(steps, step, bodies)| {
            let numbers = std::iter::once(&step).chain(bodies.as_flattened());
            let numbers = numbers.flat_map(|number| number.to_le_bytes());
            steps.to_le_bytes().into_iter().chain(numbers).collect()
        }),
    ]
}

#[test]
fn any_input_gives_the_same_twice_and_in_another_engine() {
    let executor = executor();
    for (name, module) in good() {
        let prepared = prepare(&executor, &module, Limits::none()).expect("it runs");
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 60,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&input(), |input| {
            let first = ours(&*prepared, &input);
            prop_assert_eq!(&first, &ours(&*prepared, &input));
            if matches!(first, Err(TaskError::OutOfFuel { .. })) {
                // Engines count differently, and an interpreter would take long to come to the same.
                return Ok(());
            }
            let there = reference(&module, &input);
            match &first {
                Ok(_) | Err(TaskError::GaveUp { .. }) => {
                    prop_assert_eq!(Some(&first), there.as_ref());
                }
                Err(_) => prop_assert!(there.is_none_or(|there| there.is_err())),
            }
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn what_breaks_off_here_breaks_off_in_another_engine() {
    let executor = executor();
    let input = b"12345678";
    for name in names() {
        // What the bits of a NaN are is left to each engine; wasmtime is told to make them canonical.
        if name == "nan_maker" || name == "other_version_in_disguise" {
            continue;
        }
        let module = corpus(&name);
        let limits = Limits::none().with_fuel(FUEL / 100);
        let Ok(prepared) = prepare(&executor, &module, limits) else {
            continue;
        };
        let clock = peercompute_rt::Simulation::new(1).runtime();
        let control = Control::limited(limits, &clock);
        let here = prepared.run(TaskInput::new(&input[..]), &control);
        match (here, reference(&module, input)) {
            (Ok(here), Some(Ok(there))) => assert_eq!(here, there, "{name}"),
            (Err(_), None | Some(Err(_))) => {}
            (here, there) => panic!("{name}: {here:?} here and {there:?} there"),
        }
    }
}

#[test]
fn the_same_comes_out_at_every_throttle() {
    let executor = executor();
    let inputs: Vec<Bytes> = (0..40_u8)
        .map(|seed| {
            (0..seed)
                .map(|at| seed.wrapping_mul(at))
                .collect::<Vec<_>>()
                .into()
        })
        .collect();
    for (name, module) in good() {
        let program = prepare(&executor, &module, limits()).expect("it runs");
        let expected: Vec<_> = inputs.iter().map(|input| ours(&*program, input)).collect();
        for (cores, percent) in [(1, 20), (4, 50), (8, 100)] {
            let config = PoolConfig::new()
                .with_cores(cores)
                .with_throttle(Throttle::percent(percent).expect("in range"));
            assert_eq!(
                pooled(config, &program, &inputs),
                expected,
                "{name} at {percent} %"
            );
        }
    }
}

/// Runs the tasks in a pool and gives their results in the order of their inputs.
fn pooled(
    config: PoolConfig,
    program: &Arc<dyn Program>,
    inputs: &[Bytes],
) -> Vec<Result<Bytes, TaskError>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let pool = Pool::start(config, Runtime::tokio()).expect("threads");
    let (client, mut completions) = pool.client();
    let mut work: Vec<_> = (0..)
        .zip(inputs)
        .map(|(tag, input)| Work::new(tag, program.clone(), input.clone()))
        .collect();
    client.submit(&mut work).expect("there is room");
    let mut done = Vec::new();
    while done.len() < inputs.len() {
        assert!(
            block_on(completions.next_batch(&mut done)),
            "the pool ended"
        );
    }
    done.sort_by_key(|completion| completion.tag);
    done.into_iter()
        .map(|completion| completion.result)
        .collect()
}
