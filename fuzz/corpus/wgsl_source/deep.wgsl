// The test puts 300,000 brackets here.
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(1)
fn main() { output[0] = DEEP 1u; }
