// Workgroups that wait for the one after them. In slices none of those of a later slice ever comes.
@group(0) @binding(1) var<storage, read_write> output: array<atomic<u32>>;
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3<u32>) {
    atomicAdd(&output[0], 1u);
    loop {
        if (atomicLoad(&output[0]) > id.x + 1u || id.x == 65534u) { break; }
    }
}
