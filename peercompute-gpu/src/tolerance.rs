//! How far the results of a device may lie from those of the processor. Both compute in `f32` by IEEE 754, in another order: each bound is that
//! of the rounding errors which the order can make, on either side. Cellular automata agree bit for bit, as do the least and the greatest of
//! many numbers.

/// Half the distance from 1 to the next number.
const UNIT: f32 = f32::EPSILON / 2.0;

/// For an element of a matrix product: `depth` is the number of its summands, `left` and `right` are the largest magnitudes in the two matrices.
pub fn matmul(depth: usize, left: f32, right: f32) -> f32 {
    let depth = depth as f32;
    2.0 * (depth + 2.0) * UNIT * depth * left * right
}

/// For a sum or a running sum of `count` numbers; `magnitude` is the sum of their magnitudes.
pub fn sum(count: usize, magnitude: f32) -> f32 {
    (count as f32 / 65_536.0 + 64.0) * UNIT * magnitude
}

/// For a cell after `steps` of a stencil; `weight` is the sum of the magnitudes of its weights, `largest` the largest magnitude in the grid
/// before the first step.
pub fn stencil(steps: usize, weight: f32, largest: f32) -> f32 {
    let steps = steps as i32;
    60.0 * UNIT * steps as f32 * weight.max(1.0).powi(steps) * largest
}

/// For a position or velocity after one step among at most `neighbours` others within the radius; `stiffness` × `time_step` is how much one of
/// them changes a velocity at most, `largest` the largest magnitude among the positions and velocities. A device divides and takes roots to a
/// few units in the last place only. Over many steps particles that touch are chaotic, and no bound holds.
pub fn particles(neighbours: usize, push: f32, largest: f32) -> f32 {
    let neighbours = neighbours as f32;
    64.0 * UNIT * (largest + (neighbours + 1.0) * (neighbours + 1.0) * push)
}
