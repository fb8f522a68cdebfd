//! Scenes to try the codec on, quite different from each other, the same on each run.

use std::f32::consts::TAU;

use peercompute_sched::codec::{EntityId, Field, FieldKind, Schema, SnapshotCodec, Value, World};

/// xorshift64*, for scenes alone.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    pub(crate) fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(end)) >> 32) as u32
    }

    pub(crate) fn chance(&mut self, one_in: u32) -> bool {
        self.below(one_in) == 0
    }

    /// From -1 to 1.
    pub(crate) fn signed(&mut self) -> f32 {
        self.next() as f32 / (u32::MAX / 2) as f32 - 1.0
    }
}

/// The names of all scenes.
pub(crate) const SCENES: [&str; 8] = [
    "rest",
    "curves",
    "players",
    "projectiles",
    "vehicles",
    "swarm",
    "numbers",
    "stack",
];

/// A scene that goes on frame by frame.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) codec: SnapshotCodec,
    pub(crate) hertz: u32,
    /// Frames between a snapshot and its acknowledgement: about 100 ms.
    pub(crate) delay: usize,
    fields: Vec<Field>,
    bodies: Vec<Body>,
    random: Random,
    next_id: u32,
}

#[derive(Clone, Default)]
struct Body {
    id: u32,
    position: [f32; 3],
    velocity: [f32; 3],
    axis: [f32; 3],
    angle: f32,
    spin: f32,
    radius: f32,
    phase: f32,
    state: u32,
    health: i32,
    ammunition: i32,
    flag: bool,
}

const STEP: FieldKind = FieldKind::Vector3 { step: 0.001 };
const TURN: FieldKind = FieldKind::Rotation { step: 0.001 };

impl Scene {
    pub(crate) fn new(name: &'static str) -> Self {
        let mut schema = Schema::builder();
        let (fields, count, hertz): (Vec<_>, _, _) = match name {
            "players" => {
                let fields = vec![
                    schema.field("running", FieldKind::Flag),
                    schema.field("position", FieldKind::Vector2 { step: 0.01 }),
                    schema.field("heading", FieldKind::Scalar { step: 0.01 }),
                    schema.field("health", FieldKind::Integer { min: 0, max: 100 }),
                    schema.field("crouching", FieldKind::Flag),
                ];
                (fields, 64, 30)
            }
            "projectiles" => (
                vec![
                    schema.field("position", STEP),
                    schema.field("lit", FieldKind::Flag),
                ],
                0,
                60,
            ),
            "vehicles" => {
                let fields = vec![
                    schema.field("position", STEP),
                    schema.field("rotation", TURN),
                    schema.field("speed", FieldKind::Scalar { step: 0.05 }),
                ];
                (fields, 8, 20)
            }
            "swarm" => (
                vec![schema.field("position", FieldKind::Vector3 { step: 0.01 })],
                1_000,
                20,
            ),
            "numbers" => {
                let fields = vec![
                    schema.field("alive", FieldKind::Flag),
                    schema.field("health", FieldKind::Integer { min: 0, max: 1_000 }),
                    schema.field("ammunition", FieldKind::Integer { min: 0, max: 500 }),
                    schema.field(
                        "gold",
                        FieldKind::Integer {
                            min: 0,
                            max: 1_000_000,
                        },
                    ),
                ];
                (fields, 300, 20)
            }
            _ => {
                let fields = vec![
                    schema.field("position", STEP),
                    schema.field("rotation", TURN),
                ];
                let count = match name {
                    "rest" => 600,
                    "curves" => 200,
                    _ => 150,
                };
                (fields, count, 60)
            }
        };
        let codec = SnapshotCodec::new(schema.build().expect("the fields are right"));
        let mut random = Random::new(7);
        let bodies = (0..count).map(|id| Body {
            id,
            position: [
                random.signed() * 20.0,
                random.signed() * 20.0,
                random.signed().abs() * 3.0,
            ],
            axis: unit([random.signed(), random.signed(), random.signed() + 1.5]),
            angle: random.signed() * 3.0,
            spin: random.signed() * 2.0,
            radius: 1.0 + random.signed().abs() * 10.0,
            phase: random.signed() * TAU,
            velocity: [random.signed() * 3.0, random.signed() * 3.0, 0.0],
            health: 100,
            ammunition: 300,
            flag: true,
            ..Body::default()
        });
        Self {
            name,
            codec,
            hertz,
            delay: (hertz / 10).max(1) as usize,
            fields,
            bodies: bodies.collect(),
            random,
            next_id: count,
        }
    }

    /// Goes on by one frame, and puts it into the world and all ids into `ids`.
    pub(crate) fn play(&mut self, world: &mut World, ids: &mut Vec<EntityId>) {
        let dt = 1.0 / self.hertz as f32;
        match self.name {
            "rest" => {}
            "curves" => self.curves(dt),
            "players" => self.players(dt),
            "projectiles" => self.projectiles(dt, world),
            "vehicles" => self.vehicles(dt),
            "swarm" => self.swarm(dt),
            "numbers" => self.numbers(),
            _ => self.stack(dt),
        }
        ids.clear();
        let mut row = self.codec.schema().row();
        for body in &self.bodies {
            let rotation = {
                let (sine, cosine) = (body.angle / 2.0).sin_cos();
                let [x, y, z] = body.axis;
                Value::Rotation([x * sine, y * sine, z * sine, cosine])
            };
            let [x, y, z] = body.position;
            let position = Value::Vector3([x, y, z]);
            let values = match self.name {
                "players" => vec![
                    Value::Flag(body.flag),
                    Value::Vector2([x, y]),
                    Value::Scalar(body.angle),
                    Value::Integer(body.health),
                    Value::Flag(body.state == 9),
                ],
                "projectiles" => vec![position, Value::Flag(body.flag)],
                "vehicles" => vec![position, rotation, Value::Scalar(body.velocity[0])],
                "swarm" => vec![position],
                "numbers" => vec![
                    Value::Flag(body.flag),
                    Value::Integer(body.health),
                    Value::Integer(body.ammunition),
                    Value::Integer(body.state as i32),
                ],
                _ => vec![position, rotation],
            };
            for (field, value) in self.fields.iter().zip(values) {
                self.codec
                    .schema()
                    .quantise(*field, value, &mut row)
                    .expect("the value suits the field");
            }
            world.set(EntityId(body.id), &row).expect("there is room");
            ids.push(EntityId(body.id));
        }
    }

    /// All move on circles, shaken by a millimetre.
    fn curves(&mut self, dt: f32) {
        for body in &mut self.bodies {
            body.phase += body.spin * dt;
            body.angle += body.spin * dt;
            let noise = |random: &mut Random| random.signed() * 0.001;
            body.position = [
                body.phase.cos() * body.radius + noise(&mut self.random),
                body.phase.sin() * body.radius + noise(&mut self.random),
                1.0 + body.phase.sin() * 0.3 + noise(&mut self.random),
            ];
        }
    }

    /// They walk, stop, turn, are hurt, and are elsewhere at times.
    fn players(&mut self, dt: f32) {
        for body in &mut self.bodies {
            let random = &mut self.random;
            if random.chance(40) {
                body.flag = !body.flag;
            }
            if random.chance(60) {
                body.spin = random.signed() * 3.0;
            }
            if random.chance(30) {
                body.spin = 0.0;
            }
            if random.chance(150) {
                body.health = (body.health - random.below(30) as i32).max(0);
            }
            if random.chance(600) {
                body.position = [random.signed() * 50.0, random.signed() * 50.0, 0.0];
                body.health = 100;
            }
            body.state = if random.chance(100) {
                9
            } else {
                body.state.saturating_sub(u32::from(random.chance(50)))
            };
            body.angle += body.spin * dt;
            if body.flag {
                body.position[0] += body.angle.cos() * 5.0 * dt;
                body.position[1] += body.angle.sin() * 5.0 * dt;
            }
        }
    }

    /// They come in bursts, fly, and are gone when they hit the ground.
    fn projectiles(&mut self, dt: f32, world: &mut World) {
        for body in &mut self.bodies {
            body.velocity[2] -= 9.81 * dt;
            for axis in 0..3 {
                body.position[axis] += body.velocity[axis] * dt;
            }
            body.flag = body.velocity[2] > 0.0;
        }
        for body in self.bodies.iter().filter(|body| body.position[2] <= 0.0) {
            world.remove(EntityId(body.id));
        }
        self.bodies.retain(|body| body.position[2] > 0.0);
        if self.random.chance(4) {
            let from = [
                self.random.signed() * 20.0,
                self.random.signed() * 20.0,
                0.1,
            ];
            for _ in 0..self.random.below(12) {
                let random = &mut self.random;
                let velocity = [
                    random.signed() * 10.0,
                    random.signed() * 10.0,
                    4.0 + random.signed() * 3.0,
                ];
                self.bodies.push(Body {
                    id: self.next_id,
                    position: from,
                    velocity,
                    flag: true,
                    ..Body::default()
                });
                self.next_id += 1;
            }
        }
    }

    /// They speed up, brake and steer.
    fn vehicles(&mut self, dt: f32) {
        for body in &mut self.bodies {
            let random = &mut self.random;
            if random.chance(30) {
                body.radius = random.signed() * 4.0;
            }
            if random.chance(25) {
                body.spin = random.signed() * 0.8;
            }
            body.axis = [0.0, 0.0, 1.0];
            body.velocity[0] = (body.velocity[0] + body.radius * dt).clamp(0.0, 30.0);
            body.angle += body.spin * dt;
            body.position[0] += body.angle.cos() * body.velocity[0] * dt;
            body.position[1] += body.angle.sin() * body.velocity[0] * dt;
            body.position[2] = (body.position[0] * 0.1).sin() * 0.5;
        }
    }

    /// A thousand that are pushed about at random.
    fn swarm(&mut self, dt: f32) {
        for body in &mut self.bodies {
            for axis in 0..3 {
                body.velocity[axis] +=
                    self.random.signed() * 8.0 * dt - body.position[axis] * 0.05 * dt;
                body.position[axis] += body.velocity[axis] * dt;
            }
        }
    }

    /// Nothing but numbers that change at times.
    fn numbers(&mut self) {
        for body in &mut self.bodies {
            let random = &mut self.random;
            if random.chance(50) {
                body.health = (body.health + random.below(60) as i32 - 40).clamp(0, 1_000);
            } else if random.chance(3) && body.health < 1_000 {
                body.health += 1;
            }
            if random.chance(6) {
                body.ammunition = if body.ammunition == 0 {
                    300
                } else {
                    body.ammunition - 1
                };
            }
            if random.chance(200) {
                body.state += random.below(500);
            }
            body.flag = body.health > 0;
        }
    }

    /// Bodies that fall, bounce, roll on and come to rest, then are thrown again.
    fn stack(&mut self, dt: f32) {
        for body in &mut self.bodies {
            let random = &mut self.random;
            if body.velocity == [0.0; 3] {
                if random.chance(400) {
                    body.velocity = [
                        random.signed() * 4.0,
                        random.signed() * 4.0,
                        3.0 + random.signed() * 2.0,
                    ];
                    body.axis = unit([random.signed(), random.signed(), random.signed() + 1.5]);
                    body.spin = random.signed() * 8.0;
                }
                continue;
            }
            body.velocity[2] -= 9.81 * dt;
            for axis in 0..3 {
                body.position[axis] += body.velocity[axis] * dt;
            }
            body.angle += body.spin * dt;
            if body.position[2] < 0.2 {
                body.position[2] = 0.2;
                body.velocity = [
                    body.velocity[0] * 0.8,
                    body.velocity[1] * 0.8,
                    -body.velocity[2] * 0.4,
                ];
                body.spin *= 0.7;
                if body.velocity[2] < 0.3 && body.velocity[0].abs() + body.velocity[1].abs() < 0.2 {
                    body.velocity = [0.0; 3];
                }
            }
        }
    }
}

fn unit(vector: [f32; 3]) -> [f32; 3] {
    let length = vector.iter().map(|c| c * c).sum::<f32>().sqrt();
    vector.map(|c| c / length)
}
