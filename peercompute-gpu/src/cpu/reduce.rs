use super::Cpu;
use crate::Reduction;

/// Values that one thread takes at a time.
const CHUNK: usize = 1 << 16;

/// Independent sums, so that the additions of one chunk overlap.
const LANES: usize = 16;

pub(super) fn reduce(cpu: &Cpu, reduction: Reduction, values: &[f32]) -> f32 {
    let mut parts = vec![f64::from(reduction.identity()); values.len().div_ceil(CHUNK)];
    cpu.chunks(&mut parts, 1, |index, part| {
        let start = index * CHUNK;
        part[0] = one(reduction, &values[start..values.len().min(start + CHUNK)]);
    });
    let joined = match reduction {
        Reduction::Sum => parts.iter().sum(),
        Reduction::Min => parts.iter().copied().fold(f64::INFINITY, f64::min),
        Reduction::Max => parts.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    joined as f32
}

fn one(reduction: Reduction, values: &[f32]) -> f64 {
    match reduction {
        Reduction::Sum => sum(values),
        Reduction::Min => fold(values, reduction.identity(), f32::min),
        Reduction::Max => fold(values, reduction.identity(), f32::max),
    }
}

fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|value| f64::from(*value)).sum::<f64>()
}

fn fold(values: &[f32], identity: f32, join: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [identity; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, *value);
        }
    }
    f64::from(lanes.iter().chain(rest).copied().fold(identity, join))
}

pub(super) fn prefix_sum(cpu: &Cpu, values: &[f32]) -> Vec<f32> {
    let mut before = vec![0.0f64; values.len().div_ceil(CHUNK)];
    cpu.chunks(&mut before, 1, |index, part| {
        let start = index * CHUNK;
        part[0] = sum(&values[start..values.len().min(start + CHUNK)]);
    });
    let mut running = 0.0;
    for part in &mut before {
        running += std::mem::replace(part, running);
    }
    let mut sums = vec![0.0; values.len()];
    cpu.chunks(&mut sums, CHUNK, |start, part| {
        let mut running = before[start / CHUNK];
        for (sum, value) in part.iter_mut().zip(&values[start..]) {
            running += f64::from(*value);
            *sum = running as f32;
        }
    });
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_reduces_to_the_identity() {
        for reduction in [Reduction::Sum, Reduction::Min, Reduction::Max] {
            assert_eq!(Cpu::single().reduce(reduction, &[]), reduction.identity());
        }
        assert!(Cpu::single().prefix_sum(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn threads_change_nothing_but_the_last_bits(values in prop::collection::vec(-100.0f32..100.0, 0..3 * CHUNK), lead in 0usize..40) {
            let values = &values[lead.min(values.len())..];
            let cpu = Cpu::with_threads(2).expect("few");
            prop_assert_eq!(cpu.reduce(Reduction::Min, values), values.iter().copied().fold(f32::INFINITY, f32::min));
            prop_assert_eq!(cpu.reduce(Reduction::Max, values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let mut running = 0.0f64;
            for (value, sum) in values.iter().zip(cpu.prefix_sum(values)) {
                running += f64::from(*value);
                prop_assert!((running - f64::from(sum)).abs() <= 1e-6 * running.abs().max(1.0));
            }
            prop_assert!((running - f64::from(cpu.reduce(Reduction::Sum, values))).abs() <= 1e-6 * running.abs().max(1.0));
        }
    }
}
