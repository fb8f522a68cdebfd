use super::{FOLDED, index};
use crate::{Batch, GpuError, HotBuffer, Reduction};

/// Elements that a workgroup takes at a time: eight for each of its 256 invocations.
const BLOCK: usize = 2048;

/// Workgroups of the first pass at most: each then takes several blocks, and the second pass takes what they leave in one block.
const GROUPS: usize = BLOCK;

impl Batch {
    /// Adds a reduction of the first `count` numbers of `input` to the first number of `output`.
    ///
    /// # Errors
    ///
    /// [`GpuError::OutOfRange`] if a buffer is too small, [`GpuError::BindingTooLarge`], [`GpuError::Aliased`], [`GpuError::Stale`],
    /// [`GpuError::Lost`].
    pub fn reduce(
        &mut self,
        reduction: Reduction,
        input: &HotBuffer,
        count: usize,
        output: &HotBuffer,
    ) -> Result<(), GpuError> {
        self.need(output, 4)?;
        // With no numbers the shader still needs something to bind.
        let bytes = u64::from(index(count.max(1), input)?) * 4;
        self.need(input, bytes)?;
        Self::apart(output, &[input])?;
        let source = reduce_source(reduction);
        let groups = count.div_ceil(BLOCK).clamp(1, GROUPS);
        let uniform = |count: usize, groups: usize| [count as u32, groups as u32, 0, 0];
        if groups == 1 {
            return self.own_pass(
                "reduce",
                &source,
                bytemuck::bytes_of(&uniform(count, 1)),
                &[(input.raw(), bytes), (output.raw(), 4)],
                1,
            );
        }
        let parts = self.scratch(groups as u64 * 4)?;
        self.own_pass(
            "reduce",
            &source,
            bytemuck::bytes_of(&uniform(count, groups)),
            &[(input.raw(), bytes), (&parts, groups as u64 * 4)],
            groups as u64,
        )?;
        self.own_pass(
            "reduce",
            &source,
            bytemuck::bytes_of(&uniform(groups, 1)),
            &[(&parts, groups as u64 * 4), (output.raw(), 4)],
            1,
        )
    }

    /// Adds the running sums of the first `count` numbers of `input`, each with its own number included, to `output`.
    ///
    /// # Errors
    ///
    /// As [`reduce`](Self::reduce).
    pub fn prefix_sum(
        &mut self,
        input: &HotBuffer,
        count: usize,
        output: &HotBuffer,
    ) -> Result<(), GpuError> {
        if count == 0 {
            return Ok(());
        }
        let bytes = u64::from(index(count, input)?) * 4;
        self.need(input, bytes)?;
        self.need(output, bytes)?;
        Self::apart(output, &[input])?;
        self.scan("f32", input.raw(), count, output.raw(), true)
    }

    /// Running sums in three passes: the sum of each block, the running sums of those, and those within each block. `kind` is `f32` or `u32`.
    pub(super) fn scan(
        &mut self,
        kind: &'static str,
        input: &wgpu::Buffer,
        count: usize,
        output: &wgpu::Buffer,
        inclusive: bool,
    ) -> Result<(), GpuError> {
        let bytes = count as u64 * 4;
        let blocks = count.div_ceil(BLOCK);
        let before = self.scratch(blocks as u64 * 4)?;
        let uniform = [count as u32, u32::from(inclusive), u32::from(blocks > 1), 0];
        if blocks > 1 {
            let sums = self.scratch(blocks as u64 * 4)?;
            self.own_pass(
                "scan_sums",
                &sums_source(kind),
                bytemuck::bytes_of(&uniform),
                &[(input, bytes), (&sums, blocks as u64 * 4)],
                blocks as u64,
            )?;
            self.scan(kind, &sums, blocks, &before, false)?;
        }
        self.own_pass(
            "scan",
            &scan_source(kind),
            bytemuck::bytes_of(&uniform),
            &[
                (input, bytes),
                (&before, blocks.max(1) as u64 * 4),
                (output, bytes),
            ],
            blocks as u64,
        )
    }
}

fn reduce_source(reduction: Reduction) -> String {
    // A shader cannot write an infinity, so a bit pattern stands for it.
    let (identity, join) = match reduction {
        Reduction::Sum => ("0u", "a + b"),
        Reduction::Min => ("0x7f800000u", "min(a, b)"),
        Reduction::Max => ("0xff800000u", "max(a, b)"),
    };
    format!(
        "
struct Sizes {{ count: u32, groups: u32, infinity: u32, unused: u32 }}
@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
var<workgroup> parts: array<f32, 256>;
fn join(a: f32, b: f32) -> f32 {{ return {join}; }}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
    // Not a constant expression, in which infinities are errors.
    let identity = bitcast<f32>({identity} + sizes.unused);
    var a = array<f32, 8>(identity, identity, identity, identity, identity, identity, identity, identity);
    let step = sizes.groups * {BLOCK}u;
    for (var start = group.x * {BLOCK}u; start < sizes.count; start += step) {{
        let at = start + lane;
        if (start + {BLOCK}u <= sizes.count) {{
            a[0] = join(a[0], input[at]);
            a[1] = join(a[1], input[at + 256u]);
            a[2] = join(a[2], input[at + 512u]);
            a[3] = join(a[3], input[at + 768u]);
            a[4] = join(a[4], input[at + 1024u]);
            a[5] = join(a[5], input[at + 1280u]);
            a[6] = join(a[6], input[at + 1536u]);
            a[7] = join(a[7], input[at + 1792u]);
        }} else {{
            for (var there = at; there < sizes.count; there += 256u) {{
                a[0] = join(a[0], input[there]);
            }}
        }}
    }}
    parts[lane] = join(join(join(a[0], a[1]), join(a[2], a[3])), join(join(a[4], a[5]), join(a[6], a[7])));
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {{
        if (lane < half) {{
            parts[lane] = join(parts[lane], parts[lane + half]);
        }}
        workgroupBarrier();
    }}
    if (lane == 0u) {{
        output[group.x] = parts[0];
    }}
}}
"
    )
}

fn sums_source(kind: &str) -> String {
    format!(
        "
struct Sizes {{ count: u32, inclusive: u32, before: u32, unused: u32 }}
@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> input: array<{kind}>;
@group(0) @binding(2) var<storage, read_write> sums: array<{kind}>;
var<workgroup> parts: array<{kind}, 256>;
{FOLDED}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
    let block = folded(group, groups);
    let start = block * {BLOCK}u;
    var sum = {kind}(0);
    for (var step = 0u; step < 8u; step++) {{
        let at = start + step * 256u + lane;
        if (at < sizes.count) {{
            sum += input[at];
        }}
    }}
    parts[lane] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {{
        if (lane < half) {{
            parts[lane] += parts[lane + half];
        }}
        workgroupBarrier();
    }}
    if (lane == 0u && start < sizes.count) {{
        sums[block] = parts[0];
    }}
}}
"
    )
}

fn scan_source(kind: &str) -> String {
    // Nine places for eight values, so that the invocations of a subgroup meet in different banks.
    format!(
        "
struct Sizes {{ count: u32, inclusive: u32, before: u32, unused: u32 }}
@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> input: array<{kind}>;
@group(0) @binding(2) var<storage, read> before: array<{kind}>;
@group(0) @binding(3) var<storage, read_write> output: array<{kind}>;
var<workgroup> values: array<{kind}, {padded}>;
var<workgroup> parts: array<{kind}, 256>;
{FOLDED}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
    let block = folded(group, groups);
    let start = block * {BLOCK}u;
    for (var step = 0u; step < 8u; step++) {{
        let here = step * 256u + lane;
        var value = {kind}(0);
        if (start + here < sizes.count) {{
            value = input[start + here];
        }}
        values[here + here / 8u] = value;
    }}
    workgroupBarrier();
    var sum = {kind}(0);
    for (var step = 0u; step < 8u; step++) {{
        sum += values[lane * 9u + step];
    }}
    parts[lane] = sum;
    workgroupBarrier();
    for (var reach = 1u; reach < 256u; reach *= 2u) {{
        var left = {kind}(0);
        if (lane >= reach) {{
            left = parts[lane - reach];
        }}
        workgroupBarrier();
        parts[lane] += left;
        workgroupBarrier();
    }}
    var running = {kind}(0);
    if (lane > 0u) {{
        running = parts[lane - 1u];
    }}
    if (sizes.before != 0u && start < sizes.count) {{
        running += before[block];
    }}
    for (var step = 0u; step < 8u; step++) {{
        let here = lane * 9u + step;
        let value = values[here];
        let next = running + value;
        values[here] = select(running, next, sizes.inclusive != 0u);
        running = next;
    }}
    workgroupBarrier();
    for (var step = 0u; step < 8u; step++) {{
        let here = step * 256u + lane;
        if (start + here < sizes.count) {{
            output[start + here] = values[here + here / 8u];
        }}
    }}
}}
",
        padded = BLOCK + BLOCK / 8,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaders_are_valid() {
        for reduction in [Reduction::Sum, Reduction::Min, Reduction::Max] {
            super::super::check_source(&reduce_source(reduction));
        }
        for kind in ["f32", "u32"] {
            super::super::check_source(&sums_source(kind));
            super::super::check_source(&scan_source(kind));
        }
    }
}
