@group(0) @binding(1) var<storage, read_write> output: array<u32>;
fn again(depth: u32) -> u32 { return again(depth + 1u) + 1u; }
@compute @workgroup_size(1)
fn main() { output[0] = again(0u); }
