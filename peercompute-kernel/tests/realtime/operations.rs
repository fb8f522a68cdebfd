//! What may happen to six players, in any order.

use std::time::Duration;

use proptest::prelude::*;

use crate::arena::{Arena, Mode};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Join(usize),
    Kill(usize, bool),
    KillHost(bool),
    HandOver(usize),
    /// Who is on the other side, by bits; whether it is noticed; for so many milliseconds.
    Split(u8, bool, u64),
    Heal,
    Wait(u64),
}

impl Operation {
    /// The sum of the weights in [`any`](Self::any).
    pub(crate) const WEIGHTS: u32 = 16;

    pub(crate) fn any(is_split_noticed: BoxedStrategy<bool>) -> impl Strategy<Value = Self> {
        prop_oneof![
            3 => (0..6_usize).prop_map(Self::Join),
            1 => (0..6_usize, any::<bool>()).prop_map(|(place, noticed)| Self::Kill(place, noticed)),
            2 => any::<bool>().prop_map(Self::KillHost),
            1 => (0..6_usize).prop_map(Self::HandOver),
            2 => (any::<u8>(), is_split_noticed, 0..20_000_u64)
                .prop_map(|(sides, noticed, ms)| Self::Split(sides, noticed, ms)),
            2 => Just(Self::Heal),
            5 => (0..5_000_u64).prop_map(Self::Wait),
        ]
    }

    pub(crate) fn perform<M: Mode>(self, arena: &mut Arena<M>) {
        match self {
            Self::Join(place) => arena.join(place),
            Self::Kill(place, noticed) => arena.kill(place, noticed),
            Self::KillHost(noticed) => {
                if let Some(host) = arena.host() {
                    arena.kill(host, noticed);
                }
            }
            Self::HandOver(to) => {
                if let Some(host) = arena.host() {
                    arena.hand_over(host, to);
                }
            }
            Self::Split(sides, noticed, ms) => {
                arena.split(noticed, |place| usize::from(sides >> place & 1));
                arena.run(Duration::from_millis(ms));
            }
            Self::Heal => arena.split(true, |_| 0),
            Self::Wait(ms) => arena.run(Duration::from_millis(ms)),
        }
    }
}
