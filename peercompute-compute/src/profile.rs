//! What a machine is and how fast it computes, measured in about a second.

use std::{
    hint::black_box,
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

/// How long each score is measured. All of them together take less than two seconds.
pub const SCORE_TIME: Duration = Duration::from_millis(200);

/// Steps between two looks at the clock.
const STEPS: u64 = 1 << 14;

/// Bytes that are copied at a time for the memory's score: more than caches hold.
const COPIED: usize = 64 << 20;

/// What a machine is, and its [`Scores`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// Cores that this process may use.
    pub cores: usize,
    /// Bytes of memory that the machine has; none where it does not say.
    pub memory_bytes: Option<u64>,
    /// Its GPUs, the one that was measured first. None without the feature `gpu`.
    pub gpus: Vec<GpuProfile>,
    /// How fast it is.
    pub scores: Scores,
}

/// A GPU, or software that takes the part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuProfile {
    /// Its name, as its driver has it.
    pub name: String,
    /// Through which interface it is reached, such as `vulkan`.
    pub backend: String,
    /// Whether it is software that runs on the processor. Such a one is not measured.
    pub software: bool,
    /// Bytes of the largest buffer that a shader can see at once.
    pub max_buffer_bytes: u64,
    /// Bytes of memory that the invocations of a workgroup can share.
    pub max_workgroup_bytes: u32,
    /// Invocations in a workgroup.
    pub max_workgroup_invocations: u32,
}

/// How fast a machine computes, each measured for [`SCORE_TIME`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Scores {
    /// Steps of a 64-bit xorshift generator per millisecond, on one core.
    pub integer: f64,
    /// Additions and multiplications of 64-bit floats per millisecond, in eight independent sums on one core.
    pub float: f64,
    /// Bytes copied per second, in blocks of 64 MiB on one core.
    pub memory: f64,
    /// WebAssembly operations per millisecond over all cores: what a node tells others as its `ops_score`. 0 without the feature `wasm`.
    pub wasm: f64,
    /// Operations on 32-bit floats per second while the best GPU multiplies matrices of 1024 × 1024. 0 where there is none, and without the feature `gpu`.
    pub gpu: f64,
}

impl Profile {
    /// Looks at the machine and measures it. Takes about a second, and all cores for a part of it. It goes through the drivers of the machine's GPUs: whoever cannot trust them not to bring
    /// the process down does it in another one.
    pub fn measure() -> Self {
        let cores = cores();
        let (gpus, gpu) = gpus();
        Self {
            cores,
            memory_bytes: memory_bytes(),
            gpus,
            scores: Scores {
                integer: integer(),
                float: float(),
                memory: memory(),
                wasm: wasm(cores),
                gpu,
            },
        }
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What the system says of its memory. Only Linux is asked.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Repeats `steps`, which does so many things, and gives how many it does in a millisecond.
fn per_millisecond(mut steps: impl FnMut() -> u64) -> f64 {
    let begun = Instant::now();
    let mut done = 0;
    loop {
        done += steps();
        let took = begun.elapsed();
        if took >= SCORE_TIME {
            return done as f64 / (took.as_secs_f64() * 1e3);
        }
    }
}

fn integer() -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    per_millisecond(|| {
        for _ in 0..STEPS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        state = black_box(state);
        STEPS
    })
}

fn float() -> f64 {
    let mut sums = [1.0_f64; 8];
    per_millisecond(|| {
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = *sum * 0.999_999 + 1e-6;
            }
        }
        sums = black_box(sums);
        2 * STEPS * sums.len() as u64
    })
}

fn memory() -> f64 {
    let from = vec![1_u8; COPIED];
    let mut to = vec![0_u8; COPIED];
    let bytes = per_millisecond(|| {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        COPIED as u64
    });
    1e3 * bytes
}

#[cfg(not(feature = "wasm"))]
fn wasm(_cores: usize) -> f64 {
    0.0
}

/// An endless loop on every core, stopped by its fuel: what it spends is what it has done.
#[cfg(feature = "wasm")]
fn wasm(cores: usize) -> f64 {
    use crate::{
        Control, Executor as _, ProgramStore, TaskError, TaskInput, WasmConfig, WasmExecutor,
    };

    /// About a millisecond of it.
    const FUEL: u64 = 1_000_000;

    let config = WasmConfig::new().with_instances(cores).with_fuel(FUEL);
    let Ok(executor) = WasmExecutor::new(ProgramStore::new(), config) else {
        return 0.0;
    };
    let module = include_bytes!("profile/spin.wasm");
    let hash = executor.store().insert(module.as_slice().into());
    let spec = peercompute_proto::v1::TaskSpec {
        program: Some(hash.wasm(module.len() as u64)),
        limits: None,
    };
    let Ok(program) = executor.prepare(&spec) else {
        return 0.0;
    };
    let run = || {
        let control = Control::unlimited();
        per_millisecond(|| match program.run(TaskInput::default(), &control) {
            Err(TaskError::OutOfFuel { limit }) => limit,
            // It could not run: nothing was done.
            _ => 0,
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
        let each = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0.0));
        each.sum()
    })
}

#[cfg(not(feature = "gpu"))]
const fn gpus() -> (Vec<GpuProfile>, f64) {
    (Vec::new(), 0.0)
}

/// The GPUs, and the score of the one that is chosen where nobody chooses.
#[cfg(feature = "gpu")]
fn gpus() -> (Vec<GpuProfile>, f64) {
    use peercompute_gpu::{AdapterSummary, BackendChoice, Gpu, GpuOptions, adapters};
    use pollster::block_on;

    let mut found = block_on(adapters(BackendChoice::default()));
    let mut score = 0.0;
    if found.iter().any(|adapter| !adapter.software)
        && let Ok(gpu) = block_on(Gpu::open(GpuOptions::new()))
    {
        let chosen = gpu.adapter();
        found.sort_by_key(|adapter| *adapter != chosen);
        score = gpu.score(SCORE_TIME).unwrap_or_else(|error| {
            tracing::warn!(gpu = %chosen, %error, "the GPU cannot be measured");
            0.0
        });
    }
    let profile = |adapter: AdapterSummary| GpuProfile {
        name: adapter.name,
        backend: adapter.backend,
        software: adapter.software,
        max_buffer_bytes: adapter.max_binding,
        max_workgroup_bytes: adapter.max_workgroup_memory,
        max_workgroup_invocations: adapter.max_workgroup_invocations,
    };
    (found.into_iter().map(profile).collect(), score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_is_more_than_nothing() {
        let profile = Profile::measure();
        assert!(profile.cores > 0);
        let Scores {
            integer,
            float,
            memory,
            wasm,
            gpu,
        } = profile.scores;
        for score in [integer, float, memory] {
            assert!(score.is_finite() && score > 0.0, "{profile:?}");
        }
        assert_eq!(wasm > 0.0, cfg!(feature = "wasm"), "{profile:?}");
        let hardware = profile.gpus.iter().any(|gpu| !gpu.software);
        assert_eq!(gpu > 0.0, hardware, "{profile:?}");
    }

    #[cfg(feature = "wasm")]
    #[test]
    fn the_loop_is_what_its_text_says() {
        let text = include_str!("profile/spin.wat");
        let module = wat::parse_str(text).expect("it is well formed");
        assert!(!module.is_empty());
        // Names aside, which the text's own tool may add.
        assert!(module.starts_with(&include_bytes!("profile/spin.wasm")[..100]));
    }
}
