// A constant of 4 GiB, compared with itself.
alias A = array<array<array<array<u32, 1000>, 1000>, 1000>, 1>;
const zero = A();
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { var own = zero; output[0] = own[0][id.x][1][2]; }
