//! Both ends over a link that loses, delays and swaps messages: what the receiver has is what the sender says it has, bit for bit.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::{BTreeMap, HashMap};

use peercompute_sched::codec::{
    DecodeError, EntityId, FieldKind, Interest, Outcome, Schema, SnapshotCodec, Tick,
};
use proptest::prelude::*;

type Rows = BTreeMap<EntityId, Vec<i32>>;

/// What a receiver is to have of an entity: its row, when it was so, and the how manieth of that id it is.
type View = BTreeMap<EntityId, (Vec<i32>, u32, u32)>;

/// What happens between two snapshots.
#[derive(Clone, Debug)]
enum Operation {
    /// An entity is added or gets other values, by so much in each column.
    Set {
        id: u8,
        by: Vec<i16>,
        far: bool,
    },
    Remove {
        id: u8,
    },
    /// It is no longer of interest, or is again.
    Ignore {
        id: u8,
    },
    /// So many ticks pass, and a snapshot is taken.
    Snapshot {
        ticks: u8,
        budget: Option<u8>,
        urgency: Vec<u8>,
        /// Whose changes wait, a bit for each entity.
        held: Option<u32>,
        fate: Fate,
    },
    /// The oldest snapshot that is on its way arrives only now.
    Late,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    /// It arrives, and what acknowledges it does not.
    Unanswered,
    Delayed,
    Lost,
}

fn operation() -> impl Strategy<Value = Operation> {
    let id = 0..24u8;
    let set = (
        id.clone(),
        proptest::collection::vec(-90..90i16, 16),
        proptest::bool::weighted(0.05),
    )
        .prop_map(|(id, by, far)| Operation::Set { id, by, far });
    let fate = prop_oneof![
        6 => Just(Fate::Arrives),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Delayed),
        1 => Just(Fate::Lost),
    ];
    let ticks = prop_oneof![8 => 1..4u8, 1 => 20..60u8];
    let budget = proptest::option::weighted(0.4, 0..120u8);
    let urgency = proptest::collection::vec(any::<u8>(), 0..12);
    let held = proptest::option::weighted(0.3, any::<u32>());
    let snapshot = (ticks, budget, urgency, held, fate);
    let snapshot = snapshot.prop_map(|(ticks, budget, urgency, held, fate)| Operation::Snapshot {
        ticks,
        budget,
        urgency,
        held,
        fate,
    });
    prop_oneof![
        10 => set,
        1 => id.clone().prop_map(|id| Operation::Remove { id }),
        1 => id.prop_map(|id| Operation::Ignore { id }),
        5 => snapshot,
        1 => Just(Operation::Late),
    ]
}

fn kind() -> impl Strategy<Value = FieldKind> {
    prop_oneof![
        Just(FieldKind::Flag),
        Just(FieldKind::Integer {
            min: -5,
            max: 1_000
        }),
        Just(FieldKind::Scalar { step: 0.5 }),
        Just(FieldKind::Vector2 { step: 0.01 }),
        Just(FieldKind::Vector3 { step: 0.001 }),
        Just(FieldKind::Rotation { step: 0.001 }),
    ]
}

/// Moves a row, and brings it back to what the schema allows.
fn shift(schema: &Schema, row: &mut [i32], by: &[i16], far: bool) {
    for (value, by) in row.iter_mut().zip(by) {
        *value = value.saturating_add(i32::from(*by) * if far { 40_000 } else { 1 });
    }
    // Of each column in turn the error says the range.
    while let Err(peercompute_sched::codec::ValueError::Range {
        column, min, max, ..
    }) = schema.check(row)
    {
        row[column] = row[column].clamp(min, max);
    }
}

/// What the receiver is to have after a snapshot, by what it is to have had before and what the sender says.
fn expect(
    before: Option<&View>,
    now: &View,
    oldest: u32,
    interest: &[EntityId],
    outcomes: &[Outcome],
) -> View {
    let row = |(id, outcome): (&EntityId, &Outcome)| {
        let now = now.get(id)?;
        let kept = before.and_then(|before| before.get(id));
        let kept = kept.filter(|(_, taken, life)| *taken >= oldest && *life == now.2);
        let row = match outcome {
            Outcome::Sent | Outcome::Unchanged => Some(now),
            Outcome::Deferred => kept,
            _ => None,
        };
        row.map(|row| (*id, row.clone()))
    };
    interest.iter().zip(outcomes).filter_map(row).collect()
}

fn rows(view: &View) -> Rows {
    view.iter()
        .map(|(id, (row, ..))| (*id, row.clone()))
        .collect()
}

fn play(
    kinds: &[FieldKind],
    horizon: u32,
    operations: Vec<Operation>,
) -> Result<(), TestCaseError> {
    let mut schema = Schema::builder();
    for (index, kind) in kinds.iter().enumerate() {
        schema.field(format!("field {index}"), *kind);
    }
    schema.horizon(horizon);
    let codec = SnapshotCodec::new(schema.build().unwrap()).with_max_entities(32);
    let (mut world, mut encoder, mut decoder) = (codec.world(), codec.encoder(), codec.decoder());
    let mut here = View::new();
    let mut lives = 0;
    let mut ignored = Vec::new();
    let mut expected: HashMap<Tick, View> = HashMap::new();
    let mut delayed = Vec::new();
    let mut tick = 0;
    for operation in operations {
        match operation {
            Operation::Set { id, by, far } => {
                let id = EntityId(u32::from(id) * 3);
                lives += 1;
                let (row, ..) = here
                    .entry(id)
                    .or_insert_with(|| (codec.schema().row(), 0, lives));
                shift(codec.schema(), row, &by, far);
                world.set(id, row).unwrap();
            }
            Operation::Remove { id } => {
                let id = EntityId(u32::from(id) * 3);
                prop_assert_eq!(world.remove(id), here.remove(&id).is_some());
            }
            Operation::Ignore { id } => {
                let id = EntityId(u32::from(id) * 3);
                match ignored.iter().position(|other| *other == id) {
                    Some(at) => drop(ignored.remove(at)),
                    None => ignored.push(id),
                }
            }
            Operation::Snapshot {
                ticks,
                budget,
                urgency,
                held,
                fate,
            } => {
                tick += u32::from(ticks);
                world.commit(Tick(tick)).unwrap();
                here.values_mut().for_each(|(_, taken, _)| *taken = tick);
                // Those that the world does not have are named, too.
                let interest: Vec<_> = (0..24)
                    .map(|id| EntityId(id * 3))
                    .filter(|id| !ignored.contains(id))
                    .collect();
                let urgency: Vec<_> = urgency
                    .iter()
                    .filter(|_| !interest.is_empty())
                    .map(|index| u32::from(*index) % interest.len() as u32)
                    .collect();
                let mut bytes = vec![1, 2, 3];
                let budget = budget.map(usize::from);
                let is_held = |(at, _)| held.is_some_and(|held| held >> at & 1 == 1);
                let held: Vec<_> = interest.iter().enumerate().map(is_held).collect();
                let asked = Interest {
                    entities: &interest,
                    urgency: &urgency,
                    held: &held,
                };
                let report = encoder.encode(&world, asked, budget, &mut bytes).unwrap();
                let bytes = bytes.split_off(3);
                prop_assert_eq!(report.bytes, bytes.len());
                if let Some(budget) = budget {
                    prop_assert!(bytes.len() <= budget || report.changed + report.entered == 0);
                }
                let before = report.baseline.map(|baseline| expected[&baseline].clone());
                for ((id, outcome), held) in interest.iter().zip(encoder.outcomes()).zip(&held) {
                    let kept = before.as_ref().and_then(|before| before.get(id));
                    let oldest = tick.saturating_sub(horizon);
                    let is_kept = |(_, taken, life): &(_, u32, u32)| {
                        *taken >= oldest && here.get(id).is_some_and(|it| it.2 == *life)
                    };
                    let is_sent = *outcome == Outcome::Sent;
                    prop_assert!(!(*held && is_sent && kept.is_some_and(is_kept)));
                }
                let after = expect(
                    before.as_ref(),
                    &here,
                    tick.saturating_sub(horizon),
                    &interest,
                    encoder.outcomes(),
                );
                expected.insert(report.tick, after);
                match fate {
                    Fate::Lost => continue,
                    Fate::Delayed => {
                        delayed.push((report, bytes));
                        continue;
                    }
                    Fate::Arrives | Fate::Unanswered => {}
                }
                let view = decoder
                    .decode(report.tick, report.baseline, &bytes)
                    .unwrap();
                let got: Rows = view.iter().map(|(id, row)| (id, row.to_vec())).collect();
                prop_assert_eq!(got, rows(&expected[&report.tick]));
                if let Fate::Arrives = fate {
                    encoder.acknowledge(report.tick);
                }
            }
            Operation::Late => {
                if delayed.is_empty() {
                    continue;
                }
                let (report, bytes) = delayed.remove(0);
                let got: Rows = match decoder.decode(report.tick, report.baseline, &bytes) {
                    Ok(view) => view.iter().map(|(id, row)| (id, row.to_vec())).collect(),
                    // Too many others overtook it.
                    Err(DecodeError::Stale { .. } | DecodeError::UnknownBaseline { .. }) => {
                        continue;
                    }
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                };
                prop_assert_eq!(got, rows(&expected[&report.tick]));
                encoder.acknowledge(report.tick);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_receiver_has_what_the_sender_says(
        kinds in proptest::collection::vec(kind(), 1..5),
        horizon in prop_oneof![Just(128u32), 1..40u32],
        operations in proptest::collection::vec(operation(), 0..400),
    ) {
        play(&kinds, horizon, operations)?;
    }
}
