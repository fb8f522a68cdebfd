@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(65535, 65535, 65535)
fn main() { output[0] = 1u; }
