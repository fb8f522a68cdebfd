use peercompute_gpu::{
    Automaton, Compute, Cpu, Edge, Grid, Matrix, ParticleRules, Particles, Place, Reduction,
    Stencil, f16, tolerance,
};
use proptest::prelude::*;

use crate::shared;

/// Cases of each property: the device is software.
const CASES: u32 = 24;

fn gpu() -> Compute {
    Compute::on_gpu(shared().clone())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    shared().block_on(future)
}

fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-1.0f32..1.0, count)
}

fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Matrix> {
    values(rows * columns).prop_map(move |values| Matrix::new(rows, columns, values).unwrap())
}

fn operands(rows: usize, depth: usize, columns: usize) -> impl Strategy<Value = (Matrix, Matrix)> {
    (matrix(rows, depth), matrix(depth, columns))
}

/// Odd sizes, multiples of four, single rows and columns, and nothing.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => 0usize..5,
        4 => 5usize..90,
        2 => (1usize..30).prop_map(|quads| 4 * quads),
    ]
}

fn edges() -> impl Strategy<Value = Edge> {
    prop_oneof![Just(Edge::Keep), Just(Edge::Zero), Just(Edge::Wrap)]
}

fn close(found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        prop_assert!(
            (found - expected).abs() <= tolerance,
            "number {}: {} is not {} by more than {}",
            at,
            found,
            expected,
            tolerance
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_product_is_that_of_the_processor(
        (left, right) in (side(), side(), side()).prop_flat_map(|(rows, depth, columns)| operands(rows, depth, columns)),
    ) {
        let gpu = gpu();
        let found = wait(gpu.matmul(&left, &right)).unwrap();
        let expected = Cpu::single().matmul(&left, &right).unwrap();
        prop_assert_eq!((found.rows(), found.columns()), (expected.rows(), expected.columns()));
        close(found.values(), expected.values(), tolerance::matmul(left.columns(), 1.0, 1.0))?;
        prop_assert_eq!(gpu.fallbacks(), 0);
    }

    #[test]
    fn a_product_of_half_precision_is_that_of_the_processor(
        (left, right) in (side(), side(), side()).prop_flat_map(|(rows, depth, columns)| operands(rows, depth, columns)),
    ) {
        let halve = |matrix: &Matrix| {
            let values = matrix.values().iter().map(|value| f16::from_f32(*value)).collect();
            Matrix::new(matrix.rows(), matrix.columns(), values).unwrap()
        };
        let (left, right) = (halve(&left), halve(&right));
        let gpu = gpu();
        let found = wait(gpu.matmul_f16(&left, &right)).unwrap();
        let expected = Cpu::single().matmul_f16(&left, &right).unwrap();
        close(found.values(), expected.values(), tolerance::matmul(left.columns(), 1.0, 1.0))?;
        prop_assert_eq!(gpu.fallbacks(), 0);
    }

    #[test]
    fn reductions_and_running_sums_are_those_of_the_processor(
        values in prop_oneof![Just(0usize), Just(1), 2usize..3000, Just(2048), 4000usize..20_000].prop_flat_map(values),
    ) {
        let gpu = gpu();
        let cpu = Cpu::single();
        for reduction in [Reduction::Min, Reduction::Max] {
            prop_assert_eq!(wait(gpu.reduce(reduction, &values)).unwrap(), cpu.reduce(reduction, &values));
        }
        let magnitude = values.iter().map(|value| value.abs()).sum();
        let tolerance = tolerance::sum(values.len(), magnitude);
        let sum = wait(gpu.reduce(Reduction::Sum, &values)).unwrap();
        close(&[sum], &[cpu.reduce(Reduction::Sum, &values)], tolerance)?;
        close(&wait(gpu.prefix_sum(&values)).unwrap(), &cpu.prefix_sum(&values), tolerance)?;
        prop_assert_eq!(gpu.fallbacks(), 0);
    }

    #[test]
    fn a_stencil_in_a_plane_is_that_of_the_processor(
        (width, height, values) in (side(), side()).prop_flat_map(|(width, height)| (Just(width), Just(height), values(width * height))),
        weights in prop::array::uniform9(prop_oneof![1 => Just(0.0f32), 2 => -0.2f32..0.2]),
        edge in edges(),
        steps in 0usize..4,
    ) {
        let grid = Grid::plane(width, height, values).unwrap();
        let stencil = Stencil::plane(weights).unwrap();
        let gpu = gpu();
        let found = wait(gpu.stencil(grid.clone(), &stencil, edge, steps)).unwrap();
        let expected = Cpu::single().stencil(grid, &stencil, edge, steps).unwrap();
        let weight = weights.iter().map(|weight| weight.abs()).sum();
        close(found.values(), expected.values(), tolerance::stencil(steps, weight, 1.0))?;
        prop_assert_eq!(gpu.fallbacks(), 0);
    }

    #[test]
    fn a_stencil_in_a_volume_is_that_of_the_processor(
        (size, values) in (0usize..70, 0usize..24, 0usize..6).prop_flat_map(|size| (Just(size), values(size.0 * size.1 * size.2))),
        weights in prop::array::uniform27(prop_oneof![1 => Just(0.0f32), 1 => -0.2f32..0.2]),
        edge in edges(),
    ) {
        let grid = Grid::volume(size.0, size.1, size.2, values).unwrap();
        let stencil = Stencil::volume(weights).unwrap();
        let gpu = gpu();
        let found = wait(gpu.stencil(grid.clone(), &stencil, edge, 2)).unwrap();
        let expected = Cpu::single().stencil(grid, &stencil, edge, 2).unwrap();
        let weight = weights.iter().map(|weight| weight.abs()).sum();
        close(found.values(), expected.values(), tolerance::stencil(2, weight, 1.0))?;
        prop_assert_eq!(gpu.fallbacks(), 0);
    }

    #[test]
    fn an_automaton_is_that_of_the_processor_bit_for_bit(
        (width, height, cells) in (side(), side()).prop_flat_map(|(width, height)| {
            (Just(width), Just(height), prop::collection::vec(0u32..3, width * height))
        }),
        rule in prop::sample::select(vec!["B3/S23", "B36/S23", "B0/S8", "B1357/S02468"]),
        edge in edges(),
        steps in 0usize..5,
    ) {
        let grid = Grid::plane(width, height, cells).unwrap();
        let rule: Automaton = rule.parse().unwrap();
        let gpu = gpu();
        let found = wait(gpu.automaton(grid.clone(), rule, edge, steps)).unwrap();
        let expected = Cpu::single().automaton(grid, rule, edge, steps).unwrap();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(gpu.fallbacks(), 0);
    }

    #[test]
    fn a_step_of_particles_is_that_of_the_processor(
        bodies in prop::collection::vec((prop::array::uniform3(0.05f32..9.95), prop::array::uniform3(-1.0f32..1.0)), 0..200),
        radius in 0.4f32..4.0,
        gravity in -2.0f32..2.0,
    ) {
        let rules = ParticleRules::new([10.0, 10.0, 10.0], radius).unwrap()
            .with_stiffness(3.0)
            .with_damping(0.1)
            .with_gravity([0.0, gravity, 0.0]);
        let (positions, velocities): (Vec<_>, Vec<_>) = bodies.into_iter().unzip();
        let particles = Particles::new(positions, velocities).unwrap();
        let gpu = gpu();
        let found = wait(gpu.particles(particles.clone(), &rules, 1)).unwrap();
        let expected = Cpu::single().particles(particles, &rules, 1);
        let tolerance = tolerance::particles(found.len(), 3.0 * 0.01, 10.0);
        close(found.positions().as_flattened(), expected.positions().as_flattened(), tolerance)?;
        close(found.velocities().as_flattened(), expected.velocities().as_flattened(), tolerance)?;
        prop_assert_eq!(gpu.fallbacks(), 0);
    }
}

/// Deterministic numbers between -1 and 1.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_product_of_many_large_tiles_is_that_of_the_processor() {
    // 128 tiles of 128 × 128 in a strip, and an edge that no tile fits.
    let (rows, depth, columns) = (8 * 128 + 4, 36, 16 * 128 + 8);
    let left = Matrix::new(rows, depth, noise(rows * depth)).unwrap();
    let right = Matrix::new(depth, columns, noise(depth * columns)).unwrap();
    let found = wait(gpu().matmul(&left, &right)).unwrap();
    let expected = Cpu::single().matmul(&left, &right).unwrap();
    let tolerance = tolerance::matmul(depth, 1.0, 1.0);
    let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= tolerance;
    assert!(found.values().iter().zip(expected.values()).all(near));
}

#[test]
fn running_sums_of_more_than_one_level_are_those_of_the_processor() {
    // Two levels of blocks of 2048, and some.
    let values = noise(2048 * 2048 + 77);
    let found = wait(gpu().prefix_sum(&values)).unwrap();
    let expected = Cpu::single().prefix_sum(&values);
    let tolerance = tolerance::sum(values.len(), values.iter().map(|value| value.abs()).sum());
    let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= tolerance;
    assert!(found.iter().zip(&expected).all(near));
    let sum = wait(gpu().reduce(Reduction::Sum, &values)).unwrap();
    assert!((sum - expected.last().unwrap()).abs() <= tolerance);
}

#[test]
fn arguments_that_do_not_fit_are_an_error_on_the_device_too() {
    let gpu = gpu();
    let matrix = Matrix::zeros(2, 3).unwrap();
    assert!(wait(gpu.matmul(&matrix, &matrix)).is_err());
    let volume = Grid::volume(2, 2, 2, vec![0.0; 8]).unwrap();
    assert!(wait(gpu.stencil(volume, &Stencil::laplace_plane(), Edge::Keep, 1)).is_err());
    assert_eq!(gpu.fallbacks(), 0);
}

#[test]
fn the_front_says_where_it_computes() {
    assert!(matches!(gpu().place(), Place::Gpu(adapter) if !adapter.name.is_empty()));
    let cpu = Compute::on_cpu(Cpu::with_threads(2).unwrap());
    assert_eq!(cpu.place(), Place::Cpu { threads: 2 });
}
