//! What may happen in a room, in any order, and over which links.

use std::time::Duration;

use proptest::prelude::*;

use super::{HEARTBEAT, Room};
use crate::{MS, net::Weather};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Join(usize),
    Kill(usize, bool),
    KillHost(bool),
    Stop(usize),
    HandOver(usize),
    /// Who is on the other side, by bits; for so many milliseconds.
    Split(u16, u64),
    Heal,
    Wait(u64),
    Quiet,
}

pub(crate) fn operations(places: usize) -> impl Strategy<Value = Vec<Operation>> {
    let place = 0..places;
    let one = prop_oneof![
        4 => place.clone().prop_map(Operation::Join),
        2 => (place.clone(), any::<bool>()).prop_map(|(place, noticed)| Operation::Kill(place, noticed)),
        2 => any::<bool>().prop_map(Operation::KillHost),
        1 => place.clone().prop_map(Operation::Stop),
        1 => place.prop_map(Operation::HandOver),
        3 => (any::<u16>(), 0..20_000_u64).prop_map(|(sides, ms)| Operation::Split(sides, ms)),
        3 => Just(Operation::Heal),
        4 => (0..3_000_u64).prop_map(Operation::Wait),
        4 => Just(Operation::Quiet),
    ];
    prop::collection::vec(one, 4..24)
}

pub(crate) fn weather() -> impl Strategy<Value = Weather> {
    (5..100_u64, 0..200_u64, 0..=30_u64, 0..20_u64).prop_map(|(least, jitter, loss, doubled)| {
        Weather {
            latency: (
                Duration::from_millis(least),
                Duration::from_millis(least + jitter),
            ),
            loss,
            doubled,
        }
    })
}

/// Does an operation, and says whether it asks for a look.
pub(crate) fn perform(room: &mut Room, operation: Operation) -> bool {
    let host = (0..room.peers.len()).find(|place| {
        let id = room.id(*place);
        room.peers[*place]
            .as_ref()
            .is_some_and(|peer| peer.authority.host() == Some(id))
    });
    match operation {
        Operation::Join(place) => {
            let side = room.sides().first().copied().unwrap_or(0);
            room.join(place, side);
        }
        Operation::Kill(place, noticed) => room.kill(place, noticed),
        Operation::KillHost(noticed) => {
            if let Some(host) = host {
                room.kill(host, noticed);
            }
        }
        Operation::Stop(place) => {
            if room.peers[place].is_some() {
                room.stop(place);
            }
        }
        Operation::HandOver(to) => {
            if let Some(host) = host {
                room.hand_over(host, to);
            }
        }
        Operation::Split(sides, ms) => {
            room.split(|place| usize::from(sides >> place & 1 == 1));
            room.run(Duration::from_millis(ms));
        }
        Operation::Heal => room.heal(),
        Operation::Wait(ms) => room.run(Duration::from_millis(ms)),
        Operation::Quiet => {
            // Links that are mending are no quiet time yet.
            room.run(500 * MS);
            let latency = room.net.weather.latency.1;
            room.run(3 * HEARTBEAT + latency);
            return true;
        }
    }
    false
}
