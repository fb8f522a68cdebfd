//! `cargo xtask blas-bench`: products of matrices on the processor, beside OpenBLAS on the same cores in the same run.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    context::Context,
    process::{output_of, run},
    python::python,
};

/// What measures OpenBLAS, in the version that it was written with.
const PACKAGES: [&str; 1] = ["numpy==2.4.6"];

/// Its program.
const SCRIPT: &str = "peercompute-gpu/examples/openblas.py";

/// How often both are measured, one after the other.
const ROUNDS: usize = 5;

/// Products in each of these.
const REPEATS: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Rows and columns of the matrices.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    side: u32,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// f32 operations a second, in thousand millions: medians of what the rounds reached at most.
#[derive(Debug, serde::Serialize)]
struct Row {
    threads: usize,
    peercompute: f64,
    openblas: f64,
    ratio: f64,
}

pub(crate) fn bench(context: &Context, arguments: &BenchArgs) -> Result<()> {
    let package = ["--package", "peercompute-gpu"];
    let mut build = context.cargo(["build", "--release", "--locked", "--example", "cpu-matmul"]);
    run(build.args(package))?;
    let python = python(context, "openblas", &PACKAGES, "numpy")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Vec::new();
    for threads in [1, cores] {
        if rows.last().is_none_or(|row: &Row| row.threads != threads) {
            rows.push(measure(context, &python, arguments.side, threads)?);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    println!("GFLOP/s, f32, {0} × {0}", arguments.side);
    println!(
        "{:>7} {:>12} {:>9} {:>6}",
        "threads", "peercompute", "OpenBLAS", "ratio"
    );
    for row in rows {
        println!(
            "{:>7} {:>12.0} {:>9.0} {:>6.2}",
            row.threads, row.peercompute, row.openblas, row.ratio
        );
    }
    Ok(())
}

fn measure(context: &Context, python: &Path, side: u32, threads: usize) -> Result<Row> {
    let (side, repeats) = (side.to_string(), REPEATS.to_string());
    let program = context.target.join("release/examples/cpu-matmul");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut own = context.command(&program);
        ours.push(most(&output_of(own.args([
            &side,
            &threads.to_string(),
            &repeats,
        ]))?)?);
        let mut blas = context.command(python);
        blas.arg("-B")
            .arg(context.root.join(SCRIPT))
            .args([&side, &repeats])
            .env("OPENBLAS_NUM_THREADS", threads.to_string());
        if has_avx512() {
            // What it takes by itself is slower here.
            blas.env("OPENBLAS_CORETYPE", "SkylakeX");
        }
        theirs.push(most(&output_of(&mut blas)?)?);
    }
    let (peercompute, openblas) = (median(ours), median(theirs));
    Ok(Row {
        threads,
        peercompute,
        openblas,
        ratio: peercompute / openblas,
    })
}

/// The first of the two figures that both programs print.
fn most(printed: &str) -> Result<f64> {
    let first = printed.split_whitespace().next();
    let figure = first.context("it printed no figure")?;
    match figure.parse() {
        Ok(rate) if rate > 0.0 => Ok(rate),
        _ => bail!("it printed {figure:?} for a rate"),
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_figure_counts() {
        assert_eq!(most("12.5 11.0\n").ok(), Some(12.5));
        for wrong in ["", "fast", "-1 2", "NaN 1"] {
            assert!(most(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
