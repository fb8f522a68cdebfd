//! Bytes that no sender wrote: a typed error, or a view within its bounds, and a decoder that goes on as if nothing had come.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_sched::codec::{
    DecodeError, EntityId, Interest, SnapshotCodec, SnapshotDecoder, SnapshotReport, Tick, World,
};
use proptest::prelude::*;

use super::scenes::{SCENES, Scene};

/// A scene of which the last snapshot has not arrived yet.
struct Rig {
    codec: SnapshotCodec,
    decoder: SnapshotDecoder,
    report: SnapshotReport,
    bytes: Vec<u8>,
    world: World,
    ids: Vec<EntityId>,
}

fn rig(name: &'static str) -> Rig {
    let mut scene = Scene::new(name);
    let codec = scene.codec.clone();
    let (mut world, mut encoder, mut decoder) = (codec.world(), codec.encoder(), codec.decoder());
    let mut ids = Vec::new();
    let mut bytes = Vec::new();
    for tick in 1.. {
        scene.play(&mut world, &mut ids);
        world.commit(Tick(tick)).unwrap();
        bytes.clear();
        let interest = Interest {
            entities: &ids,
            ..Interest::default()
        };
        let report = encoder.encode(&world, interest, None, &mut bytes).unwrap();
        if tick == 20 {
            return Rig {
                codec,
                decoder,
                report,
                bytes,
                world,
                ids,
            };
        }
        decoder
            .decode(report.tick, report.baseline, &bytes)
            .unwrap();
        encoder.acknowledge(Tick(tick.saturating_sub(3)));
    }
    unreachable!()
}

impl Rig {
    /// That the true snapshot is still decoded, to the world as it is.
    fn goes_on(&mut self) {
        let view = self
            .decoder
            .decode(self.report.tick, self.report.baseline, &self.bytes)
            .unwrap();
        assert_eq!(view.len(), self.ids.len());
        for (id, row) in view.iter() {
            assert_eq!(self.world.row(id), Some(row));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_do_no_harm(
        scene in 0..SCENES.len(),
        messages in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..20),
    ) {
        let mut rig = rig(SCENES[scene]);
        for (at, (bytes, full)) in messages.iter().enumerate() {
            let baseline = rig.report.baseline.filter(|_| !full);
            if let Ok(view) = rig.decoder.decode(Tick(1_000 + at as u32), baseline, bytes) {
                prop_assert!(view.len() <= peercompute_sched::codec::DEFAULT_ENTITIES);
                for (_, row) in view.iter() {
                    prop_assert!(rig.codec.schema().check(row).is_ok());
                }
            }
        }
        rig.goes_on();
    }

    #[test]
    fn a_damaged_snapshot_does_no_harm(scene in 0..SCENES.len(), at: usize, bits in 1..=255u8, cut: usize) {
        let mut rig = rig(SCENES[scene]);
        let mut bytes = rig.bytes.clone();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= bits;
            bytes.truncate(1 + cut % bytes.len());
        }
        let decoded = rig.decoder.decode(Tick(1_000), rig.report.baseline, &bytes);
        if let Ok(view) = decoded {
            for (_, row) in view.iter() {
                prop_assert!(rig.codec.schema().check(row).is_ok());
            }
        }
        rig.goes_on();
    }

    #[test]
    fn what_follows_the_end_is_refused(scene in 0..SCENES.len(), more in 1..10usize) {
        let mut rig = rig(SCENES[scene]);
        // Other bytes than zero may be a longer snapshot of something else.
        let mut bytes = rig.bytes.clone();
        bytes.resize(bytes.len() + more, 0);
        let error = rig.decoder.decode(rig.report.tick, rig.report.baseline, &bytes).unwrap_err();
        prop_assert_eq!(error, DecodeError::NotExact { bytes: bytes.len() });
        rig.goes_on();
    }
}

#[test]
fn a_snapshot_that_comes_twice_is_told() {
    let mut rig = rig("stack");
    rig.goes_on();
    let tick = rig.report.tick;
    let error = rig
        .decoder
        .decode(tick, rig.report.baseline, &rig.bytes)
        .unwrap_err();
    assert_eq!(error, DecodeError::Repeated { tick });
}

#[test]
fn a_baseline_that_is_not_here_is_told() {
    let mut rig = rig("stack");
    for baseline in [Tick(500), Tick(21), Tick(22)] {
        let error = rig
            .decoder
            .decode(Tick(21), Some(baseline), &rig.bytes)
            .unwrap_err();
        assert_eq!(
            error,
            DecodeError::UnknownBaseline {
                tick: Tick(21),
                baseline
            }
        );
    }
    rig.goes_on();
}

#[test]
fn more_entities_than_allowed_are_refused() {
    let mut rig = rig("curves");
    let small = rig.codec.clone().with_max_entities(10);
    let mut encoder = rig.codec.encoder();
    let mut bytes = Vec::new();
    let interest = Interest {
        entities: &rig.ids,
        ..Interest::default()
    };
    let report = encoder
        .encode(&rig.world, interest, None, &mut bytes)
        .unwrap();
    let error = small
        .decoder()
        .decode(report.tick, None, &bytes)
        .unwrap_err();
    assert_eq!(error, DecodeError::TooMany { max: 10 });
    rig.goes_on();
}
