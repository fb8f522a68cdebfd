//! Bodies that attract each other. It uses the standard library, which brings its own allocator.
//!
//! The input is the number of steps (4 bytes), the step's length (8 bytes, floating point) and for each body its place, velocity and mass (seven times 8 bytes); all little endian. The result is
//! the bodies as they are then, in the same form, without what comes before them.

mod simulate;

use peercompute_guest::{Output, Refusal, task};
use simulate::{Body, simulate};

task!(run_bodies);

/// The most bodies: each attracts each.
const MAX_BODIES: usize = 4096;

fn run_bodies(input: &'static mut [u8], output: &mut Output) -> Result<(), Refusal> {
    let Some((steps, rest)) = input.split_first_chunk::<4>() else {
        return Err("the input ends before the number of steps".into());
    };
    let Some((step, rest)) = rest.split_first_chunk::<8>() else {
        return Err("the input ends before the length of a step".into());
    };
    let (numbers, []) = rest.as_chunks::<8>() else {
        return Err("the bodies are no row of numbers of 8 bytes".into());
    };
    let (bodies, []) = numbers.as_chunks::<7>() else {
        return Err("a body has seven numbers: place, velocity and mass".into());
    };
    if bodies.len() > MAX_BODIES {
        return Err(format!(
            "{} bodies are too many; {MAX_BODIES} is the most",
            bodies.len()
        )
        .into());
    }
    let mut bodies: Vec<Body> = bodies
        .iter()
        .map(|body| body.map(f64::from_le_bytes))
        .collect();
    simulate(
        &mut bodies,
        u32::from_le_bytes(*steps),
        f64::from_le_bytes(*step),
    );
    output.reserve(bodies.len() * 56);
    for number in bodies.as_flattened() {
        output.f64(*number);
    }
    Ok(())
}
