//! How fast the processor multiplies matrices: `cpu-matmul [SIDE] [THREADS] [REPEATS]` prints the most and the median of f32 operations a second, in thousand millions.
//! `cargo xtask blas-bench` runs it beside OpenBLAS.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{error::Error, time::Instant};

use peercompute_gpu::{Cpu, Matrix};

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<usize>());
    let mut next = |default: usize| numbers.next().unwrap_or(Ok(default));
    let (side, threads, repeats) = (next(1024)?, next(1)?, next(20)?.max(1));
    let cpu = Cpu::with_threads(threads)?;
    let noise = |seed: usize| {
        let values = (0..side * side).map(|at| ((at + seed) * 7919 % 1009) as f32 / 1009.0 - 0.5);
        Matrix::new(side, side, values.collect())
    };
    let (left, right) = (noise(0)?, noise(1)?);
    let mut rates = Vec::with_capacity(repeats);
    for _ in 0..=repeats {
        let begun = Instant::now();
        let product = cpu.matmul(&left, &right)?;
        let took = begun.elapsed().as_secs_f64();
        std::hint::black_box(product);
        rates.push(2.0 * (side as f64).powi(3) / took / 1e9);
    }
    // The first one starts the threads.
    rates.remove(0);
    rates.sort_by(f64::total_cmp);
    println!("{:.1} {:.1}", rates[repeats - 1], rates[repeats / 2]);
    Ok(())
}
