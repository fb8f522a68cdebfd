use super::Cpu;
use crate::{ParticleRules, Particles};

/// Particles that one thread takes at a time.
const CHUNK: usize = 512;

pub(super) fn particles(
    cpu: &Cpu,
    mut particles: Particles,
    rules: &ParticleRules,
    steps: usize,
) -> Particles {
    let cells = rules.cells();
    for _ in 0..steps {
        if particles.is_empty() {
            break;
        }
        let grid = Sorted::new(&particles, rules, cells);
        let mut next = vec![([0.0; 3], [0.0; 3]); particles.len()];
        cpu.chunks(&mut next, CHUNK, |start, part| {
            for (index, out) in part.iter_mut().enumerate() {
                *out = step(&particles, &grid, rules, start + index);
            }
        });
        let (positions, velocities) = particles.parts_mut();
        for (at, (position, velocity)) in next.into_iter().enumerate() {
            positions[at] = position;
            velocities[at] = velocity;
        }
    }
    particles
}

/// The particles by the cell of the neighbour grid that they are in.
struct Sorted {
    cells: [usize; 3],
    /// Where the particles of each cell begin in `order`, and at last the end.
    starts: Vec<u32>,
    order: Vec<u32>,
}

impl Sorted {
    fn new(particles: &Particles, rules: &ParticleRules, cells: [usize; 3]) -> Self {
        let place = |position: [f32; 3]| {
            let [x, y, z] = rules.cell(position, cells);
            (z * cells[1] + y) * cells[0] + x
        };
        let mut starts = vec![0u32; cells.iter().product::<usize>() + 1];
        for &position in particles.positions() {
            starts[place(position) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0; particles.len()];
        for (index, &position) in particles.positions().iter().enumerate() {
            let slot = &mut next[place(position)];
            order[*slot as usize] = index as u32;
            *slot += 1;
        }
        Self {
            cells,
            starts,
            order,
        }
    }

    /// The particles in the cell of `position` and those around it.
    fn near(&self, position: [f32; 3], rules: &ParticleRules) -> impl Iterator<Item = usize> {
        let at = rules.cell(position, self.cells);
        let range = move |axis: usize| {
            at[axis].saturating_sub(1)..=(at[axis] + 1).min(self.cells[axis] - 1)
        };
        let rows = range(2).flat_map(move |z| range(1).map(move |y| (y, z)));
        rows.flat_map(move |(y, z)| {
            let row = (z * self.cells[1] + y) * self.cells[0];
            let x = range(0);
            let span =
                self.starts[row + x.start()] as usize..self.starts[row + x.end() + 1] as usize;
            self.order[span].iter().map(|index| *index as usize)
        })
    }
}

fn step(
    particles: &Particles,
    grid: &Sorted,
    rules: &ParticleRules,
    index: usize,
) -> ([f32; 3], [f32; 3]) {
    let mut position = particles.positions()[index];
    let mut velocity = particles.velocities()[index];
    let mut push = rules.gravity();
    for other in grid.near(position, rules) {
        let there = particles.positions()[other];
        let apart: [f32; 3] = std::array::from_fn(|axis| position[axis] - there[axis]);
        let square = apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2];
        // Two at the same place have no direction to part in, and a particle does not push itself.
        if square > 0.0 && square < rules.radius() * rules.radius() {
            let distance = square.sqrt();
            let force = rules.stiffness() * (1.0 - distance / rules.radius()) / distance;
            for axis in 0..3 {
                push[axis] += apart[axis] * force;
            }
        }
    }
    let kept = (1.0 - rules.damping() * rules.time_step()).max(0.0);
    for axis in 0..3 {
        velocity[axis] = (velocity[axis] + push[axis] * rules.time_step()) * kept;
        position[axis] += velocity[axis] * rules.time_step();
        let wall = rules.space()[axis];
        if position[axis] < 0.0 {
            position[axis] = -position[axis];
            velocity[axis] = -velocity[axis];
        } else if position[axis] > wall {
            position[axis] = 2.0 * wall - position[axis];
            velocity[axis] = -velocity[axis];
        }
        position[axis] = position[axis].clamp(0.0, wall);
    }
    (position, velocity)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_grid_finds_every_pair_within_the_radius(
            positions in prop::collection::vec(prop::array::uniform3(-1.0f32..11.0), 0..60),
            radius in 0.3f32..12.0,
        ) {
            let rules = ParticleRules::new([10.0, 9.0, 8.0], radius).expect("positive");
            let particles = Particles::new(positions.clone(), vec![[0.0; 3]; positions.len()]).expect("as many");
            let grid = Sorted::new(&particles, &rules, rules.cells());
            let inside = |position: &[f32; 3]| position.iter().zip([10.0, 9.0, 8.0]).all(|(at, wall)| (0.0..=wall).contains(at));
            for (index, position) in positions.iter().enumerate().filter(|(_, position)| inside(position)) {
                let mut near: Vec<_> = grid.near(*position, &rules).collect();
                near.sort_unstable();
                for (other, there) in positions.iter().enumerate().filter(|(_, there)| inside(there)) {
                    let square: f32 = (0..3).map(|axis| (position[axis] - there[axis]).powi(2)).sum();
                    prop_assert!(square >= radius * radius || near.binary_search(&other).is_ok(), "{} sees {}", index, other);
                }
            }
        }
    }

    #[test]
    fn two_that_touch_part_and_keep_their_momentum() {
        let rules = ParticleRules::new([10.0; 3], 1.0).expect("positive");
        let particles = Particles::new(vec![[5.0, 5.0, 5.0], [5.5, 5.0, 5.0]], vec![[0.0; 3]; 2])
            .expect("as many");
        let after = Cpu::single().particles(particles, &rules, 10);
        let apart = after.positions()[1][0] - after.positions()[0][0];
        assert!(apart > 0.5, "{apart}");
        let momentum = after.velocities()[0][0] + after.velocities()[1][0];
        assert!(momentum.abs() < 1e-6, "{momentum}");
    }

    #[test]
    fn a_wall_throws_a_particle_back() {
        let rules = ParticleRules::new([1.0; 3], 0.1)
            .expect("positive")
            .with_time_step(0.5);
        let particles =
            Particles::new(vec![[0.9, 0.5, 0.5]], vec![[1.0, 0.0, 0.0]]).expect("as many");
        let after = Cpu::single().particles(particles, &rules, 1);
        assert!((after.positions()[0][0] - 0.6).abs() < 1e-6);
        assert_eq!(after.velocities()[0][0], -1.0);
    }
}
