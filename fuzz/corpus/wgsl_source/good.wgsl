struct Where { @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) all: vec3<u32> }
struct Particle { place: vec3<f32>, mass: f32 }
const LIMIT = 8u;
@group(0) @binding(0) var<storage, read> input: array<Particle>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> settings: mat3x3<f32>;
var<workgroup> sums: array<atomic<i32>, 64>;
fn weigh(particle: Particle) -> f32 {
    switch i32(particle.mass) { case 0, 1: { return 1.0; } default: { return length(particle.place); } }
}
@compute @workgroup_size(8, 4, 2)
fn main(place: Where, @builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = vec3<f32>();
    for (var at = 0u; at < min(LIMIT, arrayLength(&input)); at++) { sum += settings * input[at].place * weigh(input[at]); }
    atomicAdd(&sums[lane], i32(sum.x));
    workgroupBarrier();
    output[place.group.x * place.all.y + id.x] = vec4<f32>(sum, f32(atomicLoad(&sums[lane ^ 1u])));
}
