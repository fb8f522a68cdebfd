//! Frames that nobody sends who means well.

use std::time::Duration;

use peercompute_proto::{
    Scope,
    v1::{
        self, CellFrame, FlowBegin, FlowCell, FlowChunk, FlowEcho, FlowEnd, FlowFrame, FlowHello,
        FlowJob, FlowKey, FlowRenewal, StreamBinding,
    },
};
use peercompute_swarm::{Exchange, ExchangeConfig, ExchangeEvent, FlowViolation, NeighbourId};
use proptest::{collection::vec, option, prelude::*};

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{MS, crc, world::tasks};

const NOW: Duration = Duration::ZERO;
const THERE: NeighbourId = NeighbourId(1);

fn binding() -> StreamBinding {
    StreamBinding::new(Scope::new("test", "room").unwrap())
}

fn exchange() -> Exchange {
    let mut config = ExchangeConfig::new(binding(), vec![1; 8].into());
    config.store_bytes = 1 << 20;
    let mut exchange = Exchange::new(config, NOW, 1);
    for id in [THERE, NeighbourId(2)] {
        exchange
            .add_neighbour(NOW, id, vec![id.0 as u8 + 1; 8].into())
            .unwrap();
    }
    exchange.handle_frame(NOW, NeighbourId(2), hello()).unwrap();
    exchange
}

fn hello() -> FlowFrame {
    FlowFrame {
        hello: Some(FlowHello {
            binding: Some(binding()),
            capabilities: None,
        }),
        ..FlowFrame::default()
    }
}

fn offer(job: u32, number: u64) -> FlowJob {
    FlowJob {
        job,
        key: Some(FlowKey {
            peer: vec![9; 8].into(),
            number,
        }),
        spec: Some(crc()),
        lease_ms: 10_000,
        input_bytes: 1000,
        output_bytes: 10,
        source_hops: 1,
        ..FlowJob::default()
    }
}

fn after_hello(frame: FlowFrame) -> Result<(), FlowViolation> {
    let mut exchange = exchange();
    exchange.handle_frame(NOW, THERE, hello())?;
    let jobs = FlowFrame {
        jobs: vec![offer(1, 1)],
        ..FlowFrame::default()
    };
    exchange.handle_frame(NOW, THERE, jobs)?;
    while let Some(event) = exchange.poll_event() {
        if let ExchangeEvent::JobOpened { job, .. } = event {
            exchange.accept_job(NOW, job);
        }
    }
    exchange.handle_frame(NOW, THERE, frame)
}

#[test]
fn a_stream_begins_with_one_hello_of_the_same_room_and_version() {
    let mut none = exchange();
    let refused = none.handle_frame(NOW, THERE, FlowFrame::default());
    assert!(matches!(refused, Err(FlowViolation::Hello { .. })));
    assert!(matches!(
        after_hello(hello()),
        Err(FlowViolation::Hello { .. })
    ));
    let other = |binding: StreamBinding| {
        let mut frame = hello();
        frame.hello.as_mut().unwrap().binding = Some(binding);
        exchange().handle_frame(NOW, THERE, frame)
    };
    let scope = StreamBinding::new(Scope::new("test", "other").unwrap());
    assert_eq!(other(scope), Err(FlowViolation::Scope));
    let version = StreamBinding {
        version: 77,
        ..binding()
    };
    assert!(matches!(
        other(version),
        Err(FlowViolation::Version { theirs: 77, .. })
    ));
}

#[test]
fn numbers_are_introduced_once_and_before_they_are_used() {
    let twice = FlowFrame {
        jobs: vec![offer(1, 2)],
        ..FlowFrame::default()
    };
    assert_eq!(
        after_hello(twice),
        Err(FlowViolation::Introduced { job: 1 })
    );
    let same_job = FlowFrame {
        jobs: vec![offer(2, 1)],
        ..FlowFrame::default()
    };
    assert_eq!(
        after_hello(same_job),
        Err(FlowViolation::Introduced { job: 2 })
    );
    let unknown = FlowFrame {
        ends: vec![FlowEnd { job: 9, over: true }],
        ..FlowFrame::default()
    };
    assert_eq!(
        after_hello(unknown),
        Err(FlowViolation::UnknownJob { job: 9 })
    );
}

#[test]
fn items_without_a_slot_a_beginning_or_a_fitting_size_are_violations() {
    let chunk = |size: Option<u32>, data: usize| FlowFrame {
        chunks: vec![FlowChunk {
            job: 1,
            begin: size.map(|size| FlowBegin {
                bundle: 1,
                size,
                hops: 1,
            }),
            data: vec![0; data].into(),
            output: false,
        }],
        ..FlowFrame::default()
    };
    for frame in [
        chunk(None, 10),
        chunk(Some(10), 11),
        chunk(Some(u32::MAX), 1),
    ] {
        let refused = after_hello(frame);
        assert!(
            matches!(refused, Err(FlowViolation::Chunk { job: 1, .. })),
            "{refused:?}"
        );
    }
    // It was granted no slot.
    let refused = after_hello(chunk(Some(10), 10));
    assert!(
        matches!(refused, Err(FlowViolation::Cell(_))),
        "{refused:?}"
    );
}

/// Bytes that are stored after a neighbour has begun an item of `size` bytes in each of so many jobs, and sent all of it but its end.
fn unfinished(jobs: u32, size: u32) -> usize {
    let mut exchange = exchange();
    exchange.handle_frame(NOW, THERE, hello()).unwrap();
    for job in 1..=jobs {
        let mut frame = FlowFrame {
            jobs: vec![offer(job, job.into())],
            ..FlowFrame::default()
        };
        for piece in 0..8 {
            frame.chunks.push(FlowChunk {
                job,
                output: true,
                begin: (piece == 0).then_some(FlowBegin {
                    bundle: 1,
                    size,
                    hops: 1,
                }),
                data: vec![0; (size as usize - 1) / 8].into(),
            });
        }
        exchange.handle_frame(NOW, THERE, frame).unwrap();
    }
    exchange.status().stored_bytes
}

#[test]
fn one_neighbour_cannot_fill_the_store_with_items_that_it_does_not_finish() {
    // The store has 1 MiB, and the neighbour an eighth of it.
    assert_eq!(unfinished(1, 64 * 1024 + 1), 64 * 1024);
    assert!(unfinished(16, 64 * 1024 + 1) <= 128 * 1024);
    assert_eq!(unfinished(1, 512 * 1024), 0);
}

#[test]
fn one_neighbour_cannot_take_all_jobs() {
    let mut exchange = exchange();
    exchange.handle_frame(NOW, THERE, hello()).unwrap();
    for number in 1..=60 {
        let frame = FlowFrame {
            jobs: vec![offer(number, u64::from(number))],
            ..FlowFrame::default()
        };
        exchange.handle_frame(NOW, THERE, frame).unwrap();
    }
    let theirs = exchange.status().jobs.len();
    assert!(theirs < 32, "{theirs}");
    assert!(exchange.open_job(NOW, crc()).is_ok());
    let frame = FlowFrame {
        jobs: vec![offer(1, 1000)],
        ..FlowFrame::default()
    };
    exchange.handle_frame(NOW, NeighbourId(2), frame).unwrap();
    assert!(exchange.status().jobs.len() > theirs + 1);
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1..4_u32, 1 => any::<u32>()]
}

fn cell() -> impl Strategy<Value = CellFrame> {
    let few = || prop_oneof![4 => Just(0), 3 => 0..4_u32, 1 => any::<u32>()];
    let change = prop_oneof![Just(0), -5000..5000_i32, any::<i32>()];
    (
        vec(change, 0..=5),
        [few(), few(), few()],
        [few(), few(), few()],
    )
        .prop_map(|(changes, inputs, outputs)| CellFrame {
            changes,
            inputs_wanted: inputs[0],
            inputs_granted: inputs[1],
            inputs_returned: inputs[2],
            outputs_wanted: outputs[0],
            outputs_granted: outputs[1],
            outputs_returned: outputs[2],
        })
}

fn frame() -> impl Strategy<Value = FlowFrame> {
    let echo = (any::<[u64; 5]>(), any::<bool>()).prop_map(|(it, wild)| FlowEcho {
        sent_us: it[0],
        echo_us: if wild { it[1] } else { it[1] % 1000 },
        delay_us: if wild { it[2] } else { 0 },
        received: if wild { it[3] } else { 0 },
        rate: it[4],
    });
    let job = (number(), 0..6_u64, any::<bool>(), 0..40_u32, 0..40_u32).prop_map(
        |(job, key, new, source_hops, worker_hops)| FlowJob {
            source_hops,
            worker_hops,
            key: new.then(|| FlowKey {
                peer: vec![if key < 3 { 9 } else { 1 }; 8].into(),
                number: key % 3 + u64::from(key >= 3),
            }),
            ..offer(job, 0)
        },
    );
    let cell = (number(), option::of(cell())).prop_map(|(job, frame)| FlowCell { job, frame });
    let begin = (
        0..5_u64,
        prop_oneof![0..400_u32, any::<u32>()],
        any::<u32>(),
    )
        .prop_map(|(bundle, size, hops)| FlowBegin { bundle, size, hops });
    let chunk = (number(), any::<bool>(), option::of(begin), 0..300_usize).prop_map(
        |(job, output, begin, bytes)| FlowChunk {
            job,
            output,
            begin,
            data: vec![8; bytes].into(),
        },
    );
    let renewal = (number(), vec(0..9_u64, 0..4), any::<u32>(), any::<bool>()).prop_map(
        |(job, bundles, hops, lost)| FlowRenewal {
            job,
            bundles,
            hops,
            lost,
        },
    );
    let end = (number(), any::<bool>()).prop_map(|(job, over)| FlowEnd { job, over });
    (
        option::of(echo),
        vec(job, 0..2),
        vec(cell, 0..3),
        vec(chunk, 0..3),
        vec(renewal, 0..2),
        vec(end, 0..2),
        vec(number(), 0..2),
    )
        .prop_map(
            |(echo, jobs, cells, chunks, renewals, ends, refused)| FlowFrame {
                hello: None,
                echo,
                jobs,
                cells,
                chunks,
                renewals,
                ends,
                refused,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// No frames make an exchange panic, or hold more than it may.
    #[test]
    fn nothing_that_comes_breaks_an_exchange(frames in vec((frame(), 0..400_u32), 1..60)) {
        let mut exchange = exchange();
        let mut now = NOW;
        let mut there = THERE;
        exchange.handle_frame(now, there, hello()).unwrap();
        let own = exchange.open_job(now, crc()).unwrap();
        exchange.push_all(now, own, tasks(50, 2000)).unwrap();
        for (frame, wait) in frames {
            now += MS * wait;
            if exchange.handle_frame(now, there, frame).is_err() {
                exchange.remove_neighbour(now, there);
                there = NeighbourId(there.0 + 10);
                exchange.add_neighbour(now, there, vec![5; 8].into()).unwrap();
                exchange.handle_frame(now, there, hello()).unwrap();
            }
            exchange.handle_timeout(now);
            while let Some(event) = exchange.poll_event() {
                if let ExchangeEvent::JobOpened { job, .. } = event {
                    exchange.accept_job(now, job);
                }
            }
            while let Some(task) = exchange.poll_task() {
                exchange.handle_done(now, task.ticket, Ok(task.input), MS);
            }
            while let Some(ready) = exchange.poll_ready() {
                while exchange.poll_transmit(now, ready).is_some() {}
            }
            let status = exchange.status();
            prop_assert!(status.stored_bytes <= 1 << 20);
            prop_assert!(status.jobs.len() <= 32);
            for job in &status.jobs {
                prop_assert!(job.inputs + job.outputs < 200, "{job:?}");
            }
        }
        exchange.cancel_job(now, own).unwrap();
        drop(v1::FlowFrame::default());
    }
}
