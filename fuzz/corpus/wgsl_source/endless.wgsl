// Never ends. Mesa's lavapipe gives up each loop after 65,536 turns, so there each turn is long, and many invocations take them: a workgroup
// takes seconds there, and a dispatch days.
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = f32(id.x);
    loop {
        x = sin(x * 1.00) + cos(x + 0.0);
        x = sin(x * 1.01) + cos(x + 0.1);
        x = sin(x * 1.02) + cos(x + 0.2);
        x = sin(x * 1.03) + cos(x + 0.3);
        x = sin(x * 1.04) + cos(x + 0.4);
        x = sin(x * 1.05) + cos(x + 0.5);
        x = sin(x * 1.06) + cos(x + 0.6);
        x = sin(x * 1.07) + cos(x + 0.7);
        x = sin(x * 1.08) + cos(x + 0.8);
        x = sin(x * 1.09) + cos(x + 0.9);
        x = sin(x * 1.10) + cos(x + 1.0);
        x = sin(x * 1.11) + cos(x + 1.1);
        x = sin(x * 1.12) + cos(x + 1.2);
        x = sin(x * 1.13) + cos(x + 1.3);
        x = sin(x * 1.14) + cos(x + 1.4);
        x = sin(x * 1.15) + cos(x + 1.5);
        x = sin(x * 1.16) + cos(x + 1.6);
        x = sin(x * 1.17) + cos(x + 1.7);
        x = sin(x * 1.18) + cos(x + 1.8);
        x = sin(x * 1.19) + cos(x + 1.9);
        x = sin(x * 1.20) + cos(x + 2.0);
        x = sin(x * 1.21) + cos(x + 2.1);
        x = sin(x * 1.22) + cos(x + 2.2);
        x = sin(x * 1.23) + cos(x + 2.3);
        x = sin(x * 1.24) + cos(x + 2.4);
        x = sin(x * 1.25) + cos(x + 2.5);
        x = sin(x * 1.26) + cos(x + 2.6);
        x = sin(x * 1.27) + cos(x + 2.7);
        x = sin(x * 1.28) + cos(x + 2.8);
        x = sin(x * 1.29) + cos(x + 2.9);
        x = sin(x * 1.30) + cos(x + 3.0);
        x = sin(x * 1.31) + cos(x + 3.1);
        x = sin(x * 1.32) + cos(x + 3.2);
        x = sin(x * 1.33) + cos(x + 3.3);
        x = sin(x * 1.34) + cos(x + 3.4);
        x = sin(x * 1.35) + cos(x + 3.5);
        x = sin(x * 1.36) + cos(x + 3.6);
        x = sin(x * 1.37) + cos(x + 3.7);
        x = sin(x * 1.38) + cos(x + 3.8);
        x = sin(x * 1.39) + cos(x + 3.9);
        x = sin(x * 1.40) + cos(x + 4.0);
        x = sin(x * 1.41) + cos(x + 4.1);
        x = sin(x * 1.42) + cos(x + 4.2);
        x = sin(x * 1.43) + cos(x + 4.3);
        x = sin(x * 1.44) + cos(x + 4.4);
        x = sin(x * 1.45) + cos(x + 4.5);
        x = sin(x * 1.46) + cos(x + 4.6);
        x = sin(x * 1.47) + cos(x + 4.7);
        if (x > 1000.0) { break; }
    }
    output[0] = x;
}
