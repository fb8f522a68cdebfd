//! What a snapshot costs. `encode_moving` and `decode_moving` are for one entity and receiver where all entities move in every component; `commit` is what the world
//! costs once for all receivers.

fn main() {
    #[cfg(not(target_arch = "wasm32"))]
    divan::main();
}

#[cfg(not(target_arch = "wasm32"))]
#[path = "../tests/common/scenes.rs"]
mod scenes;

#[cfg(not(target_arch = "wasm32"))]
mod snapshot {
    use divan::Bencher;
    use divan::counter::ItemsCount;
    use peercompute_sched::codec::{
        EntityId, Interest, SnapshotDecoder, SnapshotEncoder, SnapshotReport, Tick, World,
    };

    use super::scenes::{SCENES, Scene};

    /// So many that what the world costs is small beside them.
    const RECEIVERS: usize = 50;
    /// Frames played before anything is measured.
    const WARM: usize = 120;

    /// A scene with receivers that acknowledge after its delay.
    struct Rig {
        scene: Scene,
        world: World,
        ids: Vec<EntityId>,
        encoders: Vec<SnapshotEncoder>,
        decoder: SnapshotDecoder,
        tick: u32,
        bytes: Vec<u8>,
    }

    impl Rig {
        fn new(name: &'static str, receivers: usize) -> Self {
            let scene = Scene::new(name);
            let codec = scene.codec.clone();
            let mut rig = Self {
                world: codec.world(),
                ids: Vec::new(),
                encoders: (0..receivers).map(|_| codec.encoder()).collect(),
                decoder: codec.decoder(),
                tick: 0,
                bytes: Vec::new(),
                scene,
            };
            for _ in 0..WARM {
                rig.play();
                rig.encode_all();
                rig.decode();
            }
            rig
        }

        fn play(&mut self) {
            self.tick += 1;
            self.scene.play(&mut self.world, &mut self.ids);
            self.world.commit(Tick(self.tick)).expect("ticks rise");
        }

        fn encode_all(&mut self) -> Option<SnapshotReport> {
            let interest = Interest {
                entities: &self.ids,
                ..Interest::default()
            };
            let mut last = None;
            for encoder in &mut self.encoders {
                if let Some(tick) = self.tick.checked_sub(self.scene.delay as u32) {
                    encoder.acknowledge(Tick(tick));
                }
                self.bytes.clear();
                last = encoder
                    .encode(&self.world, interest, None, &mut self.bytes)
                    .ok();
            }
            last
        }

        fn decode(&mut self) {
            let tick = Tick(self.tick);
            let baseline = self
                .tick
                .checked_sub(self.scene.delay as u32)
                .filter(|tick| *tick > 0);
            self.decoder
                .decode(tick, baseline.map(Tick), &self.bytes)
                .expect("it was just encoded");
        }
    }

    /// One frame for all receivers.
    #[divan::bench(args = SCENES)]
    fn encode(bencher: Bencher<'_, '_>, name: &'static str) {
        let mut rig = Rig::new(name, RECEIVERS);
        let items = rig.ids.len() * RECEIVERS;
        bencher.counter(ItemsCount::new(items)).bench_local(|| {
            rig.play();
            rig.encode_all()
        });
    }

    /// The same without a receiver: to be subtracted.
    #[divan::bench(args = SCENES)]
    fn commit(bencher: Bencher<'_, '_>, name: &'static str) {
        let mut rig = Rig::new(name, 1);
        rig.encoders.clear();
        bencher
            .counter(ItemsCount::new(rig.ids.len()))
            .bench_local(|| rig.play());
    }

    /// A frame at one receiver, with what it takes to play and encode it.
    #[divan::bench(args = SCENES)]
    fn encode_and_decode(bencher: Bencher<'_, '_>, name: &'static str) {
        let mut rig = Rig::new(name, 1);
        bencher
            .counter(ItemsCount::new(rig.ids.len()))
            .bench_local(|| {
                rig.play();
                rig.encode_all();
                rig.decode();
            });
    }
}
