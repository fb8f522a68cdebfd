@group(0) @binding(1) var<storage, read_write> output: array<u32>;
var<workgroup> words: array<u32, 100000000>;
@compute @workgroup_size(1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { output[0] = words[id.x]; }
