//! How a capacity is divided among jobs.

/// How much more than it has used lately a job may claim before what is left goes to the others.
const GROWTH: f64 = 1.5;

/// The part of an equal share that a job may always claim, so that it can begin.
const BEGIN: f64 = 0.2;

/// Divides `capacity` among jobs that have lately `used` so much of it each.
///
/// Each may use an equal share. What a job does not claim of its share, half as much again as it has used but a fifth of the share at least, goes to those who claim
/// more than theirs; what nobody claims is divided equally, for it may be claimed next.
pub(super) fn divide(capacity: f64, used: &[f64]) -> Vec<f64> {
    let count = used.len() as f64;
    let claims: Vec<f64> = used
        .iter()
        .map(|used| (used * GROWTH).max(capacity / count * BEGIN))
        .collect();
    let mut order: Vec<usize> = (0..used.len()).collect();
    order.sort_by(|a, b| claims[*a].total_cmp(&claims[*b]));
    let mut shares = vec![0.0; used.len()];
    let mut left = capacity;
    for (place, &index) in order.iter().enumerate() {
        let equal = left / (used.len() - place) as f64;
        shares[index] = claims[index].min(equal);
        left -= shares[index];
    }
    for share in &mut shares {
        *share += left / count;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn one_job_has_everything() {
        assert_eq!(divide(100.0, &[0.0]), [100.0]);
        assert_eq!(divide(100.0, &[1000.0]), [100.0]);
    }

    #[test]
    fn jobs_that_want_everything_have_equal_shares() {
        assert_eq!(divide(90.0, &[80.0, 50.0, 500.0]), [30.0, 30.0, 30.0]);
    }

    #[test]
    fn what_a_job_leaves_goes_to_the_others() {
        let shares = divide(100.0, &[0.0, 100.0]);
        assert_eq!(shares, [10.0, 90.0]);
    }

    proptest! {
        #[test]
        fn all_of_it_is_divided_and_nobody_falls_below_its_claim_or_share(
            capacity in 1.0..1e9_f64, used in prop::collection::vec(0.0..2e9_f64, 1..9),
        ) {
            let shares = divide(capacity, &used);
            prop_assert!((shares.iter().sum::<f64>() - capacity).abs() < 1e-6 * capacity);
            for (share, used) in shares.iter().zip(&used) {
                let equal = capacity / shares.len() as f64;
                prop_assert!(*share >= (used * GROWTH).min(equal) * 0.999_999);
            }
        }
    }
}
