use proptest::{collection::vec, prelude::*};

use super::*;

fn parts(input: &[u8]) -> Vec<&[u8]> {
    let mut rest = input;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().expect("a length");
        let (part, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part);
        rest = behind;
    }
    parts
}

/// The first and the last byte of it all: associative, not commutative, and short.
fn ends(parts: &[&[u8]]) -> Bytes {
    let first = parts.iter().find_map(|part| part.first());
    let last = parts.iter().rev().find_map(|part| part.last());
    first.into_iter().chain(last).copied().collect()
}

fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    let mut state = seed | 1;
    for place in (1..items.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        items.swap(place, (state >> 33) as usize % (place + 1));
    }
    items
}

/// Puts the leaves in this order, runs tasks in any, and gives the result and the inputs of all tasks.
fn reduce(
    mut reduction: Reduction,
    leaves: &[Vec<u8>],
    order: &[usize],
    end_after: usize,
    seed: u64,
    combine: fn(&[&[u8]]) -> Bytes,
) -> Result<(Bytes, Vec<Bytes>), ReduceError> {
    let mut inputs = Vec::new();
    let mut tasks = Vec::new();
    let mut state = seed;
    for step in 0..=leaves.len() {
        if step == end_after {
            reduction.end(leaves.len() as u64)?;
        }
        if let Some(&leaf) = order.get(step) {
            reduction.put(leaf as u64, leaves[leaf].clone().into())?;
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        tasks.extend(std::iter::from_fn(|| reduction.poll_task()));
        if state >> 63 == 0 && !tasks.is_empty() {
            let task: ReduceTask = tasks.swap_remove((state >> 33) as usize % tasks.len());
            reduction.handle_result(task.id, combine(&parts(&task.input)))?;
            inputs.push(task.input);
        }
    }
    loop {
        tasks.extend(std::iter::from_fn(|| reduction.poll_task()));
        tasks = shuffled(tasks, state);
        let Some(task) = tasks.pop() else { break };
        reduction.handle_result(task.id, combine(&parts(&task.input)))?;
        inputs.push(task.input);
    }
    assert_eq!(reduction.tasks(), inputs.len() as u64);
    assert_eq!(reduction.waiting_bytes(), 0);
    inputs.sort();
    let result = reduction.result().expect("everything was combined").clone();
    Ok((result, inputs))
}

proptest! {
    #[test]
    fn the_result_is_the_fold_whatever_comes_first_and_the_tasks_are_the_same(
        leaves in vec(vec(any::<u8>(), 0..20), 0..300),
        fan_in in 2..70_usize,
        limit in 48..2000_usize,
        seeds in any::<[u64; 2]>(),
        end_after in any::<prop::sample::Index>(),
    ) {
        let fold = ends(&leaves.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let run = |order: &[usize], end_after, seed| {
            reduce(Reduction::new().with_bounds(fan_in, limit), &leaves, order, end_after, seed, ends)
        };
        let in_order: Vec<usize> = (0..leaves.len()).collect();
        let (result, inputs) = run(&in_order, leaves.len(), seeds[0])?;
        prop_assert_eq!(&result, &fold);
        prop_assert!(!inputs.is_empty());
        for input in &inputs {
            prop_assert!(input.len() <= limit && parts(input).len() <= fan_in);
            prop_assert!(inputs.len() == 1 || parts(input).len() > 1);
        }
        let other = run(&shuffled(in_order, seeds[0]), end_after.index(leaves.len() + 1), seeds[1])?;
        prop_assert_eq!(other, (result, inputs));
    }

    #[test]
    fn what_grows_is_combined_or_said_to_be_too_long(
        leaves in vec(vec(any::<u8>(), 0..30), 1..60),
        limit in 1..400_usize,
        seed in any::<u64>(),
    ) {
        let reduction = Reduction::new().with_bounds(5, limit);
        let order = shuffled((0..leaves.len()).collect(), seed);
        match reduce(reduction, &leaves, &order, 0, seed, |parts| parts.concat().into()) {
            Ok((result, _)) => prop_assert_eq!(result, leaves.concat()),
            Err(ReduceError::TooLong { size, .. }) => prop_assert!(size + PREFIX > limit),
            Err(ReduceError::NeighboursTooLong { first, second, .. }) => {
                prop_assert!(first + second + 2 * PREFIX > limit);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn what_comes_in_order_waits_no_longer_than_one_task_for_each_level(
        lengths in vec(0..100_usize, 1..2000),
        limit in 300..2000_usize,
    ) {
        let mut reduction = Reduction::new().with_bounds(8, limit);
        for (index, length) in lengths.iter().enumerate() {
            reduction.put(index as u64, vec![1; *length].into())?;
            while let Some(task) = reduction.poll_task() {
                reduction.handle_result(task.id, ends(&parts(&task.input)))?;
            }
            prop_assert!(reduction.waiting_bytes() <= limit * reduction.levels.len());
        }
        // Two results of a task always go into one, so each level has at most half of the one below, one more for a result that goes up by itself.
        prop_assert!(reduction.levels.len() <= 2 + lengths.len().ilog2() as usize * 2);
    }
}

#[test]
fn a_single_result_and_none_at_all_are_given_to_one_task() {
    for (leaves, input) in [(1, &b"\x02\0\0\0ab"[..]), (0, b"")] {
        let mut reduction = Reduction::new();
        for leaf in 0..leaves {
            reduction.put(leaf, Bytes::from("ab")).unwrap();
        }
        assert_eq!(reduction.poll_task(), None);
        reduction.end(leaves).unwrap();
        let task = reduction.poll_task().unwrap();
        assert_eq!(task.input, input);
        assert_eq!(reduction.result(), None);
        reduction.handle_result(task.id, Bytes::from("c")).unwrap();
        assert_eq!(reduction.poll_task(), None);
        assert_eq!(reduction.result(), Some(&Bytes::from("c")));
        reduction.end(leaves).unwrap();
        assert_eq!(reduction.result(), Some(&Bytes::from("c")));
    }
}

#[test]
fn tasks_come_before_the_end_is_known() {
    let mut reduction = Reduction::new();
    for index in (1..64).rev() {
        reduction.put(index, Bytes::from("x")).unwrap();
        assert_eq!(reduction.poll_task(), None);
    }
    reduction.put(0, Bytes::from("x")).unwrap();
    assert_eq!(reduction.poll_task().unwrap().input.len(), 64 * 5);
}

#[test]
fn what_does_not_belong_there_is_refused_and_changes_nothing() {
    let mut reduction = Reduction::new().with_bounds(64, 100);
    let x = || Bytes::from("x");
    reduction.put(1, x()).unwrap();
    assert_eq!(reduction.put(1, x()), Err(ReduceError::Twice { index: 1 }));
    assert_eq!(reduction.end(1), Err(ReduceError::BeyondEnd { index: 1 }));
    assert_eq!(
        reduction.put(0, vec![0; 97].into()),
        Err(ReduceError::TooLong {
            size: 97,
            limit: 96
        })
    );
    reduction.put(0, x()).unwrap();
    assert_eq!(reduction.put(0, x()), Err(ReduceError::Twice { index: 0 }));
    reduction.end(2).unwrap();
    assert_eq!(reduction.end(3), Err(ReduceError::BeyondEnd { index: 3 }));
    assert_eq!(
        reduction.put(2, x()),
        Err(ReduceError::BeyondEnd { index: 2 })
    );
    assert_eq!(
        reduction.handle_result(1, x()),
        Err(ReduceError::NoSuchTask { id: 1 })
    );
    reduction.handle_result(0, x()).unwrap();
    assert_eq!(
        reduction.handle_result(0, x()),
        Err(ReduceError::NoSuchTask { id: 0 })
    );
    assert_eq!(reduction.result(), Some(&x()));
}

#[test]
fn neighbours_that_never_go_together_fail_before_the_end() {
    let mut reduction = Reduction::new().with_bounds(64, 100);
    let put = |reduction: &mut Reduction, index| reduction.put(index, vec![0; 60].into());
    put(&mut reduction, 0).unwrap();
    put(&mut reduction, 1).unwrap();
    let expected = ReduceError::NeighboursTooLong {
        first: 60,
        second: 60,
        limit: 100,
    };
    assert_eq!(put(&mut reduction, 2), Err(expected));
}
