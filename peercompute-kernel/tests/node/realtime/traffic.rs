//! What goes over the lanes of a live room, as it is counted.

use std::collections::BTreeMap;

use peercompute_kernel::{
    AUTHORITY_PROTOCOL, ClockMode, HybridConfig, LOCKSTEP_PROTOCOL, LaneTraffic, LockstepConfig,
    REALTIME_PROTOCOL, RealtimeConfig, SNAPSHOTS_PROTOCOL, SYNC_PROTOCOL, Step,
};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Carries out what is asked, for so many seconds; commands are the same for all and change nothing.
async fn play(world: &World, nodes: &[NodeKernel], seconds: u32) {
    for _ in 0..seconds * 50 {
        for node in nodes {
            let live = live(node);
            live.send_command(live.command_tick(), Bytes::from("go"))
                .unwrap();
            while let Some(step) = live.try_next_step() {
                match step {
                    Step::Advance(sealed) => {
                        live.finish_tick(sealed.tick, &[("state", 0)]).unwrap();
                    }
                    Step::Save { tick } => live.give_state(tick, vec![Bytes::from("it")]).unwrap(),
                    _ => {}
                }
            }
            taken(node);
        }
        world.runtime.sleep(SECOND / 50).await;
    }
}

fn lanes(node: &NodeKernel) -> BTreeMap<&'static str, LaneTraffic> {
    live(node).stats().lanes().collect()
}

fn lockstep() -> LockstepConfig {
    let mut config = LockstepConfig::default();
    config.namespaces = vec!["state".to_owned()];
    config
}

#[test]
fn every_frame_that_one_end_of_a_lane_has_sent_counts_at_the_other() {
    let modes = [
        (ClockMode::Independent, [true, false, false]),
        (ClockMode::Kernel(lockstep()), [false, true, false]),
        (
            ClockMode::Hybrid(HybridConfig::default()),
            [false, false, true],
        ),
    ];
    for (seed, (mode, [shows, ticks, syncs])) in modes.into_iter().enumerate() {
        let world = World::new(640 + seed as u64);
        world.run(async {
            let config = RealtimeConfig::from(Profile::action()).with_clock(mode);
            let nodes = room(&world, 2, config).await;
            live(&nodes[0])
                .add_state("score", move |_: Moment| shows.then(|| Bytes::from("1")))
                .unwrap();
            if shows {
                world.runtime.sleep(3 * SECOND).await;
            } else {
                play(&world, &nodes, 3).await;
            }
            // All that it has said arrives.
            nodes[0].stop().await;
            world.runtime.sleep(SECOND).await;
            let (sent, received) = (lanes(&nodes[0]), lanes(&nodes[1]));
            for (protocol, lane) in &sent {
                let other = received[protocol];
                assert_eq!(
                    (lane.frames_sent, lane.bytes_sent),
                    (other.frames_received, other.bytes_received),
                    "{protocol}"
                );
            }
            let busy = |protocol| sent[protocol].frames_sent > 10;
            assert!(
                busy(REALTIME_PROTOCOL) && busy(AUTHORITY_PROTOCOL),
                "{sent:?}"
            );
            // A greeting is all that goes over what a mode does not need.
            assert_eq!(busy(SNAPSHOTS_PROTOCOL), shows, "{sent:?}");
            assert_eq!(busy(LOCKSTEP_PROTOCOL), ticks, "{sent:?}");
            assert_eq!(busy(SYNC_PROTOCOL), syncs, "{sent:?}");
            let (stats, all) = (live(&nodes[0]).stats(), |of: fn(&LaneTraffic) -> u64| {
                sent.values().map(of).sum::<u64>()
            });
            let total = stats.total();
            assert_eq!(total.bytes_sent, all(|lane| lane.bytes_sent));
            assert_eq!(total.frames_received, all(|lane| lane.frames_received));
            // The scheduler knows nothing of authority and ticks, nor of greetings.
            let scheduled =
                sent[REALTIME_PROTOCOL].frames_sent + sent[SNAPSHOTS_PROTOCOL].frames_sent;
            assert_eq!(stats.scheduler.frames_sent + 2, scheduled);
        });
    }
}
