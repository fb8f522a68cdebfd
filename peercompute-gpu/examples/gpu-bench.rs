//! How fast the kernels are on a device, against what it can do: one table, or JSON with `--json`. It needs no network and no files, so that it can
//! be built on one machine and copied to another; `CONTRIBUTING.md` says how.
//!
//! `gpu-bench [--json] [--adapter NAME] [--software] [--small]`
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[cfg(not(target_arch = "wasm32"))]
mod bench {
    use std::{
        env,
        error::Error,
        time::{Duration, Instant},
    };

    use peercompute_gpu::{
        Automaton, Batch, BufferUse, Cpu, Edge, Gpu, GpuError, GpuOptions, HotBuffer,
        KernelBinding, Lifetime, MatmulShape, Matrix, ParticleRules, Reduction, Stencil, f16,
    };

    /// What is measured at full size, and what only shows that it runs.
    struct Sizes {
        matrix: usize,
        vector: usize,
        plane: usize,
        volume: usize,
        particles: usize,
        repeats: usize,
    }

    const FULL: Sizes = Sizes {
        matrix: 4096,
        vector: 64 << 20,
        plane: 8192,
        volume: 400,
        particles: 1 << 20,
        repeats: 20,
    };

    const SMALL: Sizes = Sizes {
        matrix: 256,
        vector: 1 << 20,
        plane: 1024,
        volume: 96,
        particles: 1 << 12,
        repeats: 3,
    };

    /// One line of the table.
    struct Row {
        name: &'static str,
        size: String,
        value: f64,
        unit: &'static str,
        /// Of the device's copy bandwidth, for what is bounded by it.
        share: Option<f64>,
    }

    type Outcome<T> = Result<T, Box<dyn Error>>;

    pub(super) fn main() -> Outcome<()> {
        let arguments: Vec<_> = env::args().skip(1).collect();
        let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
        let after = |wanted: &str| {
            let at = arguments.iter().position(|argument| argument == wanted)?;
            arguments.get(at + 1).cloned()
        };
        let mut options = GpuOptions::new()
            .with_software(has("--software"))
            .with_hot_bytes(16 << 30);
        if let Some(name) = after("--adapter") {
            options = options.with_name(name);
        }
        let gpu = pollster::block_on(Gpu::open(options))?;
        let sizes = if has("--small") { &SMALL } else { &FULL };
        let rows = measure(&gpu, sizes)?;
        if has("--json") {
            println!("{}", json(&gpu, &rows));
        } else {
            println!("{}", gpu.adapter());
            println!(
                "{:<28} {:>20} {:>14} {:<9} {:>9}",
                "kernel", "size", "value", "unit", "of copy"
            );
            for row in rows {
                let share = row.share.map(|share| format!("{:.0} %", share * 100.0));
                println!(
                    "{:<28} {:>20} {:>14.1} {:<9} {:>9}",
                    row.name,
                    row.size,
                    row.value,
                    row.unit,
                    share.unwrap_or_default()
                );
            }
        }
        Ok(())
    }

    fn json(gpu: &Gpu, rows: &[Row]) -> serde_json::Value {
        let adapter = gpu.adapter();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "kernel": row.name, "size": row.size, "value": row.value, "unit": row.unit, "share_of_copy": row.share,
                })
            })
            .collect();
        serde_json::json!({
            "adapter": adapter.name, "backend": adapter.backend, "driver": adapter.driver, "software": adapter.software, "rows": rows,
        })
    }

    fn buffer(gpu: &Gpu, words: usize) -> Result<HotBuffer, GpuError> {
        gpu.create_buffer(
            "",
            words as u64 * 4,
            BufferUse::storage(),
            Lifetime::Handles,
        )
    }

    fn noise(gpu: &Gpu, words: usize) -> Result<HotBuffer, GpuError> {
        let values: Vec<f32> = (0..words)
            .map(|at| (at * 7919 % 1009) as f32 / 1009.0 - 0.5)
            .collect();
        let buffer = buffer(gpu, words)?;
        for (part, values) in (0..).zip(values.chunks(16 << 20)) {
            gpu.write(&buffer, part * (64 << 20), bytemuck::cast_slice(values))?;
        }
        Ok(buffer)
    }

    /// The shortest of some runs: by the device's clock where it has one, else by ours around several in a row.
    fn time(
        gpu: &Gpu,
        repeats: usize,
        add: impl Fn(&mut Batch) -> Result<(), GpuError>,
    ) -> Result<Duration, GpuError> {
        let run = |times: usize| -> Result<Duration, GpuError> {
            let mut batch = gpu.batch()?;
            for _ in 0..times {
                add(&mut batch)?;
            }
            let begun = Instant::now();
            batch.submit()?;
            gpu.block_on(gpu.finished()?)?;
            Ok(begun.elapsed())
        };
        // The first ones compile, and wake the device.
        for _ in 0..2 {
            run(1)?;
        }
        if gpu.adapter().timestamps {
            let mut best = Duration::MAX;
            for _ in 0..repeats {
                let mut batch = gpu.profiled_batch()?;
                add(&mut batch)?;
                let spans = gpu.block_on(batch.submit()?.spans())?;
                best = best.min(spans.iter().map(|span| span.duration).sum());
            }
            if best > Duration::ZERO && best < Duration::MAX {
                return Ok(best);
            }
        }
        let times = repeats.max(1);
        let whole = (0..3).map(|_| run(times)).collect::<Result<Vec<_>, _>>()?;
        Ok(whole.into_iter().min().unwrap_or_default() / times as u32)
    }

    const COPY: &str = "
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> target_: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = (group.y * groups.x + group.x) * 256u + lane;
    if (at < arrayLength(&target_)) { target_[at] = source[at]; }
}
";

    fn measure(gpu: &Gpu, sizes: &Sizes) -> Outcome<Vec<Row>> {
        let mut rows = Vec::new();
        let repeats = sizes.repeats;
        let rate = |bytes: usize, took: Duration| bytes as f64 / took.as_secs_f64() / 1e9;

        // What the device copies, by its own command and by a kernel; the better one is the measure.
        let words = sizes.vector;
        let (from, to) = (noise(gpu, words)?, buffer(gpu, words)?);
        let kernel = gpu.kernel(COPY, "main")?;
        let groups = (words / 4).div_ceil(256);
        let high = groups.div_ceil(32_768);
        let workgroups = [groups.div_ceil(high) as u32, high as u32, 1];
        let took = time(gpu, repeats, |batch| {
            batch.dispatch(
                &kernel,
                &[KernelBinding::new(0, &from), KernelBinding::new(1, &to)],
                workgroups,
            )
        })?;
        let by_kernel = rate(words * 8, took);
        let begun = |times: usize| -> Result<Duration, GpuError> {
            let mut batch = gpu.batch()?;
            for _ in 0..times {
                batch.copy(&from, &to, words as u64 * 4)?;
            }
            let begun = Instant::now();
            batch.submit()?;
            gpu.block_on(gpu.finished()?)?;
            Ok(begun.elapsed())
        };
        begun(1)?;
        let by_command = rate(words * 8 * repeats, begun(repeats)?);
        let copy = by_kernel.max(by_command);
        let size = format!("{} MiB", (words * 4) >> 20);
        for (name, value) in [("copy, kernel", by_kernel), ("copy, command", by_command)] {
            rows.push(Row {
                name,
                size: size.clone(),
                value,
                unit: "GB/s",
                share: None,
            });
        }
        let mut bound = |name, size: String, bytes: usize, took: Duration| {
            let value = rate(bytes, took);
            rows.push(Row {
                name,
                size,
                value,
                unit: "GB/s",
                share: Some(value / copy),
            });
        };

        let one = buffer(gpu, 1)?;
        let took = time(gpu, repeats, |batch| {
            batch.reduce(Reduction::Sum, &from, words, &one)
        })?;
        bound("reduce, sum", size.clone(), words * 4, took);
        let took = time(gpu, repeats, |batch| batch.prefix_sum(&from, words, &to))?;
        bound("prefix sum", size, words * 8, took);

        let side = sizes.plane;
        let (from, to) = (noise(gpu, side * side)?, buffer(gpu, side * side)?);
        let heat = Stencil::heat_plane(0.2)?;
        let shape = [side, side, 1];
        let size = format!("{side} × {side}");
        let took = time(gpu, repeats, |batch| {
            batch.stencil(&heat, Edge::Keep, shape, &from, &to)
        })?;
        bound("stencil, 5 cells", size.clone(), side * side * 8, took);
        let nine = Stencil::plane([0.1; 9])?;
        let took = time(gpu, repeats, |batch| {
            batch.stencil(&nine, Edge::Keep, shape, &from, &to)
        })?;
        bound("stencil, 9 cells", size.clone(), side * side * 8, took);
        let life = Automaton::LIFE;
        let took = time(gpu, repeats, |batch| {
            batch.automaton(life, Edge::Wrap, [side, side], &from, &to)
        })?;
        bound("automaton", size, side * side * 8, took);
        let side = sizes.volume;
        let cells = side * side * side;
        let (from, to) = (noise(gpu, cells)?, buffer(gpu, cells)?);
        let heat = Stencil::heat_volume(0.1)?;
        let took = time(gpu, repeats, |batch| {
            batch.stencil(&heat, Edge::Keep, [side; 3], &from, &to)
        })?;
        bound(
            "stencil, 7 cells",
            format!("{side} × {side} × {side}"),
            cells * 8,
            took,
        );

        let side = sizes.matrix;
        let shape = MatmulShape {
            rows: side,
            depth: side,
            columns: side,
        };
        let (left, right, product) = (
            noise(gpu, side * side)?,
            noise(gpu, side * side)?,
            buffer(gpu, side * side)?,
        );
        let flops = 2.0 * (side as f64).powi(3);
        let size = format!("{side} × {side}");
        let took = time(gpu, repeats, |batch| {
            batch.matmul(shape, &left, &right, &product)
        })?;
        rows.push(Row {
            name: "matmul, f32",
            size: size.clone(),
            value: flops / took.as_secs_f64() / 1e9,
            unit: "GFLOP/s",
            share: None,
        });
        let halves = |seed: usize| -> Result<HotBuffer, GpuError> {
            let values: Vec<f16> = (0..side * side)
                .map(|at| f16::from_f32(((at + seed) % 17) as f32 / 17.0))
                .collect();
            gpu.upload(
                "",
                bytemuck::cast_slice(&values),
                BufferUse::storage(),
                Lifetime::Handles,
            )
        };
        let (left, right) = (halves(0)?, halves(5)?);
        let took = time(gpu, repeats, |batch| {
            batch.matmul_f16(shape, &left, &right, &product)
        })?;
        rows.push(Row {
            name: "matmul, f16 in, f32 sums",
            size,
            value: flops / took.as_secs_f64() / 1e9,
            unit: "GFLOP/s",
            share: None,
        });

        let count = sizes.particles;
        let space = (count as f32 / 4.0).cbrt();
        let rules = ParticleRules::new([space; 3], 1.0)?;
        let places: Vec<f32> = (0..count * 4)
            .map(|at| (at * 7919 % 10_007) as f32 / 10_007.0 * space)
            .collect();
        let positions = gpu.upload(
            "",
            bytemuck::cast_slice(&places),
            BufferUse::storage(),
            Lifetime::Handles,
        )?;
        let velocities = buffer(gpu, count * 4)?;
        let took = time(gpu, repeats, |batch| {
            batch.particles(&rules, count, &positions, &velocities)
        })?;
        rows.push(Row {
            name: "particles",
            size: format!("{count}"),
            value: count as f64 / took.as_secs_f64() / 1e6,
            unit: "M/s",
            share: None,
        });

        rows.push(round_trip(gpu, repeats)?);
        rows.push(on_the_processor(sizes.matrix.min(1024))?);
        Ok(rows)
    }

    /// 4 KiB there, doubled, and back.
    fn round_trip(gpu: &Gpu, repeats: usize) -> Outcome<Row> {
        const DOUBLE: &str = "
@group(0) @binding(0) var<storage, read_write> values: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { values[id.x] *= 2.0; }
";
        let kernel = gpu.kernel(DOUBLE, "main")?;
        let values = buffer(gpu, 1024)?;
        let contents = vec![1u8; 4096];
        let mut best = Duration::MAX;
        for _ in 0..repeats * 25 {
            let begun = Instant::now();
            gpu.write(&values, 0, &contents)?;
            let mut batch = gpu.batch()?;
            batch.dispatch(&kernel, &[KernelBinding::new(0, &values)], [4, 1, 1])?;
            batch.submit()?;
            let read = gpu.read(&values, 0, 4096)?;
            if gpu.block_on(read)?.len() != 4096 {
                return Err("the round trip brought something else".into());
            }
            best = best.min(begun.elapsed());
        }
        Ok(Row {
            name: "round trip",
            size: "4 KiB".to_owned(),
            value: best.as_secs_f64() * 1e6,
            unit: "µs",
            share: None,
        })
    }

    fn on_the_processor(side: usize) -> Outcome<Row> {
        let cpu = Cpu::new();
        let matrix = Matrix::new(
            side,
            side,
            (0..side * side).map(|at| (at % 13) as f32).collect(),
        )?;
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let begun = Instant::now();
            cpu.matmul(&matrix, &matrix)?;
            best = best.min(begun.elapsed());
        }
        let value = 2.0 * (side as f64).powi(3) / best.as_secs_f64() / 1e9;
        Ok(Row {
            name: "matmul, f32, processor",
            size: format!("{side} × {side}"),
            value,
            unit: "GFLOP/s",
            share: None,
        })
    }
}

fn main() -> std::process::ExitCode {
    #[cfg(not(target_arch = "wasm32"))]
    if let Err(error) = bench::main() {
        eprintln!("error: {error}");
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}
