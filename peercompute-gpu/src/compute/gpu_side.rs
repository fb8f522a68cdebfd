//! The kernels with the way there and back.

use bytemuck::{AnyBitPattern, NoUninit};

use crate::{
    Automaton, BufferUse, ComputeError, Edge, Gpu, GpuError, Grid, HotBuffer, Lifetime,
    MatmulShape, Matrix, ParticleRules, Particles, Reduction, ShapeError, Stencil, f16,
    matrix::product_shape,
};

/// Bytes that are read back at a time.
const PART: u64 = 16 << 20;

/// Steps that are handed to the device at a time, so that none of its submissions is long.
const STEPS: usize = 32;

fn upload<T: NoUninit>(gpu: &Gpu, values: &[T]) -> Result<HotBuffer, GpuError> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let whole = bytes.len() / 4 * 4;
    let buffer = create(gpu, bytes.len() as u64)?;
    if whole > 0 {
        gpu.write(&buffer, 0, &bytes[..whole])?;
    }
    if whole < bytes.len() {
        let mut last = [0; 4];
        last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
        gpu.write(&buffer, whole as u64, &last)?;
    }
    Ok(buffer)
}

fn create(gpu: &Gpu, bytes: u64) -> Result<HotBuffer, GpuError> {
    let bytes = bytes.next_multiple_of(4).max(4);
    gpu.create_buffer("", bytes, BufferUse::storage(), Lifetime::Handles)
}

async fn download<T: AnyBitPattern + NoUninit>(
    gpu: &Gpu,
    buffer: &HotBuffer,
    count: usize,
) -> Result<Vec<T>, GpuError> {
    let bytes = (count * size_of::<T>()) as u64;
    let mut values = Vec::with_capacity(count);
    let mut offset = 0;
    while offset < bytes {
        let part = PART.min(bytes - offset);
        let mapped = gpu.read(buffer, offset, part)?.await?;
        values.extend_from_slice(&mapped.to_vec_of::<T>());
        offset += part;
    }
    Ok(values)
}

pub(super) async fn matmul(
    gpu: &Gpu,
    left: &Matrix,
    right: &Matrix,
) -> Result<Matrix, ComputeError> {
    multiply(gpu, left, right, false).await
}

pub(super) async fn matmul_f16(
    gpu: &Gpu,
    left: &Matrix<f16>,
    right: &Matrix<f16>,
) -> Result<Matrix, ComputeError> {
    multiply(gpu, left, right, true).await
}

async fn multiply<T: NoUninit>(
    gpu: &Gpu,
    left: &Matrix<T>,
    right: &Matrix<T>,
    half: bool,
) -> Result<Matrix, ComputeError> {
    let [rows, depth, columns] = product_shape(left, right)?;
    if rows == 0 || depth == 0 || columns == 0 {
        return Ok(Matrix::zeros(rows, columns)?);
    }
    let shape = MatmulShape {
        rows,
        depth,
        columns,
    };
    let (left, right) = (upload(gpu, left.values())?, upload(gpu, right.values())?);
    let product = create(gpu, (rows * columns) as u64 * 4)?;
    let mut batch = gpu.batch()?;
    if half {
        batch.matmul_f16(shape, &left, &right, &product)?;
    } else {
        batch.matmul(shape, &left, &right, &product)?;
    }
    batch.submit()?;
    let values = download(gpu, &product, rows * columns).await?;
    Ok(Matrix::new(rows, columns, values)?)
}

pub(super) async fn reduce(
    gpu: &Gpu,
    reduction: Reduction,
    values: &[f32],
) -> Result<f32, ComputeError> {
    let input = upload(gpu, values)?;
    let output = create(gpu, 4)?;
    let mut batch = gpu.batch()?;
    batch.reduce(reduction, &input, values.len(), &output)?;
    batch.submit()?;
    Ok(download(gpu, &output, 1).await?[0])
}

pub(super) async fn prefix_sum(gpu: &Gpu, values: &[f32]) -> Result<Vec<f32>, ComputeError> {
    let input = upload(gpu, values)?;
    let output = create(gpu, input.bytes())?;
    let mut batch = gpu.batch()?;
    batch.prefix_sum(&input, values.len(), &output)?;
    batch.submit()?;
    Ok(download(gpu, &output, values.len()).await?)
}

pub(super) async fn stencil(
    gpu: &Gpu,
    grid: &Grid,
    stencil: &Stencil,
    edge: Edge,
    steps: usize,
) -> Result<Grid, ComputeError> {
    let [width, height, depth] = grid.size();
    stencil.check(depth)?;
    if grid.values().is_empty() || steps == 0 {
        return Ok(grid.clone());
    }
    let mut from = upload(gpu, grid.values())?;
    let mut to = create(gpu, from.bytes())?;
    let mut left = steps;
    while left > 0 {
        let mut batch = gpu.batch()?;
        for _ in 0..left.min(STEPS) {
            batch.stencil(stencil, edge, grid.size(), &from, &to)?;
            std::mem::swap(&mut from, &mut to);
        }
        batch.submit()?;
        left -= left.min(STEPS);
        gpu.finished()?.await?;
    }
    let values = download(gpu, &from, grid.values().len()).await?;
    Ok(Grid::volume(width, height, depth, values)?)
}

pub(super) async fn automaton(
    gpu: &Gpu,
    grid: &Grid<u32>,
    rule: Automaton,
    edge: Edge,
    steps: usize,
) -> Result<Grid<u32>, ComputeError> {
    let [width, height, depth] = grid.size();
    if depth > 1 {
        return Err(ShapeError::NotAPlane { depth }.into());
    }
    if grid.values().is_empty() || steps == 0 {
        return Ok(grid.clone());
    }
    let mut from = upload(gpu, grid.values())?;
    let mut to = create(gpu, from.bytes())?;
    let mut left = steps;
    while left > 0 {
        let mut batch = gpu.batch()?;
        for _ in 0..left.min(STEPS) {
            batch.automaton(rule, edge, [width, height], &from, &to)?;
            std::mem::swap(&mut from, &mut to);
        }
        batch.submit()?;
        left -= left.min(STEPS);
        gpu.finished()?.await?;
    }
    let values = download(gpu, &from, grid.values().len()).await?;
    Ok(Grid::plane(width, height, values)?)
}

pub(super) async fn particles(
    gpu: &Gpu,
    particles: &Particles,
    rules: &ParticleRules,
    steps: usize,
) -> Result<Particles, ComputeError> {
    if particles.is_empty() || steps == 0 {
        return Ok(particles.clone());
    }
    let widen = |vectors: &[[f32; 3]]| -> Vec<[f32; 4]> {
        vectors.iter().map(|&[x, y, z]| [x, y, z, 0.0]).collect()
    };
    let narrow = |vectors: Vec<[f32; 4]>| -> Vec<[f32; 3]> {
        vectors.into_iter().map(|[x, y, z, _]| [x, y, z]).collect()
    };
    let count = particles.len();
    let positions = upload(gpu, &widen(particles.positions()))?;
    let velocities = upload(gpu, &widen(particles.velocities()))?;
    let mut left = steps;
    while left > 0 {
        let mut batch = gpu.batch()?;
        for _ in 0..left.min(STEPS) {
            batch.particles(rules, count, &positions, &velocities)?;
        }
        batch.submit()?;
        left -= left.min(STEPS);
        gpu.finished()?.await?;
    }
    Ok(Particles::new(
        narrow(download(gpu, &positions, count).await?),
        narrow(download(gpu, &velocities, count).await?),
    )?)
}
