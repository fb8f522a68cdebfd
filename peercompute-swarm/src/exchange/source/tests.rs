use peercompute_proto::Scope;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const NOW: Duration = Duration::ZERO;
const THERE: NeighbourId = NeighbourId(1);

/// What becomes of the only task of a job whose results may have 8 bytes, and whether the neighbour that was given it did well, if these come home.
fn judged(results: Vec<v1::FlowOutput>) -> (VecDeque<ExchangeEvent>, bool, usize) {
    let binding = v1::StreamBinding::new(Scope::new("test", "room").unwrap());
    let config = ExchangeConfig::new(binding, vec![1; 8].into());
    let limits = v1::TaskLimits {
        max_output_bytes: 8,
        ..v1::TaskLimits::default()
    };
    let spec = v1::TaskSpec {
        limits: Some(limits),
        ..v1::TaskSpec::default()
    };
    let mut source = Source::new(NOW, JobId(1), &spec, &config, [7; 32]);
    source.push(NewTask {
        state: None,
        input: Bytes::from_static(b"input"),
    });
    let packed = source.pack(NOW, Some(THERE)).unwrap();
    let by = RunBy::Peer {
        peer: vec![2; 8].into(),
        via: THERE,
        hops: 1,
    };
    let mut events = VecDeque::new();
    let verdict = source.complete(NOW, packed.bundle, results, &by, &mut events);
    (events, verdict.unwrap().good, source.pending())
}

fn value(bytes: usize) -> v1::FlowOutput {
    v1::FlowOutput {
        value: vec![0; bytes].into(),
        ..v1::FlowOutput::default()
    }
}

#[test]
fn a_result_as_long_as_allowed_ends_its_task_and_does_the_neighbour_good() {
    let (events, good, pending) = judged(vec![value(8)]);
    assert!(matches!(
        events.front(),
        Some(ExchangeEvent::TaskDone { .. })
    ));
    assert_eq!((good, pending), (true, 0));
}

#[test]
fn what_is_longer_than_allowed_is_bad_and_tried_again_even_beside_a_failure() {
    let failure = v1::FlowFailure {
        reason: v1::TaskFailureReason::Trap.into(),
        ..v1::FlowFailure::default()
    };
    let hidden = v1::FlowOutput {
        failure: Some(failure),
        ..value(9)
    };
    for result in [value(9), hidden] {
        let (events, good, pending) = judged(vec![result]);
        assert_eq!((events.len(), good, pending), (0, false, 1));
    }
}

#[test]
fn results_that_nobody_asked_for_are_bad_and_the_others_count() {
    let (events, good, pending) = judged(vec![value(8), value(8)]);
    assert!(matches!(
        events.front(),
        Some(ExchangeEvent::TaskDone { .. })
    ));
    assert_eq!((events.len(), good, pending), (1, false, 0));
}
