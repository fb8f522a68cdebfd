@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var picture: texture_2d<f32>;
@compute @workgroup_size(1)
fn main() { output[0] = textureLoad(picture, vec2<i32>(), 0).x; }
