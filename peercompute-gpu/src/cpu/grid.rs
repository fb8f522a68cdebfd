use super::Cpu;
use crate::{Automaton, Edge, Grid, ShapeError, Stencil, stencil::Tap};

/// Cells that one thread takes at a time, in whole rows.
const CHUNK: usize = 1 << 14;

pub(super) fn stencil(
    cpu: &Cpu,
    grid: Grid,
    stencil: &Stencil,
    edge: Edge,
    steps: usize,
) -> Result<Grid, ShapeError> {
    let size = grid.size();
    stencil.check(size[2])?;
    let taps = stencil.taps();
    let volume = stencil.is_volume();
    run(cpu, grid, steps, |cells, row, out| {
        let (y, z) = (row % size[1], row / size[1]);
        let own = &cells[row * size[0]..][..size[0]];
        let on_edge = |at: usize, size: usize| at == 0 || at + 1 == size;
        if edge == Edge::Keep && (on_edge(y, size[1]) || volume && on_edge(z, size[2])) {
            out.copy_from_slice(own);
            return;
        }
        out.fill(0.0);
        for tap in &taps {
            let (Some(y), Some(z)) = (
                edge.step(y, tap.offset[1], size[1]),
                edge.step(z, tap.offset[2], size[2]),
            ) else {
                continue;
            };
            add(
                out,
                &cells[(z * size[1] + y) * size[0]..][..size[0]],
                tap,
                edge,
            );
        }
        if edge == Edge::Keep {
            out[0] = own[0];
            out[size[0] - 1] = own[size[0] - 1];
        }
    })
}

/// Adds a row of neighbours to a row of sums.
fn add(out: &mut [f32], row: &[f32], tap: &Tap, edge: Edge) {
    let weight = tap.weight;
    let width = row.len();
    let join = |out: &mut [f32], row: &[f32]| {
        for (sum, value) in out.iter_mut().zip(row) {
            *sum += weight * value;
        }
    };
    match tap.offset[0] {
        -1 => {
            join(&mut out[1..], row);
            if edge == Edge::Wrap {
                out[0] += weight * row[width - 1];
            }
        }
        0 => join(out, row),
        _ => {
            join(out, &row[1..]);
            if edge == Edge::Wrap {
                out[width - 1] += weight * row[0];
            }
        }
    }
}

pub(super) fn automaton(
    cpu: &Cpu,
    grid: Grid<u32>,
    rule: Automaton,
    edge: Edge,
    steps: usize,
) -> Result<Grid<u32>, ShapeError> {
    let [width, height, depth] = grid.size();
    if depth > 1 {
        return Err(ShapeError::NotAPlane { depth });
    }
    run(cpu, grid, steps, |cells, y, out| {
        let alive = |x: Option<usize>, y: Option<usize>| match (x, y) {
            (Some(x), Some(y)) => u32::from(cells[y * width + x] != 0),
            _ => 0,
        };
        for (x, cell) in out.iter_mut().enumerate() {
            let own = alive(Some(x), Some(y)) == 1;
            let inside = x > 0 && y > 0 && x + 1 < width && y + 1 < height;
            if edge == Edge::Keep && !inside {
                *cell = u32::from(own);
                continue;
            }
            let mut neighbours = 0;
            for dy in -1..=1 {
                let y = edge.step(y, dy, height);
                for dx in -1..=1 {
                    if (dx, dy) != (0, 0) {
                        neighbours += alive(edge.step(x, dx, width), y);
                    }
                }
            }
            *cell = u32::from(rule.next(own, neighbours));
        }
    })
}

/// Makes each row anew from all cells, `steps` times.
fn run<T: Copy + Default + Send + Sync>(
    cpu: &Cpu,
    grid: Grid<T>,
    steps: usize,
    row: impl Fn(&[T], usize, &mut [T]) + Sync,
) -> Result<Grid<T>, ShapeError> {
    let [width, height, depth] = grid.size();
    let mut from = grid.into_values();
    if !from.is_empty() && steps > 0 {
        let mut to = vec![T::default(); from.len()];
        let chunk = (CHUNK / width).max(1) * width;
        for _ in 0..steps {
            cpu.chunks(&mut to, chunk, |start, part| {
                for (index, out) in part.chunks_mut(width).enumerate() {
                    row(&from, start / width + index, out);
                }
            });
            std::mem::swap(&mut from, &mut to);
        }
    }
    Grid::volume(width, height, depth, from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, cell by cell.
    fn slow(grid: &Grid, stencil: &Stencil, edge: Edge) -> Vec<f32> {
        let [width, height, depth] = grid.size();
        let volume = stencil.is_volume();
        let mut cells = Vec::new();
        for z in 0..depth {
            for y in 0..height {
                for x in 0..width {
                    let on_edge = |at: usize, size: usize| at == 0 || at + 1 == size;
                    let kept =
                        on_edge(x, width) || on_edge(y, height) || volume && on_edge(z, depth);
                    if edge == Edge::Keep && kept {
                        cells.push(grid.at(x, y, z).expect("inside"));
                        continue;
                    }
                    let mut sum = 0.0f64;
                    for tap in stencil.taps() {
                        let there = (
                            edge.step(x, tap.offset[0], width),
                            edge.step(y, tap.offset[1], height),
                            edge.step(z, tap.offset[2], depth),
                        );
                        if let (Some(x), Some(y), Some(z)) = there {
                            sum += f64::from(tap.weight)
                                * f64::from(grid.at(x, y, z).expect("inside"));
                        }
                    }
                    cells.push(sum as f32);
                }
            }
        }
        cells
    }

    fn edges() -> impl Strategy<Value = Edge> {
        prop_oneof![Just(Edge::Keep), Just(Edge::Zero), Just(Edge::Wrap)]
    }

    proptest! {
        #[test]
        fn a_step_of_a_volume_is_the_weighted_sums(
            (size, values) in (0usize..7, 0usize..7, 0usize..5).prop_flat_map(|size| {
                (Just(size), prop::collection::vec(-1.0f32..1.0, size.0 * size.1 * size.2))
            }),
            weights in prop::array::uniform27(-1.0f32..1.0),
            edge in edges(),
        ) {
            let grid = Grid::volume(size.0, size.1, size.2, values).expect("as many as it needs");
            let stencil = Stencil::volume(weights).expect("finite");
            let expected = slow(&grid, &stencil, edge);
            let found = Cpu::with_threads(2).expect("few").stencil(grid, &stencil, edge, 1).expect("it fits");
            for (found, expected) in found.values().iter().zip(expected) {
                prop_assert!((found - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_blinker_blinks() {
        let row = vec![
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let grid = Grid::plane(5, 5, row).expect("25 cells");
        let cpu = Cpu::single();
        for edge in [Edge::Keep, Edge::Zero, Edge::Wrap] {
            let after = cpu
                .automaton(grid.clone(), Automaton::LIFE, edge, 1)
                .expect("a plane");
            let alive: Vec<_> = (0..25).filter(|at| after.values()[*at] == 1).collect();
            assert_eq!(alive, [7, 12, 17], "{edge:?}");
        }
    }

    #[test]
    fn a_plane_stencil_on_a_volume_is_refused() {
        let grid = Grid::volume(1, 1, 2, vec![0.0; 2]).expect("two cells");
        let error = Cpu::single()
            .stencil(grid, &Stencil::laplace_plane(), Edge::Keep, 1)
            .expect_err("two planes");
        assert_eq!(error, ShapeError::PlaneStencil { depth: 2 });
    }
}
