//! The steps, which are the same natively.

/// Place, velocity and mass.
pub(crate) type Body = [f64; 7];

/// Moves the bodies on, by so many steps of this length.
pub(crate) fn simulate(bodies: &mut [Body], steps: u32, step: f64) {
    for _ in 0..steps {
        advance(bodies, step);
    }
}

/// Each body adds up what all others do to it, and changes its velocity once: what is stored may have to be looked at for NaNs, what is added up on the way is not.
fn advance(bodies: &mut [Body], step: f64) {
    for i in 0..bodies.len() {
        let mut pull = attraction(&bodies[i], &bodies[..i], [0.0; 3]);
        pull = attraction(&bodies[i], &bodies[i + 1..], pull);
        for axis in 0..3 {
            bodies[i][3 + axis] += step * pull[axis];
        }
    }
    for body in bodies {
        for axis in 0..3 {
            body[axis] += step * body[3 + axis];
        }
    }
}

fn attraction(body: &Body, others: &[Body], mut sum: [f64; 3]) -> [f64; 3] {
    for other in others {
        let d = [other[0] - body[0], other[1] - body[1], other[2] - body[2]];
        let square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        let strength = other[6] / (square * square.sqrt());
        for axis in 0..3 {
            sum[axis] += d[axis] * strength;
        }
    }
    sum
}
