//! Stencils: each cell becomes a weighted sum of itself and its neighbours.

use crate::error::ShapeError;

/// Each cell becomes a weighted sum of itself and its neighbours: 9 cells in a plane, 27 in a volume. Cells with weight 0 cost nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Stencil {
    weights: Vec<f32>,
}

impl Stencil {
    /// Weights for a plane, row by row: the first is that of the cell at (x − 1, y − 1), the fifth that of the cell itself.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Setting`] if a weight is not finite.
    pub fn plane(weights: [f32; 9]) -> Result<Self, ShapeError> {
        Self::of(&weights)
    }

    /// Weights for a volume, row by row and plane by plane: the first is that of the cell at (x − 1, y − 1, z − 1), the fourteenth that of the
    /// cell itself.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Setting`] if a weight is not finite.
    pub fn volume(weights: [f32; 27]) -> Result<Self, ShapeError> {
        Self::of(&weights)
    }

    /// A step of the heat equation in a plane, explicit Euler: `rate` is diffusivity × time step / cell size². It is stable up to 1/4.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Setting`] if the rate is not between 0 and 1/4.
    pub fn heat_plane(rate: f32) -> Result<Self, ShapeError> {
        check_rate(rate, 0.25, "between 0 and 1/4, or the heat oscillates")?;
        let mut weights = [0.0; 9];
        for beside in [1, 3, 5, 7] {
            weights[beside] = rate;
        }
        weights[4] = 1.0 - 4.0 * rate;
        Self::plane(weights)
    }

    /// A step of the heat equation in a volume, explicit Euler: `rate` is diffusivity × time step / cell size². It is stable up to 1/6.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Setting`] if the rate is not between 0 and 1/6.
    pub fn heat_volume(rate: f32) -> Result<Self, ShapeError> {
        check_rate(rate, 1.0 / 6.0, "between 0 and 1/6, or the heat oscillates")?;
        let mut weights = [0.0; 27];
        for beside in [4, 10, 12, 14, 16, 22] {
            weights[beside] = rate;
        }
        weights[13] = 1.0 - 6.0 * rate;
        Self::volume(weights)
    }

    /// A Jacobi step of Laplace's equation in a plane: the mean of the four neighbours.
    pub fn laplace_plane() -> Self {
        Self::heat_plane(0.25).expect("1/4 is in range")
    }

    /// A Jacobi step of Laplace's equation in a volume: the mean of the six neighbours.
    pub fn laplace_volume() -> Self {
        let mut weights = vec![0.0; 27];
        for beside in [4, 10, 12, 14, 16, 22] {
            weights[beside] = 1.0 / 6.0;
        }
        Self { weights }
    }

    /// The weights: 9 or 27 of them.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Whether it reaches into the planes before and behind.
    pub fn is_volume(&self) -> bool {
        self.weights.len() == 27
    }

    fn of(weights: &[f32]) -> Result<Self, ShapeError> {
        if let Some(value) = weights.iter().find(|weight| !weight.is_finite()) {
            return Err(ShapeError::Setting {
                name: "a weight of the stencil",
                value: *value,
                must: "a finite number",
            });
        }
        Ok(Self {
            weights: weights.to_vec(),
        })
    }

    /// Fails unless the stencil fits a grid of this depth.
    pub(crate) fn check(&self, depth: usize) -> Result<(), ShapeError> {
        if self.is_volume() || depth <= 1 {
            Ok(())
        } else {
            Err(ShapeError::PlaneStencil { depth })
        }
    }

    /// The cells with a weight: their offsets and the weight, in the order of the weights.
    pub(crate) fn taps(&self) -> Vec<Tap> {
        let volume = self.is_volume();
        self.weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight != 0.0)
            .map(|(at, &weight)| {
                let axis = |step: usize| (at / step % 3) as isize - 1;
                let z = if volume { axis(9) } else { 0 };
                Tap {
                    offset: [axis(1), axis(3), z],
                    weight,
                }
            })
            .collect()
    }
}

/// One cell of a stencil.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tap {
    pub(crate) offset: [isize; 3],
    pub(crate) weight: f32,
}

fn check_rate(rate: f32, most: f32, must: &'static str) -> Result<(), ShapeError> {
    if (0.0..=most).contains(&rate) {
        Ok(())
    } else {
        Err(ShapeError::Setting {
            name: "the rate of the heat equation",
            value: rate,
            must,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_with_a_weight_are_read() {
        let taps = Stencil::heat_plane(0.1).expect("in range").taps();
        let offsets: Vec<_> = taps.iter().map(|tap| tap.offset).collect();
        assert_eq!(
            offsets,
            [[0, -1, 0], [-1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]]
        );
    }

    #[test]
    fn the_middle_of_a_volume_is_the_cell_itself() {
        let taps = Stencil::heat_volume(0.1).expect("in range").taps();
        let own = taps
            .iter()
            .find(|tap| tap.offset == [0, 0, 0])
            .expect("it has a weight");
        assert!((own.weight - 0.4).abs() < 1e-6);
        assert_eq!(taps.len(), 7);
    }

    #[test]
    fn a_rate_that_oscillates_is_refused() {
        assert!(Stencil::heat_plane(0.3).is_err());
        assert!(Stencil::heat_plane(f32::NAN).is_err());
        assert!(Stencil::plane([f32::INFINITY; 9]).is_err());
    }
}
