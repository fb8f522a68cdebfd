//! One front for both: the device where there is one, else the processor.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Automaton, ComputeError, Cpu, Edge, Grid, Matrix, ParticleRules, Particles, Reduction, Stencil,
    f16,
};

/// Where a [`Compute`] computes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// On a device.
    #[cfg(feature = "gpu")]
    Gpu(crate::AdapterSummary),
    /// On the processor.
    Cpu {
        /// With so many threads.
        threads: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "gpu")]
            Self::Gpu(adapter) => write!(formatter, "GPU {adapter}"),
            Self::Cpu { threads } => write!(formatter, "CPU with {threads} threads"),
        }
    }
}

/// The kernels, on the device where there is one, else on the processor: the same results within [`tolerance`](crate::tolerance). What a device
/// cannot hold, or cannot do because it was lost, the processor does instead; [`fallbacks`](Self::fallbacks) counts that. Clones share all.
///
/// Arguments travel to the device and results back; for work that stays there, use the same kernels in a [`Batch`](crate::Batch).
#[derive(Clone, Debug)]
pub struct Compute {
    #[cfg(feature = "gpu")]
    gpu: Option<crate::Gpu>,
    cpu: Cpu,
    fallbacks: Arc<AtomicU64>,
}

impl Compute {
    /// The fastest device that is hardware, else all cores. A device that is software is slower than the cores are, and is not taken.
    pub async fn auto() -> Self {
        #[cfg(feature = "gpu")]
        match crate::Gpu::open(crate::GpuOptions::new()).await {
            Ok(gpu) => return Self::on_gpu(gpu),
            Err(error) => tracing::info!(%error, "computing on the processor"),
        }
        Self::on_cpu(Cpu::new())
    }

    /// On the processor alone.
    pub fn on_cpu(cpu: Cpu) -> Self {
        Self {
            #[cfg(feature = "gpu")]
            gpu: None,
            cpu,
            fallbacks: Arc::default(),
        }
    }

    /// On this device, and on all cores for what it cannot hold.
    #[cfg(feature = "gpu")]
    pub fn on_gpu(gpu: crate::Gpu) -> Self {
        Self {
            gpu: Some(gpu),
            ..Self::on_cpu(Cpu::new())
        }
    }

    /// Where it computes.
    pub fn place(&self) -> Place {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu
            && gpu.lost().is_none()
        {
            return Place::Gpu(gpu.adapter());
        }
        Place::Cpu {
            threads: self.cpu.threads(),
        }
    }

    /// The device, where there is one.
    #[cfg(feature = "gpu")]
    pub fn gpu(&self) -> Option<&crate::Gpu> {
        self.gpu.as_ref()
    }

    /// The processor.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// How many kernels ran on the processor although there is a device.
    pub fn fallbacks(&self) -> u64 {
        self.fallbacks.load(Ordering::Relaxed)
    }

    /// The product of two matrices.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Shape`] if the left one has not as many columns as the right one has rows.
    pub async fn matmul(&self, left: &Matrix, right: &Matrix) -> Result<Matrix, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::matmul(gpu, left, right).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.matmul(left, right)?)
    }

    /// The product of two matrices of half precision, summed up in single precision.
    ///
    /// # Errors
    ///
    /// As [`matmul`](Self::matmul).
    pub async fn matmul_f16(
        &self,
        left: &Matrix<f16>,
        right: &Matrix<f16>,
    ) -> Result<Matrix, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::matmul_f16(gpu, left, right).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.matmul_f16(left, right)?)
    }

    /// What `values` reduce to.
    ///
    /// # Errors
    ///
    /// None that the processor does not make up for.
    pub async fn reduce(&self, reduction: Reduction, values: &[f32]) -> Result<f32, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::reduce(gpu, reduction, values).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.reduce(reduction, values))
    }

    /// The running sums of `values`, each with its own value included.
    ///
    /// # Errors
    ///
    /// None that the processor does not make up for.
    pub async fn prefix_sum(&self, values: &[f32]) -> Result<Vec<f32>, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::prefix_sum(gpu, values).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.prefix_sum(values))
    }

    /// The grid after `steps` of a stencil.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Shape`] if the stencil is for a plane and the grid a volume.
    pub async fn stencil(
        &self,
        grid: Grid,
        stencil: &Stencil,
        edge: Edge,
        steps: usize,
    ) -> Result<Grid, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::stencil(gpu, &grid, stencil, edge, steps).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.stencil(grid, stencil, edge, steps)?)
    }

    /// The grid after `steps` of a cellular automaton. A cell that is not 0 is alive; after a step it is 0 or 1.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Shape`] if the grid is a volume.
    pub async fn automaton(
        &self,
        grid: Grid<u32>,
        rule: Automaton,
        edge: Edge,
        steps: usize,
    ) -> Result<Grid<u32>, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::automaton(gpu, &grid, rule, edge, steps).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.automaton(grid, rule, edge, steps)?)
    }

    /// The particles after `steps`.
    ///
    /// # Errors
    ///
    /// None that the processor does not make up for.
    pub async fn particles(
        &self,
        particles: Particles,
        rules: &ParticleRules,
        steps: usize,
    ) -> Result<Particles, ComputeError> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            match gpu_side::particles(gpu, &particles, rules, steps).await {
                Err(error) => self.fall_back(error)?,
                done => return done,
            }
        }
        Ok(self.cpu.particles(particles, rules, steps))
    }

    /// Passes on what is wrong with the arguments; the rest the processor makes up for.
    #[cfg(feature = "gpu")]
    fn fall_back(&self, error: ComputeError) -> Result<(), ComputeError> {
        match error {
            ComputeError::Gpu(error) => {
                tracing::warn!(%error, "the processor does it instead");
                self.fallbacks.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            error => Err(error),
        }
    }
}

#[cfg(feature = "gpu")]
mod gpu_side;
