use super::{FOLDED, index};
use crate::{Batch, GpuError, HotBuffer, ParticleRules};

/// Bytes of a position or a velocity: three numbers, and a fourth that nobody looks at.
const VECTOR: u64 = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Setup {
    space: [f32; 3],
    radius: f32,
    gravity: [f32; 3],
    stiffness: f32,
    cells: [u32; 3],
    count: u32,
    time_step: f32,
    kept: f32,
    unused: [f32; 2],
}

impl Batch {
    /// Adds one step of the first `count` particles. Positions and velocities are four `f32` each, of which the last is not looked at; they change
    /// in place. The order in which a particle feels its neighbours is not fixed, so two runs differ in the last bits.
    ///
    /// # Errors
    ///
    /// [`GpuError::OutOfRange`] if a buffer is too small, [`GpuError::BindingTooLarge`], [`GpuError::Aliased`], [`GpuError::OutOfMemory`],
    /// [`GpuError::Stale`], [`GpuError::Lost`].
    pub fn particles(
        &mut self,
        rules: &ParticleRules,
        count: usize,
        positions: &HotBuffer,
        velocities: &HotBuffer,
    ) -> Result<(), GpuError> {
        if count == 0 {
            return Ok(());
        }
        let bytes = u64::from(index(count, positions)?) * VECTOR;
        self.need(positions, bytes)?;
        self.need(velocities, bytes)?;
        Self::apart(velocities, &[positions])?;
        let cells = rules.cells();
        let total = cells.iter().product::<usize>();
        let setup = Setup {
            space: rules.space(),
            radius: rules.radius(),
            gravity: rules.gravity(),
            stiffness: rules.stiffness(),
            cells: cells.map(|side| side as u32),
            count: count as u32,
            time_step: rules.time_step(),
            kept: (1.0 - rules.damping() * rules.time_step()).max(0.0),
            unused: [0.0; 2],
        };
        let setup = bytemuck::bytes_of(&setup);
        let groups = count.div_ceil(256) as u64;
        // One more than there are cells: the running sums then have the end of the last one, too.
        let starts_bytes = (total as u64 + 1) * 4;
        let counts = self.scratch(starts_bytes)?;
        let starts = self.scratch(starts_bytes)?;
        let sorted = self.scratch(bytes)?;
        // Scratch memory is new, and new memory is zero.
        self.own_pass(
            "particles_count",
            &count_source(),
            setup,
            &[(positions.raw(), bytes), (&counts, starts_bytes)],
            groups,
        )?;
        self.scan("u32", &counts, total + 1, &starts, false)?;
        self.encoder
            .copy_buffer_to_buffer(&starts, 0, &counts, 0, Some(starts_bytes));
        self.own_pass(
            "particles_sort",
            &sort_source(),
            setup,
            &[
                (positions.raw(), bytes),
                (&counts, starts_bytes),
                (&sorted, bytes),
            ],
            groups,
        )?;
        self.own_pass(
            "particles_step",
            &step_source(),
            setup,
            &[
                (&starts, starts_bytes),
                (&sorted, bytes),
                (positions.raw(), bytes),
                (velocities.raw(), bytes),
            ],
            groups,
        )
    }
}

/// What the three shaders begin with.
fn common() -> String {
    format!(
        "
struct Setup {{
    space: vec3<f32>, radius: f32,
    gravity: vec3<f32>, stiffness: f32,
    cells: vec3<u32>, count: u32,
    time_step: f32, kept: f32, unused: vec2<f32>,
}}
@group(0) @binding(0) var<uniform> setup: Setup;
{FOLDED}
fn cell(position: vec3<f32>) -> vec3<u32> {{
    let most = setup.cells - vec3<u32>(1u);
    let scaled = position / setup.space * vec3<f32>(setup.cells);
    // Once more as integers: what is no number may come through the first.
    return min(vec3<u32>(clamp(scaled, vec3<f32>(), vec3<f32>(most))), most);
}}
fn place(at: vec3<u32>) -> u32 {{
    return (at.z * setup.cells.y + at.y) * setup.cells.x + at.x;
}}
"
    )
}

const MAIN: &str = "
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = folded(group, groups) * 256u + lane;
    if (index >= setup.count) {
        return;
    }
";

fn count_source() -> String {
    format!(
        "{}
@group(0) @binding(1) var<storage, read> positions: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
{MAIN}
    atomicAdd(&counts[place(cell(positions[index].xyz))], 1u);
}}
",
        common()
    )
}

fn sort_source() -> String {
    format!(
        "{}
@group(0) @binding(1) var<storage, read> positions: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> ends: array<atomic<u32>>;
// Positions by their bits, and the number of the particle.
@group(0) @binding(3) var<storage, read_write> sorted: array<vec4<u32>>;
{MAIN}
    let position = positions[index].xyz;
    let slot = atomicAdd(&ends[place(cell(position))], 1u);
    sorted[min(slot, setup.count - 1u)] = vec4<u32>(bitcast<vec3<u32>>(position), index);
}}
",
        common()
    )
}

fn step_source() -> String {
    format!(
        "{}
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> sorted: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> positions: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> velocities: array<vec4<f32>>;
{MAIN}
    let own = sorted[index];
    let particle = min(own.w, setup.count - 1u);
    var position = bitcast<vec3<f32>>(own.xyz);
    let here = cell(position);
    let low = max(here, vec3<u32>(1u)) - vec3<u32>(1u);
    let high = min(here + vec3<u32>(1u), setup.cells - vec3<u32>(1u));
    let reach = setup.radius * setup.radius;
    var push = setup.gravity;
    for (var z = low.z; z <= high.z; z++) {{
        for (var y = low.y; y <= high.y; y++) {{
            let end = min(starts[place(vec3<u32>(high.x, y, z)) + 1u], setup.count);
            for (var at = starts[place(vec3<u32>(low.x, y, z))]; at < end; at++) {{
                let apart = position - bitcast<vec3<f32>>(sorted[at].xyz);
                let square = dot(apart, apart);
                if (square > 0.0 && square < reach) {{
                    let distance = sqrt(square);
                    push += apart * (setup.stiffness * (1.0 - distance / setup.radius) / distance);
                }}
            }}
        }}
    }}
    var velocity = (velocities[particle].xyz + push * setup.time_step) * setup.kept;
    position += velocity * setup.time_step;
    let low_wall = position < vec3<f32>();
    let high_wall = position > setup.space;
    velocity = select(velocity, -velocity, low_wall | high_wall);
    position = select(position, -position, low_wall);
    position = select(position, 2.0 * setup.space - position, high_wall);
    positions[particle] = vec4<f32>(clamp(position, vec3<f32>(), setup.space), 0.0);
    velocities[particle] = vec4<f32>(velocity, 0.0);
}}
",
        common()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaders_are_valid() {
        for source in [count_source(), sort_source(), step_source()] {
            super::super::check_source(&source);
        }
    }
}
