use std::fmt::Write as _;

use super::{
    FOLDED, index,
    stencil::{HIGH, ROWS, WIDE},
};
use crate::{Automaton, Batch, Edge, GpuError, HotBuffer};

impl Batch {
    /// Adds one step of a cellular automaton on a plane of `width × height` cells from one buffer of `u32` to another. A cell that is not 0 is
    /// alive.
    ///
    /// # Errors
    ///
    /// [`GpuError::OutOfRange`] if a buffer is smaller than the plane, [`GpuError::BindingTooLarge`], [`GpuError::Aliased`],
    /// [`GpuError::Stale`], [`GpuError::Lost`].
    pub fn automaton(
        &mut self,
        rule: Automaton,
        edge: Edge,
        [width, height]: [usize; 2],
        before: &HotBuffer,
        after: &HotBuffer,
    ) -> Result<(), GpuError> {
        if width == 0 || height == 0 {
            return Ok(());
        }
        let count = width.checked_mul(height).unwrap_or(usize::MAX / 4);
        let bytes = u64::from(index(count, before)?) * 4;
        self.need(before, bytes)?;
        self.need(after, bytes)?;
        Self::apart(after, &[before])?;
        let tiles = [width.div_ceil(WIDE), height.div_ceil(HIGH)];
        let setup = [
            width as u32,
            height as u32,
            edge.code(),
            tiles[0] as u32,
            rule.birth().into(),
            rule.survival().into(),
            0,
            0,
        ];
        self.own_pass(
            "automaton",
            &source(),
            bytemuck::bytes_of(&setup),
            &[(before.raw(), bytes), (after.raw(), bytes)],
            tiles[0] as u64 * tiles[1] as u64,
        )
    }
}

fn source() -> String {
    let mut rows = String::new();
    let mut results = String::new();
    for row in 0..ROWS + 2 {
        _ = writeln!(
            rows,
            "        let c{row} = alive(cells[at + {row}u * setup.width]);
        let t{row} = c{row} + alive(cells[at + {row}u * setup.width - 1u]) + alive(cells[at + {row}u * setup.width + 1u]);"
        );
    }
    for row in 1..=ROWS {
        _ = writeln!(
            results,
            "        changed[at + {row}u * setup.width] = next_state(c{row}, t{} + t{row} + t{} - c{row});",
            row - 1,
            row + 1
        );
    }
    format!(
        "
struct Setup {{ width: u32, height: u32, edge: u32, tiles_x: u32, birth: u32, survival: u32, unused_x: u32, unused_y: u32 }}
@group(0) @binding(0) var<uniform> setup: Setup;
@group(0) @binding(1) var<storage, read> cells: array<u32>;
@group(0) @binding(2) var<storage, read_write> changed: array<u32>;
{FOLDED}
fn alive(cell: u32) -> u32 {{
    return min(cell, 1u);
}}
fn next_state(own: u32, neighbours: u32) -> u32 {{
    return (select(setup.birth, setup.survival, own == 1u) >> neighbours) & 1u;
}}
fn near_edge(x: u32, y: u32) -> u32 {{
    let own = alive(cells[y * setup.width + x]);
    if (setup.edge == 0u && (x == 0u || x + 1u == setup.width || y == 0u || y + 1u == setup.height)) {{
        return own;
    }}
    let size = vec2<i32>(vec2<u32>(setup.width, setup.height));
    var neighbours = 0u;
    for (var number = 0; number < 9; number++) {{
        if (number == 4) {{
            continue;
        }}
        var there = vec2<i32>(vec2<u32>(x, y)) + vec2<i32>(number % 3 - 1, number / 3 - 1);
        if (setup.edge == 2u) {{
            there = (there + size) % size;
        }} else if (any(there < vec2<i32>()) || any(there >= size)) {{
            continue;
        }}
        let place = vec2<u32>(there);
        neighbours += alive(cells[place.y * setup.width + place.x]);
    }}
    return next_state(own, neighbours);
}}
@compute @workgroup_size({WIDE}, 4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {{
    let tile = folded(group, groups);
    let x = (tile % setup.tiles_x) * {WIDE}u + lane.x;
    let y = (tile / setup.tiles_x) * {HIGH}u + lane.y * {ROWS}u;
    if (x >= setup.width || y >= setup.height) {{
        return;
    }}
    if (x > 0u && x + 1u < setup.width && y > 0u && y + {ROWS}u < setup.height) {{
        let at = (y - 1u) * setup.width + x;
{rows}
{results}
    }} else {{
        for (var row = y; row < min(y + {ROWS}u, setup.height); row++) {{
            changed[row * setup.width + x] = near_edge(x, row);
        }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_shader_is_valid() {
        super::super::check_source(&super::source());
    }
}
