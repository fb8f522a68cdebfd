//! The kernels on the processor: the reference, and what serves where no device is.

mod grid;
mod matmul;
mod particles;
mod reduce;

use thiserror::Error;

use crate::{
    Automaton, Edge, Grid, Matrix, ParticleRules, Particles, Reduction, ShapeError, Stencil, f16,
};

/// Threads that one [`Cpu`] may have.
pub const MAX_THREADS: usize = 1024;

/// The processor, with threads of its own. Clones share them. On wasm32 all runs on the calling thread.
#[derive(Clone, Debug)]
pub struct Cpu {
    threads: usize,
    #[cfg(not(target_arch = "wasm32"))]
    pool: Option<std::sync::Arc<rayon::ThreadPool>>,
}

/// Why there are no threads for the kernels.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuError {
    /// A number of threads out of range.
    #[error("{threads} threads for the kernels; give 1 to {MAX_THREADS}")]
    Threads {
        /// What was asked for.
        threads: usize,
    },
    /// The system starts no more threads.
    #[error(
        "{threads} threads for the kernels cannot be started ({message}); give fewer, or raise the limit of processes"
    )]
    Spawn {
        /// What was asked for.
        threads: usize,
        /// What the system says.
        message: String,
    },
}

impl Cpu {
    /// A thread for each core that the process may use, or the calling thread alone where none can be started.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(cores.min(MAX_THREADS)).unwrap_or_else(|_| Self::single())
    }

    /// The given number of threads; with 1 the calling thread does it all.
    ///
    /// # Errors
    ///
    /// [`CpuError`] if the number is 0 or above [`MAX_THREADS`], or the system does not start them.
    pub fn with_threads(threads: usize) -> Result<Self, CpuError> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(CpuError::Threads { threads });
        }
        Self::start(threads)
    }

    /// How many threads work on a kernel.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The product of two matrices.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if the left one has not as many columns as the right one has rows.
    pub fn matmul(&self, left: &Matrix, right: &Matrix) -> Result<Matrix, ShapeError> {
        matmul::matmul(self, left, right)
    }

    /// The product of two matrices of half precision, summed up in single precision.
    ///
    /// # Errors
    ///
    /// As [`matmul`](Self::matmul).
    pub fn matmul_f16(
        &self,
        left: &Matrix<f16>,
        right: &Matrix<f16>,
    ) -> Result<Matrix, ShapeError> {
        matmul::matmul_f16(self, left, right)
    }

    /// What `values` reduce to. The sum is taken in double precision.
    pub fn reduce(&self, reduction: Reduction, values: &[f32]) -> f32 {
        reduce::reduce(self, reduction, values)
    }

    /// The running sums of `values`, each with its own value included, taken in double precision.
    pub fn prefix_sum(&self, values: &[f32]) -> Vec<f32> {
        reduce::prefix_sum(self, values)
    }

    /// The grid after `steps` of a stencil.
    ///
    /// # Errors
    ///
    /// [`ShapeError::PlaneStencil`] if the stencil is for a plane and the grid a volume.
    pub fn stencil(
        &self,
        grid: Grid,
        stencil: &Stencil,
        edge: Edge,
        steps: usize,
    ) -> Result<Grid, ShapeError> {
        grid::stencil(self, grid, stencil, edge, steps)
    }

    /// The grid after `steps` of a cellular automaton. A cell that is not 0 is alive; what comes out is 0 or 1.
    ///
    /// # Errors
    ///
    /// [`ShapeError::NotAPlane`] if the grid is a volume.
    pub fn automaton(
        &self,
        grid: Grid<u32>,
        rule: Automaton,
        edge: Edge,
        steps: usize,
    ) -> Result<Grid<u32>, ShapeError> {
        grid::automaton(self, grid, rule, edge, steps)
    }

    /// The particles after `steps`.
    pub fn particles(
        &self,
        particles: Particles,
        rules: &ParticleRules,
        steps: usize,
    ) -> Particles {
        particles::particles(self, particles, rules, steps)
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Cpu {
    /// The calling thread alone.
    pub fn single() -> Self {
        Self {
            threads: 1,
            pool: None,
        }
    }

    fn start(threads: usize) -> Result<Self, CpuError> {
        if threads == 1 {
            return Ok(Self::single());
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("peercompute-cpu-{index}"))
            .build()
            .map_err(|error| CpuError::Spawn {
                threads,
                message: error.to_string(),
            })?;
        Ok(Self {
            threads,
            pool: Some(std::sync::Arc::new(pool)),
        })
    }

    /// Runs `work` where gemm finds the threads, and says how many there are.
    fn run<R: Send>(&self, work: impl FnOnce(usize) -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(|| work(self.threads)),
            None => work(1),
        }
    }

    /// Calls `work` with each chunk of `out` and the number of its first element.
    fn chunks<T: Send>(&self, out: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        use rayon::prelude::*;
        let chunk = chunk.max(1);
        match &self.pool {
            Some(pool) if out.len() > chunk => pool.install(|| {
                out.par_chunks_mut(chunk)
                    .enumerate()
                    .for_each(|(index, part)| work(index * chunk, part));
            }),
            _ => serial(out, chunk, work),
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl Cpu {
    /// The calling thread alone.
    pub fn single() -> Self {
        Self { threads: 1 }
    }

    fn start(_threads: usize) -> Result<Self, CpuError> {
        Ok(Self::single())
    }

    fn run<R>(&self, work: impl FnOnce(usize) -> R) -> R {
        work(1)
    }

    fn chunks<T>(&self, out: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T])) {
        serial(out, chunk.max(1), work);
    }
}

fn serial<T>(out: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T])) {
    for (index, part) in out.chunks_mut(chunk).enumerate() {
        work(index * chunk, part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_threads_and_too_many_are_refused() {
        for threads in [0, MAX_THREADS + 1] {
            let error = Cpu::with_threads(threads).expect_err("out of range");
            assert_eq!(error, CpuError::Threads { threads });
        }
    }
}
