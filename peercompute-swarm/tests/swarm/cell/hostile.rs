//! Neighbours that say anything at all.

use std::time::Duration;

use peercompute_swarm::cell::{
    Action, Buffer, Cell, CellFrame, CellViolation, Item, MAX_WANTED, PerItem, Port,
};
use proptest::{collection::vec, prelude::*};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::rig::{Rig, config, link, source};

/// More than a cell with four links takes to write down. Nothing that a neighbour says makes it grow.
const MEMORY: usize = 24_000;

/// Strangers that are linked to the cell, beside one honest neighbour.
const STRANGERS: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Say { stranger: usize, frame: CellFrame },
    Hand { stranger: usize, item: Item },
    Run { milliseconds: u64 },
    Give { item: Item },
}

fn any_count() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => Just(0),
        4 => 0..4_u32,
        1 => (MAX_WANTED - 2)..(MAX_WANTED + 3),
        1 => any::<u32>(),
    ]
}

fn any_change() -> impl Strategy<Value = i32> {
    prop_oneof![2 => Just(0), 3 => -3_000..3_000, 1 => any::<i32>(), 1 => prop_oneof![Just(i32::MIN), Just(i32::MAX)]]
}

fn any_frame() -> impl Strategy<Value = CellFrame> {
    let pair = || [any_count(), any_count()].prop_map(PerItem);
    let changes = proptest::array::uniform5(any_change());
    (changes, pair(), pair(), pair()).prop_map(|(changes, wanted, granted, returned)| CellFrame {
        changes,
        wanted,
        granted,
        returned,
    })
}

fn any_item() -> impl Strategy<Value = Item> {
    prop_oneof![Just(Item::Input), Just(Item::Output)]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..STRANGERS, any_frame()).prop_map(|(stranger, frame)| Operation::Say { stranger, frame }),
        2 => (0..STRANGERS, any_item()).prop_map(|(stranger, item)| Operation::Hand { stranger, item }),
        3 => (0..2_000_u64).prop_map(|milliseconds| Operation::Run { milliseconds }),
        1 => any_item().prop_map(|item| Operation::Give { item }),
    ]
}

/// What the documentation says of a frame that comes over the edge `inward`, from what was said before. Kinds are looked at in turn, and of each what it asks for, what
/// it gives back and what it grants.
fn verdict(rig: &Rig, inward: usize, frame: &CellFrame, source: bool) -> Result<(), CellViolation> {
    for item in Item::ALL {
        let sink = source && item == Item::Output;
        let theirs = rig.edges[inward].accounts[item];
        // That all is home at a source is said once, with so many slots more.
        let always = if sink { u64::from(MAX_WANTED) } else { 0 };
        let granted = theirs.granted.saturating_sub(always);
        let wanted = theirs.asked - granted + u64::from(frame.wanted[item]);
        if wanted > u64::from(MAX_WANTED) {
            let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
            return Err(CellViolation::Greedy { item, wanted });
        }
        let held = theirs.held() as u32;
        let used = frame.returned[item];
        if !sink && used > held {
            return Err(CellViolation::Ungranted { item, used, held });
        }
        let ours = rig.edges[inward ^ 1].accounts[item];
        let granted = frame.granted[item];
        if !ours.unlimited && granted < MAX_WANTED {
            let asked = (ours.asked - ours.heard) as u32;
            if granted > asked {
                return Err(CellViolation::Unasked {
                    item,
                    granted,
                    asked,
                });
            }
        }
    }
    Ok(())
}

struct Siege {
    rig: Rig,
    source: bool,
    cell: usize,
    honest: usize,
    /// The edge from the cell to the honest neighbour, and to each stranger.
    friend: usize,
    doors: [usize; STRANGERS],
}

impl Siege {
    fn new(is_source: bool) -> Self {
        let mut rig = Rig::new(5);
        // A cell that is no source stands between one and the honest neighbour.
        let (cell, honest) = if is_source {
            (rig.add(source(0.0)), rig.add(config(3.0)))
        } else {
            let far = rig.add(source(0.0));
            let cell = rig.add(config(0.0));
            rig.link([far, cell], link(9.0), Duration::ZERO);
            (cell, rig.add(config(3.0)))
        };
        let friend = rig.link([cell, honest], link(9.0), Duration::ZERO);
        let doors = std::array::from_fn(|_| {
            let stranger = rig.add_stranger(false);
            rig.link([cell, stranger], link(9.0), Duration::ZERO)
        });
        Self {
            rig,
            source: is_source,
            cell,
            honest,
            friend,
            doors,
        }
    }

    /// What the documentation asks of a shell: the link goes. The stranger comes back by another.
    fn throw_out(&mut self, stranger: usize) {
        let edge = self.doors[stranger];
        let outside = self.rig.edges[edge].to;
        self.rig.cut(edge);
        self.doors[stranger] = self
            .rig
            .link([self.cell, outside], link(9.0), Duration::ZERO);
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Say { stranger, frame } => {
                let inward = self.doors[stranger] ^ 1;
                let expected = verdict(&self.rig, inward, &frame, self.source);
                for item in Item::ALL {
                    let account = &mut self.rig.edges[inward].accounts[item];
                    account.asked += u64::from(frame.wanted[item]);
                }
                let said = self.rig.say(inward, &frame);
                assert_eq!(said, expected, "{frame:?}");
                if said.is_err() {
                    self.throw_out(stranger);
                }
            }
            Operation::Hand { stranger, item } => {
                let inward = self.doors[stranger] ^ 1;
                let theirs = self.rig.edges[inward].accounts[item];
                let sink = self.source && item == Item::Output;
                let honest = sink || theirs.held() > 0;
                self.rig.issued += u64::from(honest);
                let arrived = self.rig.arrive(inward, item);
                if !honest {
                    let (used, held) = (1, 0);
                    let violation = CellViolation::Ungranted { item, used, held };
                    assert_eq!(arrived, Err(violation));
                    self.throw_out(stranger);
                }
            }
            Operation::Run { milliseconds } => self.rig.run(Duration::from_millis(milliseconds)),
            Operation::Give { item } => {
                if self.rig.has_room(self.cell, item) {
                    self.rig.give(self.cell, item);
                }
            }
        }
        let memory = format!("{:?}", self.rig.cell(self.cell)).len();
        assert!(memory < MEMORY, "it takes {memory} letters");
        let view = self.rig.cell(self.cell).view();
        assert!(view.value.0.iter().all(|value| value.abs() <= 1.5));
        assert!(view.up_price <= 6.0 && view.down_price <= 6.0, "{view:?}");
    }

    /// What the honest neighbour computes in half a minute.
    fn served(&mut self) -> u64 {
        let before = self.rig.nodes[self.honest].collected;
        self.rig.run(Duration::from_secs(30));
        self.rig.nodes[self.honest].collected - before
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn strangers_get_the_verdict_that_is_documented_and_an_honest_neighbour_its_work(
        is_source: bool, operations in vec(any_operation(), 1..60),
    ) {
        let mut siege = Siege::new(is_source);
        for operation in operations {
            siege.apply(operation);
        }
        // What a shell does with neighbours of whom nothing comes back.
        for stranger in 0..STRANGERS {
            siege.rig.cut(siege.doors[stranger]);
        }
        siege.rig.run(Duration::from_secs(60));
        let served = siege.served();
        prop_assert!(served > 80, "{} of 90", served);
        prop_assert!(siege.rig.edges[siege.friend].up);
    }

    #[test]
    fn a_source_serves_an_honest_neighbour_whatever_strangers_whom_it_does_not_trust_say(
        operations in vec(any_operation(), 1..60),
    ) {
        let mut siege = Siege::new(true);
        for operation in operations {
            siege.apply(operation);
            for stranger in 0..STRANGERS {
                siege.rig.set_trust(siege.cell, siege.doors[stranger], 0.0);
            }
        }
        siege.rig.run(Duration::from_secs(60));
        let served = siege.served();
        prop_assert!(served > 80, "{} of 90", served);
    }
}

/// A cell with one link, whose own words are forgotten.
fn alone(buffer: Buffer) -> (Cell, Port) {
    let mut config = config(1.0);
    config.buffer = buffer;
    let mut cell = Cell::new(config, Duration::ZERO, 1);
    let port = cell.add_link(Duration::ZERO, link(9.0));
    (cell, port)
}

#[test]
fn a_grant_that_nobody_asked_for_is_a_violation() {
    let (mut cell, port) = alone(Buffer::Roomy);
    let mut frame = CellFrame::default();
    frame.granted[Item::Output] = 2;
    let said = cell.handle_frame(Duration::from_secs(1), port, &frame);
    let (item, granted, asked) = (Item::Output, 2, 0);
    assert_eq!(
        said,
        Err(CellViolation::Unasked {
            item,
            granted,
            asked
        })
    );
}

#[test]
fn an_item_or_a_return_without_a_slot_is_a_violation() {
    let (mut cell, port) = alone(Buffer::Roomy);
    let now = Duration::from_secs(1);
    let violation = |used| {
        let (item, held) = (Item::Input, 0);
        Err(CellViolation::Ungranted { item, used, held })
    };
    assert_eq!(cell.handle_arrived(now, port, Item::Input), violation(1));
    let mut frame = CellFrame::default();
    frame.returned[Item::Input] = 3;
    assert_eq!(cell.handle_frame(now, port, &frame), violation(3));
    assert_eq!(cell.view().waiting.0, [0, 0], "it is not counted");
}

#[test]
fn asking_for_more_slots_than_there_could_be_is_a_violation() {
    let (mut cell, port) = alone(Buffer::Tight);
    let now = Duration::from_secs(1);
    let mut frame = CellFrame::default();
    frame.wanted[Item::Input] = MAX_WANTED;
    assert_eq!(cell.handle_frame(now, port, &frame), Ok(()));
    let mut granted = 0;
    while let Some(action) = cell.poll_action() {
        if let Action::Send { frame, .. } = action {
            granted += frame.granted[Item::Input];
        }
    }
    assert!(
        (1..=3).contains(&granted),
        "{granted} slots of three for all"
    );
    frame.wanted[Item::Input] = granted + 1;
    let (item, wanted) = (Item::Input, MAX_WANTED + 1);
    assert_eq!(
        cell.handle_frame(now, port, &frame),
        Err(CellViolation::Greedy { item, wanted })
    );
}
