use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1::{Capabilities, StreamBinding, TaskFrame, TaskHello, task_frame::Frame};
use peercompute_swarm::{ProtocolViolation, SubmitterEvent, Worker};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    desk::{A, Desk},
    frames::{claim, frame, good_hello, hello, hello_with, leases, offer, results},
    scene::{binding, worker_config},
};
const NOW: Duration = Duration::ZERO;

fn of_version(version: u32) -> StreamBinding {
    StreamBinding {
        version,
        ..binding()
    }
}

fn of_another_room() -> StreamBinding {
    StreamBinding {
        scope: Bytes::from_static(&[8; 32]),
        ..binding()
    }
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.submitter
        .add_worker(NOW, A, None)
        .expect("room for a worker");
    desk
}

#[test]
fn both_ends_say_hello_first() {
    let mut desk = desk();
    desk.job(1);
    assert!(matches!(
        desk.frames(A)[..],
        [TaskFrame {
            frame: Some(Frame::Hello(_))
        }]
    ));
    let mut worker = Worker::new(worker_config());
    let Some(TaskFrame {
        frame: Some(Frame::Hello(hello)),
    }) = worker.poll_transmit(NOW)
    else {
        panic!("no hello");
    };
    assert_eq!(
        hello,
        TaskHello {
            binding: Some(binding()),
            capabilities: Some(worker_config().capabilities)
        }
    );
    assert_eq!(worker.poll_transmit(NOW), None);
}

#[test]
fn another_version_is_answered_with_both_versions_and_the_remedy() {
    let violation = desk().hear(A, hello(of_version(2))).unwrap_err();
    assert_eq!(violation, ProtocolViolation::Version { theirs: 2, ours: 1 });
    assert_eq!(
        violation.to_string(),
        "the peer speaks version 2 of the task protocol, this node version 1; update the older of the two"
    );
    let violation = Worker::new(worker_config())
        .handle_frame(NOW, hello(of_version(2)))
        .unwrap_err();
    assert_eq!(violation, ProtocolViolation::Version { theirs: 2, ours: 1 });
}

#[test]
fn another_room_is_a_violation_on_both_sides() {
    assert_eq!(
        desk().hear(A, hello(of_another_room())),
        Err(ProtocolViolation::Scope)
    );
    let mut worker = Worker::new(worker_config());
    assert_eq!(
        worker.handle_frame(NOW, hello(of_another_room())),
        Err(ProtocolViolation::Scope)
    );
}

#[test]
fn a_hello_must_carry_a_binding() {
    let empty = frame(Frame::Hello(TaskHello::default()));
    assert_eq!(
        desk().hear(A, empty),
        Err(ProtocolViolation::MissingBinding)
    );
}

#[test]
fn nothing_but_a_hello_opens_the_stream() {
    let violation = ProtocolViolation::HelloExpected {
        frame: "TaskResults",
    };
    assert_eq!(desk().hear(A, results(1, [1])), Err(violation));
    let violation = ProtocolViolation::HelloExpected { frame: "TaskOffer" };
    assert_eq!(
        Worker::new(worker_config()).handle_frame(NOW, offer(1)),
        Err(violation)
    );
}

#[test]
fn a_second_hello_is_a_violation() {
    let mut desk = desk();
    desk.say(A, good_hello());
    assert_eq!(
        desk.hear(A, good_hello()),
        Err(ProtocolViolation::SecondHello)
    );
}

#[test]
fn frames_of_the_other_role_are_violations() {
    let mut desk = desk();
    desk.say(A, good_hello());
    let violation = ProtocolViolation::WrongRole {
        frame: "TaskLeases",
        sender: "a submitter",
    };
    assert_eq!(desk.hear(A, leases(1, [1], 0)), Err(violation));
    let mut worker = Worker::new(worker_config());
    worker.handle_frame(NOW, good_hello()).unwrap();
    let violation = ProtocolViolation::WrongRole {
        frame: "TaskClaim",
        sender: "a worker",
    };
    assert_eq!(worker.handle_frame(NOW, claim(1, 1, 1)), Err(violation));
}

#[test]
fn frames_of_a_later_version_of_the_schema_are_ignored() {
    assert_eq!(desk().hear(A, TaskFrame { frame: None }), Ok(()));
    assert_eq!(
        Worker::new(worker_config()).handle_frame(NOW, TaskFrame { frame: None }),
        Ok(())
    );
}

#[test]
fn jobs_are_offered_once_the_worker_has_said_hello() {
    let mut desk = desk();
    let early = desk.job(0);
    assert!(
        !desk
            .frames(A)
            .iter()
            .any(|frame| matches!(frame.frame, Some(Frame::Offer(_))))
    );
    desk.say(A, good_hello());
    let late = desk.job(0);
    let offers: Vec<_> = desk
        .frames(A)
        .into_iter()
        .map(|frame| match frame.frame {
            Some(Frame::Offer(offer)) => (offer.job, offer.lease_ms),
            other => panic!("not an offer: {other:?}"),
        })
        .collect();
    assert_eq!(offers, [(early.as_u32(), 10_000), (late.as_u32(), 10_000)]);
}

#[test]
fn what_the_hello_says_of_the_machine_replaces_what_was_known() {
    let known = Capabilities {
        workers: 1,
        ..Capabilities::default()
    };
    let said = Capabilities {
        workers: 8,
        ..Capabilities::default()
    };
    let mut desk = Desk::new();
    desk.submitter.add_worker(NOW, A, Some(known)).unwrap();
    desk.say(A, hello_with(said));
    assert_eq!(
        desk.events(),
        [SubmitterEvent::WorkerReady {
            worker: A,
            capabilities: Some(said)
        }]
    );
}
