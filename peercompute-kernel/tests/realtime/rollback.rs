//! Prediction with rollback.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use bytes::Bytes;
use peercompute_kernel::{Prediction, Rollback, RollbackConfig, SealedTick, Simulation};
use peercompute_net::PeerId;
use proptest::prelude::*;

use crate::{
    cases,
    game::Game,
    net::{Random, peer_id},
};

struct Play(Game);

impl Simulation for Play {
    type State = Game;

    fn save(&mut self) -> Game {
        self.0.clone()
    }

    fn load(&mut self, state: &Game) {
        self.0 = state.clone();
    }

    fn advance(&mut self, tick: &SealedTick) {
        self.0.advance(tick);
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Predict,
    Seal(u64),
    Own(u64),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        4 => Just(Operation::Predict),
        4 => any::<u64>().prop_map(Operation::Seal),
        2 => (0..20_u64).prop_map(Operation::Own),
    ];
    prop::collection::vec(one, 1..200)
}

/// The tick that comes next: mostly the same commands as before.
fn sealed(before: &SealedTick, peers: &[PeerId], choice: u64) -> SealedTick {
    let mut tick = SealedTick {
        tick: before.tick + 1,
        ..SealedTick::default()
    };
    if before.tick == 0 {
        tick.joined = peers.to_vec();
    }
    tick.inputs = match choice % 4 {
        0 => vec![(
            peers[1],
            vec![Bytes::copy_from_slice(&choice.to_le_bytes())],
        )],
        1 => Vec::new(),
        _ => before.inputs.clone(),
    };
    tick
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn it_ends_at_the_same_state_as_without_and_keeps_no_more_than_it_may(
        seed in any::<u64>(),
        ahead in 1..=12_usize,
        repeats in any::<bool>(),
        operations in operations(),
    ) {
        let mut random = Random(seed);
        let peers = [peer_id(&mut random), peer_id(&mut random)];
        let mut config = RollbackConfig::default();
        config.ahead = ahead;
        config.prediction = if repeats { Prediction::Repeat } else { Prediction::Empty };
        // Who is here is sealed with the first tick; before it nothing is predicted.
        let mut plain = Game::default();
        let mut last = sealed(&SealedTick::default(), &peers, 1);
        plain.advance(&last);
        let mut rollback = Rollback::new(Play(plain.clone()), peers[0], 1, config);
        for operation in operations {
            match operation {
                Operation::Predict => {
                    let head = rollback.head();
                    let has_run = rollback.predict();
                    prop_assert_eq!(has_run, head < last.tick + ahead as u64);
                    prop_assert_eq!(rollback.head(), head + u64::from(has_run));
                }
                Operation::Seal(choice) => {
                    let head = rollback.head();
                    last = sealed(&last, &peers, choice);
                    plain.advance(&last);
                    let again = rollback.handle_sealed(last.clone());
                    prop_assert!(again <= ahead);
                    prop_assert_eq!(rollback.head(), head.max(last.tick), "what was shown stays as far ahead");
                }
                Operation::Own(offset) => {
                    let number = Bytes::copy_from_slice(&offset.to_le_bytes());
                    let is_noted = rollback.note_own(last.tick + offset, number);
                    prop_assert!(!is_noted || last.tick + offset > rollback.head());
                }
            }
            prop_assert_eq!(rollback.confirmed(), (plain.tick, &plain), "seed {}", seed);
            prop_assert_eq!(rollback.simulation().0.tick, rollback.head());
        }
        let stats = rollback.stats();
        prop_assert!(stats.deepest <= ahead && stats.again >= stats.rollbacks);
    }
}

#[test]
fn a_prediction_that_was_right_costs_nothing() {
    let mut random = Random(1);
    let peers = [peer_id(&mut random), peer_id(&mut random)];
    let mut game = Game::default();
    let mut tick = sealed(&SealedTick::default(), &peers, 1);
    game.advance(&tick);
    let mut rollback = Rollback::new(Play(game), peers[0], 1, RollbackConfig::default());
    // Held down for a hundred ticks, and then released.
    tick = sealed(&tick, &peers, 4);
    assert_eq!(rollback.handle_sealed(tick.clone()), 0);
    for _ in 0..100 {
        assert!(rollback.predict());
        tick = sealed(&tick, &peers, 2);
        assert_eq!(rollback.handle_sealed(tick.clone()), 0);
    }
    rollback.predict();
    rollback.predict();
    assert_eq!(rollback.handle_sealed(sealed(&tick, &peers, 1)), 2);
    let stats = rollback.stats();
    assert_eq!((stats.right, stats.rollbacks, stats.deepest), (100, 1, 2));
}
