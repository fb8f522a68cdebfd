//! How fast a device is, in one number.

use std::time::{Duration, Instant};

use super::{BufferUse, Gpu, GpuError, HotBuffer, Lifetime, MatmulShape};

/// Rows and columns of the matrices.
const SIDE: usize = 1024;

/// Operations of one product: a multiplication and an addition for each.
const OPERATIONS: f64 = 2.0 * (SIDE * SIDE * SIDE) as f64;

/// The most products between two looks at the clock.
const MAX_PRODUCTS: u32 = 256;

impl Gpu {
    /// How many f32 operations a second the device does while it multiplies matrices of 1024 × 1024 that lie on it. It is measured for about `time`, and for one product at least, however
    /// short that is; another one before makes the kernel ready and does not count. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`GpuError`] when the device is lost or refuses the 12 MiB that this takes.
    pub fn score(&self, time: Duration) -> Result<f64, GpuError> {
        let matrix = || -> Result<HotBuffer, GpuError> {
            let bytes = (SIDE * SIDE * size_of::<f32>()) as u64;
            self.create_buffer("", bytes, BufferUse::storage(), Lifetime::Handles)
        };
        let (left, right, product) = (matrix()?, matrix()?, matrix()?);
        let shape = MatmulShape {
            rows: SIDE,
            depth: SIDE,
            columns: SIDE,
        };
        let run = |products: u32| -> Result<Duration, GpuError> {
            let mut batch = self.batch()?;
            for _ in 0..products {
                batch.matmul(shape, &left, &right, &product)?;
            }
            let begun = Instant::now();
            batch.submit()?;
            self.block_on(self.finished()?)?;
            Ok(begun.elapsed())
        };
        run(1)?;
        let (mut products, mut done, mut taken) = (1, 0, Duration::ZERO);
        loop {
            let took = run(products)?;
            taken += took;
            done += products;
            if taken >= time {
                break;
            }
            if took < time / 8 {
                products = (2 * products).min(MAX_PRODUCTS);
            }
        }
        Ok(f64::from(done) * OPERATIONS / taken.as_secs_f64())
    }
}
