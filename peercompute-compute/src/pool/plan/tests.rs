use proptest::{collection::vec, prelude::*};

use super::*;

fn throttle(percent: u8) -> Throttle {
    Throttle::percent(percent).expect("tests stay within 0 to 100")
}

#[test]
fn one_core_is_left_to_others_and_two_above_eight() {
    let limits: Vec<_> = (0..=10).map(worker_limit).collect();
    assert_eq!(limits, [1, 1, 1, 2, 3, 4, 5, 6, 7, 7, 8]);
    assert_eq!(worker_limit(64), 62);
    assert_eq!(worker_limit(usize::MAX), MAX_WORKERS);
}

#[test]
fn workers_follow_the_throttle_and_the_rest_is_duty() {
    let plan = |cores, percent| {
        let plan = Plan::new(cores, throttle(percent));
        (plan.workers, plan.duty.0)
    };
    assert_eq!(plan(4, 100), (3, 100));
    assert_eq!(plan(4, 99), (2, 100));
    assert_eq!(plan(4, 50), (1, 100));
    assert_eq!(plan(4, 20), (1, 60));
    assert_eq!(plan(2, 50), (1, 50));
    assert_eq!(plan(2, 1), (1, 1));
    assert_eq!(plan(16, 29), (4, 100));
    assert_eq!(plan(16, 0).0, 0);
}

proptest! {
    #[test]
    fn workers_times_duty_never_exceed_the_throttle(cores in 0..3000usize, percent in 0..=100u8) {
        let plan = Plan::new(cores, throttle(percent));
        let allowed = worker_limit(cores) * usize::from(percent);
        prop_assert!(plan.workers <= MAX_WORKERS);
        prop_assert_eq!(plan.workers == 0, percent == 0);
        if plan.workers > 0 {
            prop_assert!(plan.workers * usize::from(plan.duty.0) <= allowed);
            prop_assert!((plan.workers + 1) * 100 > allowed, "another worker would fit");
        }
    }

    #[test]
    fn a_busy_worker_works_its_part_of_the_time(
        percent in 1..=100u8,
        tasks in vec(1..50_000u64, 100..300),
    ) {
        let duty = Duty::percent(percent);
        let mut cycle = DutyCycle::default();
        let (mut work, mut rest) = (Duration::ZERO, Duration::ZERO);
        for task in tasks {
            let task = Duration::from_micros(task);
            cycle.handle_work(task);
            work += task;
            if let Some(due) = cycle.poll_rest(duty) {
                cycle.handle_rest(duty, due);
                rest += due;
            }
        }
        // What is saved up is below the shortest rest. Each rest is exact but for the rounding to nanoseconds of work, which are up to 100 times as many of rest.
        let rounding = Duration::from_nanos(100 * 300);
        let owed = duty.rest_after(work).saturating_sub(rest);
        prop_assert!(owed < MIN_REST + rounding, "{owed:?} are owed");
        prop_assert!(rest <= duty.rest_after(work) + rounding);
    }

    #[test]
    fn the_duty_cycle_is_a_debt_that_idle_time_pays(
        percent in 1..100u8,
        steps in vec((any::<bool>(), 0..10_000_000u64), 1..100),
    ) {
        let duty = Duty::percent(percent);
        let mut cycle = DutyCycle::default();
        // The model counts in hundredths of nanoseconds of rest.
        let mut debt = 0f64;
        for (works, nanos) in steps {
            let step = Duration::from_nanos(nanos);
            let (work, pause) = (f64::from(percent), f64::from(100 - percent));
            if works {
                cycle.handle_work(step);
                debt += nanos as f64 * pause / work;
            } else {
                cycle.handle_rest(duty, step);
                debt = (debt - nanos as f64).max(0.0);
            }
            let due = cycle.poll_rest(duty).unwrap_or_default().as_nanos() as f64;
            let expected = if debt < MIN_REST.as_nanos() as f64 { 0.0 } else { debt };
            let tolerance = 10_000.0;
            let near_the_edge = (debt - MIN_REST.as_nanos() as f64).abs() < tolerance;
            prop_assert!(near_the_edge || (due - expected).abs() < tolerance, "{due} {expected}");
        }
    }

    #[test]
    fn a_share_is_all_that_fits_and_never_hides_work(
        queued in 0..100_000usize,
        workers in 0..200usize,
        idle in 0..200usize,
    ) {
        let share = share(queued, workers, idle);
        prop_assert!(share <= queued && share <= MAX_SHARE);
        prop_assert_eq!(share == 0, queued == 0);
        if idle > 0 {
            prop_assert!(share <= 1);
        }
        prop_assert!(share * workers <= queued + workers, "the others get their share too");
    }
}

#[test]
fn without_a_throttle_nobody_rests() {
    let mut cycle = DutyCycle::default();
    cycle.handle_work(Duration::MAX);
    assert_eq!(cycle.poll_rest(Duty::percent(100)), None);
}

#[test]
fn a_changed_throttle_counts_for_the_work_already_done() {
    let mut cycle = DutyCycle::default();
    cycle.handle_work(Duration::from_secs(1));
    assert_eq!(
        cycle.poll_rest(Duty::percent(50)),
        Some(Duration::from_secs(1))
    );
    assert_eq!(
        cycle.poll_rest(Duty::percent(20)),
        Some(Duration::from_secs(4))
    );
}
