use std::fmt::Write as _;

use super::{FOLDED, index};
use crate::{Batch, Edge, GpuError, HotBuffer, Stencil, stencil::Tap};

/// Cells of a column that an invocation takes, so that it loads the rows between them once.
pub(super) const ROWS: usize = 4;

/// Cells of a workgroup: 64 columns, and 4 invocations of [`ROWS`] rows each.
pub(super) const WIDE: usize = 64;
pub(super) const HIGH: usize = 4 * ROWS;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Setup {
    width: u32,
    height: u32,
    depth: u32,
    edge: u32,
    tiles_x: u32,
    tiles_y: u32,
    taps: u32,
    volume: u32,
    weights: [Weight; 27],
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Weight {
    offset: [i32; 3],
    weight: f32,
}

impl Batch {
    /// Adds one step of a stencil on a grid of `size` (cells in a row, rows in a plane, planes) from one buffer of `f32` to another. A stencil for planes sees each plane of a volume
    /// by itself.
    ///
    /// # Errors
    ///
    /// [`GpuError::OutOfRange`] if a buffer is smaller than the grid, [`GpuError::BindingTooLarge`], [`GpuError::Aliased`],
    /// [`GpuError::Stale`], [`GpuError::Lost`].
    pub fn stencil(
        &mut self,
        stencil: &Stencil,
        edge: Edge,
        size: [usize; 3],
        before: &HotBuffer,
        after: &HotBuffer,
    ) -> Result<(), GpuError> {
        if size.contains(&0) {
            return Ok(());
        }
        let count = size
            .iter()
            .try_fold(1usize, |product, side| product.checked_mul(*side))
            .unwrap_or(usize::MAX / 4);
        let bytes = u64::from(index(count, before)?) * 4;
        self.need(before, bytes)?;
        self.need(after, bytes)?;
        Self::apart(after, &[before])?;
        let taps = stencil.taps();
        let mut weights = [Weight {
            offset: [0; 3],
            weight: 0.0,
        }; 27];
        for (weight, tap) in weights.iter_mut().zip(&taps) {
            *weight = Weight {
                offset: tap.offset.map(|axis| axis as i32),
                weight: tap.weight,
            };
        }
        let [width, height, depth] = size;
        let tiles = [width.div_ceil(WIDE), height.div_ceil(HIGH)];
        let setup = Setup {
            width: width as u32,
            height: height as u32,
            depth: depth as u32,
            edge: edge.code(),
            tiles_x: tiles[0] as u32,
            tiles_y: tiles[1] as u32,
            taps: taps.len() as u32,
            volume: stencil.is_volume().into(),
            weights,
        };
        self.own_pass(
            "stencil",
            &source(&taps),
            bytemuck::bytes_of(&setup),
            &[(before.raw(), bytes), (after.raw(), bytes)],
            tiles[0] as u64 * tiles[1] as u64 * depth as u64,
        )
    }
}

/// The shader for a set of neighbours. Inside the grid it loads each cell that it needs once, by code that is written out; near the edge it goes
/// through a table.
fn source(taps: &[Tap]) -> String {
    let mut loads = String::new();
    let mut loaded = std::collections::BTreeSet::new();
    let name = |[x, y, z]: [isize; 3]| format!("v{}_{}_{}", x + 1, y + 1, z + 1);
    let mut sums = String::new();
    for row in 0..ROWS as isize {
        let mut sum = String::from("0.0");
        for (number, tap) in taps.iter().enumerate() {
            let [x, y, z] = tap.offset;
            let there = [x, y + row, z];
            if loaded.insert(there) {
                let along = |count: isize, unit: &str| match count {
                    0 => String::new(),
                    count if count < 0 => format!(" - {unit}"),
                    count => format!(" + {count}u * {unit}"),
                };
                _ = writeln!(
                    loads,
                    "        let {} = cells[at{}{}{}];",
                    name(there),
                    along(z, "plane"),
                    along(y + row, "setup.width"),
                    along(x, "1u")
                );
            }
            sum = if number == 0 {
                format!("bitcast<f32>(setup.weights[0].w) * {}", name(there))
            } else {
                format!(
                    "fma(bitcast<f32>(setup.weights[{number}].w), {}, {sum})",
                    name(there)
                )
            };
        }
        _ = writeln!(sums, "        changed[at + {row}u * setup.width] = {sum};");
    }
    format!(
        "
struct Setup {{
    width: u32, height: u32, depth: u32, edge: u32,
    tiles_x: u32, tiles_y: u32, taps: u32, volume: u32,
    // The offset along each axis, and the weight, by their bits.
    weights: array<vec4<u32>, 27>,
}}
@group(0) @binding(0) var<uniform> setup: Setup;
@group(0) @binding(1) var<storage, read> cells: array<f32>;
@group(0) @binding(2) var<storage, read_write> changed: array<f32>;
{FOLDED}
fn near_edge(x: u32, y: u32, z: u32) -> f32 {{
    let at = (z * setup.height + y) * setup.width + x;
    var on_edge = x == 0u || x + 1u == setup.width || y == 0u || y + 1u == setup.height;
    on_edge = on_edge || (setup.volume != 0u && (z == 0u || z + 1u == setup.depth));
    if (setup.edge == 0u && on_edge) {{
        return cells[at];
    }}
    let size = vec3<i32>(vec3<u32>(setup.width, setup.height, setup.depth));
    var sum = 0.0;
    for (var number = 0u; number < setup.taps; number++) {{
        let weight = setup.weights[number];
        var there = vec3<i32>(vec3<u32>(x, y, z)) + bitcast<vec3<i32>>(weight.xyz);
        if (setup.edge == 2u) {{
            there = (there + size) % size;
        }} else if (any(there < vec3<i32>()) || any(there >= size)) {{
            continue;
        }}
        let place = vec3<u32>(there);
        sum = fma(bitcast<f32>(weight.w), cells[(place.z * setup.height + place.y) * setup.width + place.x], sum);
    }}
    return sum;
}}
@compute @workgroup_size({WIDE}, 4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {{
    let tile = folded(group, groups);
    let x = (tile % setup.tiles_x) * {WIDE}u + lane.x;
    let y = ((tile / setup.tiles_x) % setup.tiles_y) * {HIGH}u + lane.y * {ROWS}u;
    let z = tile / (setup.tiles_x * setup.tiles_y);
    if (x >= setup.width || z >= setup.depth) {{
        return;
    }}
    let inside = x > 0u && x + 1u < setup.width && y > 0u && y + {ROWS}u < setup.height;
    if (inside && (setup.volume == 0u || (z > 0u && z + 1u < setup.depth))) {{
        let plane = setup.width * setup.height;
        let at = z * plane + y * setup.width + x;
{loads}
{sums}
    }} else {{
        for (var row = y; row < min(y + {ROWS}u, setup.height); row++) {{
            changed[(z * setup.height + row) * setup.width + x] = near_edge(x, row, z);
        }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shader_of_any_neighbours_is_valid() {
        let all = Stencil::volume([1.0; 27]).expect("finite");
        let none = Stencil::plane([0.0; 9]).expect("finite");
        for stencil in [
            all,
            none,
            Stencil::laplace_plane(),
            Stencil::laplace_volume(),
        ] {
            super::super::check_source(&source(&stencil.taps()));
        }
    }
}
