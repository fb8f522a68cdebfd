//! Particles that push each other apart.

use crate::error::{ShapeError, count, times};

/// Cells of the neighbour grid at most. In a larger space the cells are larger than they had to be, so that more neighbours are looked at.
pub const MAX_CELLS: usize = 1 << 21;

/// Particles: where each is and how fast it moves. There may be none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Particles {
    positions: Vec<[f32; 3]>,
    velocities: Vec<[f32; 3]>,
}

impl Particles {
    /// Particles at these positions with these velocities.
    ///
    /// # Errors
    ///
    /// [`ShapeError::WrongCount`] unless there are as many velocities as positions.
    pub fn new(positions: Vec<[f32; 3]>, velocities: Vec<[f32; 3]>) -> Result<Self, ShapeError> {
        count("particles", &[positions.len(), 4])?;
        if positions.len() != velocities.len() {
            return Err(ShapeError::WrongCount {
                what: "the velocities",
                size: times(&[positions.len()]),
                expected: positions.len(),
                found: velocities.len(),
            });
        }
        Ok(Self {
            positions,
            velocities,
        })
    }

    /// Where they are.
    pub fn positions(&self) -> &[[f32; 3]] {
        &self.positions
    }

    /// How fast they move, in units of space per unit of time.
    pub fn velocities(&self) -> &[[f32; 3]] {
        &self.velocities
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    pub(crate) fn parts_mut(&mut self) -> (&mut Vec<[f32; 3]>, &mut Vec<[f32; 3]>) {
        (&mut self.positions, &mut self.velocities)
    }
}

/// How particles move: two that are nearer to each other than `radius` are pushed apart by `stiffness × (1 − distance / radius)`. Semi-implicit
/// Euler: the velocity changes first, then the position. Walls at 0 and at `space` throw them back; what is outside comes in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParticleRules {
    space: [f32; 3],
    radius: f32,
    stiffness: f32,
    damping: f32,
    gravity: [f32; 3],
    time_step: f32,
}

impl ParticleRules {
    /// Particles in a box from (0, 0, 0) to `space`, which feel each other up to `radius`. Stiffness 1, no damping, no gravity, time step 0.01.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Setting`] unless the radius and each side of the space are positive and finite.
    pub fn new(space: [f32; 3], radius: f32) -> Result<Self, ShapeError> {
        let positive = |name, value: f32| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(ShapeError::Setting {
                    name,
                    value,
                    must: "positive and finite",
                })
            }
        };
        for side in space {
            positive("a side of the space", side)?;
        }
        positive("the radius", radius)?;
        Ok(Self {
            space,
            radius,
            stiffness: 1.0,
            damping: 0.0,
            gravity: [0.0; 3],
            time_step: 0.01,
        })
    }

    /// The acceleration of two particles at the same place.
    #[must_use]
    pub fn with_stiffness(self, stiffness: f32) -> Self {
        Self { stiffness, ..self }
    }

    /// The share of its velocity that a particle loses per unit of time.
    #[must_use]
    pub fn with_damping(self, damping: f32) -> Self {
        Self { damping, ..self }
    }

    /// The acceleration of all.
    #[must_use]
    pub fn with_gravity(self, gravity: [f32; 3]) -> Self {
        Self { gravity, ..self }
    }

    /// The time of one step.
    #[must_use]
    pub fn with_time_step(self, time_step: f32) -> Self {
        Self { time_step, ..self }
    }

    pub(crate) fn space(&self) -> [f32; 3] {
        self.space
    }

    pub(crate) fn radius(&self) -> f32 {
        self.radius
    }

    pub(crate) fn stiffness(&self) -> f32 {
        self.stiffness
    }

    pub(crate) fn damping(&self) -> f32 {
        self.damping
    }

    pub(crate) fn gravity(&self) -> [f32; 3] {
        self.gravity
    }

    pub(crate) fn time_step(&self) -> f32 {
        self.time_step
    }

    /// The neighbour grid: cells along each side, none smaller than the radius, at most [`MAX_CELLS`] in all.
    pub(crate) fn cells(&self) -> [usize; 3] {
        let mut cells = self
            .space
            .map(|side| ((side / self.radius).floor().clamp(1.0, MAX_CELLS as f32)) as usize);
        let total = |cells: &[usize; 3]| cells.iter().map(|side| *side as u64).product::<u64>();
        while total(&cells) > MAX_CELLS as u64 {
            let longest = cells.iter_mut().max().expect("three sides");
            *longest = longest.div_ceil(2);
        }
        cells
    }

    /// The cell of a position, along each side. What is outside, or no number, counts to the nearest cell.
    #[inline]
    pub(crate) fn cell(&self, position: [f32; 3], cells: [usize; 3]) -> [usize; 3] {
        std::array::from_fn(|axis| {
            let scaled = position[axis] / self.space[axis] * cells[axis] as f32;
            // A cast saturates, and takes NaN for 0.
            (scaled as usize).min(cells[axis] - 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_grid_is_bounded_and_its_cells_are_no_smaller_than_the_radius() {
        let rules = ParticleRules::new([1e9, 1.0, 1e9], 1e-3).expect("positive");
        let cells = rules.cells();
        assert!(cells.iter().product::<usize>() <= MAX_CELLS, "{cells:?}");
        let rules = ParticleRules::new([10.0, 5.0, 0.5], 1.0).expect("positive");
        assert_eq!(rules.cells(), [10, 5, 1]);
    }

    #[test]
    fn what_is_outside_counts_to_the_nearest_cell() {
        let rules = ParticleRules::new([10.0; 3], 1.0).expect("positive");
        let cell = rules.cell([-5.0, f32::NAN, 1e30], rules.cells());
        assert_eq!(cell, [0, 0, 9]);
    }

    #[test]
    fn a_space_without_extent_is_refused() {
        assert!(ParticleRules::new([1.0, 0.0, 1.0], 1.0).is_err());
        assert!(ParticleRules::new([1.0; 3], f32::NAN).is_err());
    }
}
