//! The steps, which are the same natively.

/// Place, velocity and mass.
pub type Body = [f64; 7];

/// Moves the bodies on, by so many steps of this length.
pub fn simulate(bodies: &mut [Body], steps: u32, step: f64) {
    for _ in 0..steps {
        advance(bodies, step);
    }
}

fn advance(bodies: &mut [Body], step: f64) {
    for i in 1..bodies.len() {
        let (before, [body, ..]) = bodies.split_at_mut(i) else {
            return;
        };
        for other in before {
            let d = [body[0] - other[0], body[1] - other[1], body[2] - other[2]];
            let square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
            let pull = step / (square * square.sqrt());
            for axis in 0..3 {
                body[3 + axis] -= d[axis] * other[6] * pull;
                other[3 + axis] += d[axis] * body[6] * pull;
            }
        }
    }
    for body in bodies {
        for axis in 0..3 {
            body[axis] += step * body[3 + axis];
        }
    }
}
