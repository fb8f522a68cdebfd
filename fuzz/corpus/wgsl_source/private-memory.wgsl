@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var own: array<u32, 100000000>;
    own[id.x] = 1u;
    output[0] = own[id.x + 1u];
}
