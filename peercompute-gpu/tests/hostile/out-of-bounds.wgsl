// Reads and writes everywhere.
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
var<workgroup> shared_words: array<u32, 4>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var own: array<u32, 4>;
    let far = id.x * 2654435761u;
    own[far] = input[far];
    shared_words[far ^ 0x55u] = own[far + 1u];
    output[far] = shared_words[far] + own[far * 3u];
    output[0xffffffffu - far] = 1u;
}
