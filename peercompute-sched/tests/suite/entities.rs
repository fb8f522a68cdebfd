//! Entities: small snapshots of what each peer sees.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use peercompute_sched::{
    Channel, EntityConfig, Peer, Profile, ProviderId, Sight,
    codec::{EntityId, Field, FieldKind, Schema, Value},
};

use super::{
    MS, SECOND,
    world::{Link, World},
};

const NAME: &str = "world";

fn schema() -> (Schema, Field) {
    let mut schema = Schema::builder();
    let position = schema.field("position", FieldKind::Vector3 { step: 0.01 });
    (schema.build().unwrap(), position)
}

/// A room in which node 0 sends so many entities that the others follow.
struct Scene {
    world: World,
    provider: ProviderId,
    schema: Schema,
    position: Field,
    count: u32,
}

impl Scene {
    fn new(seed: u64, link: Link, peers: usize, count: u32, config: EntityConfig) -> Self {
        let world = World::of(seed, link, peers, |config| {
            config.profile.adaptation.least = config.profile.snapshots;
        });
        Self::in_world(world, count, config)
    }

    /// The same with peers that are there already.
    fn in_world(mut world: World, count: u32, config: EntityConfig) -> Self {
        let (schema, position) = schema();
        let mut config = config;
        config.position = Some(position);
        let scheduler = &mut world.nodes[0].scheduler;
        let provider = scheduler
            .add_entities(NAME, schema.clone(), config)
            .unwrap();
        for node in &mut world.nodes[1..] {
            node.scheduler
                .follow_entities(NAME, schema.clone(), 4096)
                .unwrap();
        }
        world.nodes[0].is_still = true;
        Self {
            world,
            provider,
            schema,
            position,
            count,
        }
    }

    /// Moves all entities: to where each is at this time.
    fn place(&mut self, place: impl Fn(u32) -> Option<[f32; 3]>) {
        let now = self.world.local(0);
        let scheduler = &mut self.world.nodes[0].scheduler;
        let world = scheduler.world_mut(self.provider).unwrap();
        for id in 0..self.count {
            match place(id) {
                Some(at) => {
                    let mut row = self.schema.row();
                    let at = Value::Vector3(at);
                    self.schema.quantise(self.position, at, &mut row).unwrap();
                    world.set(EntityId(id), &row).unwrap();
                }
                None => {
                    world.remove(EntityId(id));
                }
            }
        }
        scheduler.commit(now, self.provider).unwrap();
        self.world.drain(0);
    }

    fn sees(&mut self, node: usize, sight: Sight) {
        let peer = self.world.peer(0, node);
        let scheduler = &mut self.world.nodes[0].scheduler;
        scheduler.set_sight(peer, self.provider, sight).unwrap();
    }

    /// What a node knows: ids and rows.
    fn known(&self, node: usize) -> Vec<(u32, Vec<i32>)> {
        let from: Peer = self.world.peer(node, 0);
        let view = self.world.nodes[node].scheduler.view(from, NAME);
        let entities = view.into_iter().flat_map(|view| view.iter());
        entities.map(|(id, row)| (id.0, row.to_vec())).collect()
    }

    /// What is so.
    fn truth(&self) -> Vec<(u32, Vec<i32>)> {
        let world = self.world.nodes[0].scheduler.world(self.provider).unwrap();
        world.iter().map(|(id, row)| (id.0, row.to_vec())).collect()
    }
}

fn circling(id: u32, step: u32) -> [f32; 3] {
    let angle = (id + step) as f32 * 0.05;
    [angle.cos() * 50.0, angle.sin() * 50.0, id as f32]
}

#[test]
fn everybody_comes_to_know_what_is_so_over_any_link() {
    for (seed, loss) in [(1, 0.0), (2, 0.1), (3, 0.3)] {
        let link = Link::new(40).lossy(loss).shaky(60 * MS);
        let mut scene = Scene::new(seed, link, 3, 40, EntityConfig::default());
        for step in 0..200 {
            // Some come late, some leave.
            scene.place(|id| (id % 7 != step / 30).then(|| circling(id, step)));
            scene.world.run(50 * MS);
        }
        scene.world.run(5 * SECOND);
        for node in 1..3 {
            assert_eq!(scene.known(node), scene.truth(), "loss {loss}");
        }
        let stats = scene.world.nodes[1].scheduler.stats();
        assert_eq!(stats.dropped.unreadable, 0, "{stats:?}");
    }
}

#[test]
fn a_delta_is_much_smaller_than_a_full_snapshot() {
    let mut scene = Scene::new(1, Link::quick(), 2, 200, EntityConfig::default());
    for step in 0..60 {
        scene.place(|id| Some(circling(if id < 5 { id + step } else { id }, 0)));
        scene.world.run(50 * MS);
    }
    let sizes = scene
        .world
        .frames
        .iter()
        .filter(|it| it.2 == Channel::Snapshots);
    let sizes: Vec<usize> = sizes.map(|it| it.3).collect();
    assert!(sizes[0] > 600, "{sizes:?}");
    let late = &sizes[sizes.len() / 2..];
    assert!(late.iter().all(|size| *size < 120), "{late:?}");
}

#[test]
fn who_restarts_gets_everything_anew() {
    let mut scene = Scene::new(1, Link::quick(), 2, 20, EntityConfig::default());
    for step in 0..20 {
        scene.place(|id| Some(circling(id, step)));
        scene.world.run(50 * MS);
    }
    scene.world.restart(1, |_| {});
    let schema = scene.schema.clone();
    scene.world.nodes[1]
        .scheduler
        .follow_entities(NAME, schema, 4096)
        .unwrap();
    scene.world.run(5 * SECOND);
    assert_eq!(scene.known(1), scene.truth());
}

#[test]
fn a_peer_knows_what_is_around_it_and_no_more() {
    let mut config = EntityConfig::default();
    config.cube = 10.0;
    let mut scene = Scene::new(1, Link::quick(), 3, 100, config);
    let around = |x: f32| Sight::Around {
        center: [x, 0.0, 0.0],
        radius: 10.0,
        near: 10.0,
    };
    scene.sees(1, around(20.0));
    for _ in 0..5 {
        scene.place(|id| Some([id as f32, 0.0, 0.0]));
        scene.world.run(50 * MS);
    }
    let ids = |scene: &Scene, node| scene.known(node).iter().map(|it| it.0).collect::<Vec<_>>();
    assert_eq!(ids(&scene, 1), (10..=30).collect::<Vec<_>>());
    assert_eq!(ids(&scene, 2), (0..100).collect::<Vec<_>>());
    // It moves on: what is far goes, what is near comes.
    scene.sees(1, around(50.0));
    for _ in 0..5 {
        scene.place(|id| Some([id as f32, 0.0, 0.0]));
        scene.world.run(50 * MS);
    }
    assert_eq!(ids(&scene, 1), (40..=60).collect::<Vec<_>>());
}

#[test]
fn what_is_far_away_comes_in_every_eighth_snapshot_and_what_is_near_in_each() {
    let mut scene = Scene::new(1, Link::quick(), 2, 20, EntityConfig::default());
    let sight = Sight::Around {
        center: [0.0; 3],
        radius: 100.0,
        near: 20.0,
    };
    scene.sees(1, sight);
    let from = scene.world.peer(1, 0);
    // When the values of an entity that is near and of one at the edge were taken, as they are shown.
    let mut shown = [Vec::new(), Vec::new()];
    for step in 0..100 {
        // The first ten are near, the others at the edge; all move all the time.
        let height = step as f32 * 0.1;
        scene.place(|id| Some([if id < 10 { 5.0 } else { 99.0 }, 0.0, height]));
        scene.world.run(50 * MS);
        let view = scene.world.nodes[1].scheduler.view(from, NAME).unwrap();
        for (shown, id) in shown.iter_mut().zip([5, 15]) {
            shown.push(view.taken(EntityId(id)).unwrap());
        }
    }
    let [near, far] = shown.map(|mut shown| {
        shown.dedup();
        shown.len()
    });
    assert!(near >= 99, "{near}");
    assert!((12..=14).contains(&far), "{far}");
}

#[test]
fn what_had_to_wait_comes_although_nothing_changes_any_more() {
    let mut config = EntityConfig::default();
    config.budget = 150;
    for rate in [Profile::action(), Profile::turn_based()] {
        let world = World::of(1, Link::quick().lossy(0.2), 2, |config| {
            config.profile = rate.clone();
        });
        let mut scene = Scene::in_world(world, 300, config);
        scene.sees(
            1,
            Sight::Around {
                center: [0.0; 3],
                radius: 100.0,
                near: 1.0,
            },
        );
        for step in 0..2 {
            scene.place(|id| Some(circling(id, step).map(|it| it * 0.3)));
            scene.world.run(50 * MS);
        }
        scene.world.run(10 * SECOND);
        assert_eq!(scene.known(1), scene.truth(), "{}", rate.name);
        // Then there is silence.
        scene.world.frames.clear();
        scene.world.run(10 * SECOND);
        let frames = scene.world.frames.iter();
        let snapshots = frames.filter(|it| it.2 == Channel::Snapshots).count();
        assert_eq!(snapshots, 0, "{}", rate.name);
    }
}

#[test]
fn a_world_can_be_committed_more_often_than_it_is_sent() {
    let mut scene = Scene::new(1, Link::quick(), 2, 5, EntityConfig::default());
    let from = scene.world.peer(1, 0);
    let mut ticks = Vec::new();
    for step in 0..400 {
        scene.place(|id| Some(circling(id, step)));
        scene.world.run(10 * MS);
        let view = scene.world.nodes[1].scheduler.view(from, NAME);
        ticks.extend(view.map(|view| view.tick()));
    }
    ticks.dedup();
    // At 20 Hz for four seconds.
    assert!((78..=81).contains(&ticks.len()), "{}", ticks.len());
}

#[test]
fn what_follows_late_gets_all_that_is_there() {
    let mut scene = Scene::new(1, Link::quick(), 2, 20, EntityConfig::default());
    scene.place(|id| Some(circling(id, 0)));
    scene.world.run(5 * SECOND);
    let schema = scene.schema.clone();
    let scheduler = &mut scene.world.nodes[1].scheduler;
    scheduler.follow_entities(NAME, schema, 4096).unwrap();
    scene.world.drain(1);
    scene.world.run(5 * SECOND);
    assert_eq!(scene.known(1), scene.truth());
}

/// Runs a room in which something happens to it now and then, and holds what is shown at each time against what was so at that tick.
fn is_always_true(seed: u64, budget: usize, happens: impl Fn(&mut Scene)) {
    let mut config = EntityConfig::default();
    config.budget = budget;
    let link = Link::new(60).lossy(0.2).shaky(150 * MS);
    let mut scene = Scene::new(seed, link, 2, 30, config);
    let mut was = BTreeMap::new();
    let mut shown = 0;
    for step in 0..300 {
        scene.place(|id| (id % 7 != step / 30).then(|| circling(id, step)));
        let world = scene.world.nodes[0]
            .scheduler
            .world(scene.provider)
            .unwrap();
        was.insert(world.tick().unwrap(), scene.truth());
        for _ in 0..5 {
            scene.world.run(10 * MS);
            // Who was forgotten and has come back is another peer.
            let from: Peer = scene.world.peer(1, 0);
            let Some(view) = scene.world.nodes[1].scheduler.view(from, NAME) else {
                continue;
            };
            shown += 1;
            for (id, row) in view.iter() {
                let taken = view.taken(id).unwrap();
                // What was committed again is as it was before.
                let (_, was) = was.range(..=taken).next_back().unwrap();
                let is = was.iter().find(|it| it.0 == id.0).map(|it| &it.1[..]);
                assert_eq!(is, Some(row), "seed {seed}, {id} at {taken}");
            }
        }
        if step % 40 == 39 {
            happens(&mut scene);
        }
    }
    assert!(shown > 1000, "seed {seed}: {shown}");
    scene.world.run(10 * SECOND);
    assert_eq!(scene.known(1), scene.truth(), "seed {seed}");
}

#[test]
fn a_provider_that_was_removed_and_added_again_is_never_mixed_up_with_itself() {
    for seed in 0..10 {
        is_always_true(seed, 120, |scene| {
            let scheduler = &mut scene.world.nodes[0].scheduler;
            scheduler.remove_provider(scene.provider);
            let mut config = EntityConfig::default();
            config.position = Some(scene.position);
            config.budget = 120;
            let schema = scene.schema.clone();
            scene.provider = scheduler.add_entities(NAME, schema, config).unwrap();
        });
    }
}

#[test]
fn a_peer_that_was_forgotten_at_one_end_alone_is_never_shown_what_is_not_so() {
    for seed in 0..10 {
        is_always_true(seed, 120, |scene| {
            scene.world.disconnect(0, 1);
            scene.world.connect(0, 1);
            scene.world.drain(0);
        });
    }
}

#[test]
fn a_small_budget_starves_nobody() {
    let mut config = EntityConfig::default();
    config.budget = 150;
    let mut scene = Scene::new(1, Link::quick(), 2, 300, config);
    for step in 0..200 {
        scene.place(|id| Some(circling(id, step)));
        scene.world.run(50 * MS);
    }
    let known = scene.known(1);
    assert_eq!(known.len(), 300);
    // The oldest value of any is not from before half of the time.
    let from = scene.world.peer(1, 0);
    let view = scene.world.nodes[1].scheduler.view(from, NAME).unwrap();
    let oldest = (0..300)
        .filter_map(|id| view.taken(EntityId(id)))
        .min()
        .unwrap();
    let newest = view.tick();
    assert!(newest.0 - oldest.0 < 100, "{newest} {oldest}");
}

#[test]
fn another_schema_is_not_taken_for_ones_own() {
    let mut scene = Scene::new(1, Link::quick(), 2, 5, EntityConfig::default());
    let mut other = Schema::builder();
    other.field("health", FieldKind::Flag);
    let scheduler = &mut scene.world.nodes[1].scheduler;
    scheduler
        .follow_entities(NAME, other.build().unwrap(), 4096)
        .unwrap();
    for step in 0..20 {
        scene.place(|id| Some(circling(id, step)));
        scene.world.run(50 * MS);
    }
    assert!(scene.known(1).is_empty());
    assert!(scene.world.nodes[1].scheduler.stats().dropped.unreadable > 0);
}
