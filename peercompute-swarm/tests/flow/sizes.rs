//! Tasks whose results are larger or smaller than anybody could know before.

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{
    MINUTE, MS, crc, native,
    world::{Spec, World, tasks},
};

const RATE: f64 = 1e7;
const TASKS: usize = 200;

/// Seconds that a job takes whose only worker is two links away, beside those that its bytes take.
fn waste(spec: &peercompute_proto::v1::TaskSpec, input: usize, output: usize) -> f64 {
    let mut world = World::new(80);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(2, MS));
    world.link(a, b, RATE, 5);
    world.link(b, c, RATE, 5);
    world.stretch(c, output);
    let job = world.open(a, spec.clone());
    world.push(a, job, tasks(TASKS, input));
    world.finish(a, job);
    assert!(world.run(10 * MINUTE, |world| world.is_done(a, job)));
    let outcomes = world.outcomes(a).iter();
    let results = outcomes.map(|it| it.result.as_ref().unwrap().len());
    assert_eq!(results.collect::<Vec<_>>(), [output; TASKS]);
    assert_eq!(world.violations, []);
    world.now.as_secs_f64() - (TASKS * input.max(output)) as f64 / RATE
}

#[test]
fn results_of_any_size_take_little_longer_than_their_bytes() {
    // Of a program of one's own nobody knows how much it gives, and of an operation whoever computes it may give something else.
    for spec in [native(), crc()] {
        for input in [64, 4096, 65_536] {
            for output in [8, 4096, 65_536, 1 << 18] {
                let wasted = waste(&spec, input, output);
                let bytes = (TASKS * input.max(output)) as f64 / RATE;
                assert!(
                    wasted < bytes + 1.5,
                    "{wasted} s for results of {output} bytes of inputs of {input}"
                );
            }
        }
    }
}
