//! Whether all have come to the same states.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    game::{NAMESPACES, State},
    record::hex,
    words::Hashes,
};

/// Ticks that are compared at a time. The oldest makes way: whoever is that far behind is not compared in it.
const TICKS: usize = 60 * 120;

/// The hashes that players tell, tick by tick.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// By tick, and whose it is: the ticks of two sides of a room need not be alike.
    ticks: BTreeMap<(u64, u64), Told>,
    difference: Option<Difference>,
}

#[derive(Debug)]
struct Told {
    /// Who told it first.
    by: usize,
    hashes: Vec<u64>,
    /// Everybody who told the same, a bit for each.
    all: u64,
}

/// The first tick after which two players have another state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) tick: u64,
    pub(crate) namespace: &'static str,
    pub(crate) players: [usize; 2],
}

/// A state that all have come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Common {
    pub(crate) tick: u64,
    pub(crate) hash: String,
}

impl Verdict {
    pub(crate) fn note(&mut self, player: usize, hashes: Vec<Hashes>) {
        for Hashes { tick, host, hashes } in hashes {
            let bit = 1_u64 << (player % 64);
            let told = self.ticks.entry((tick, host)).or_insert_with(|| Told {
                by: player,
                hashes: hashes.clone(),
                all: bit,
            });
            if told.hashes == hashes {
                told.all |= bit;
            } else if self.difference.as_ref().is_none_or(|it| tick < it.tick) {
                let mut pairs = told.hashes.iter().zip(&hashes);
                let place = pairs.position(|(one, other)| one != other);
                self.difference = Some(Difference {
                    tick,
                    namespace: place.map_or("", |place| NAMESPACES[place]),
                    players: [told.by, player],
                });
            }
        }
        while self.ticks.len() > TICKS {
            self.ticks.pop_first();
        }
    }

    pub(crate) fn difference(&self) -> Option<&Difference> {
        self.difference.as_ref()
    }

    /// The last tick after which all of these have told of the same state.
    pub(crate) fn common(&self, players: impl Iterator<Item = usize>) -> Option<Common> {
        let all = players.fold(0, |all, player| all | 1_u64 << (player % 64));
        let ((tick, _), told) = self.ticks.iter().rfind(|(_, it)| it.all & all == all)?;
        Some(Common {
            tick: *tick,
            hash: hex(State::hash_of(&told.hashes)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_whoever_tells_it_when() {
        let mut verdict = Verdict::default();
        let told = |tick, hashes: [u64; 2]| Hashes {
            tick,
            host: 0,
            hashes: hashes.to_vec(),
        };
        verdict.note(0, vec![told(1, [1, 1]), told(2, [2, 2]), told(3, [3, 3])]);
        verdict.note(1, vec![told(1, [1, 1]), told(2, [2, 2])]);
        assert_eq!(verdict.difference(), None);
        assert_eq!(verdict.common([0, 1].into_iter()).unwrap().tick, 2);
        verdict.note(2, vec![told(3, [4, 3])]);
        verdict.note(3, vec![told(2, [2, 5])]);
        // On another side of the room it may be as it likes.
        let mut apart = told(1, [9, 9]);
        apart.host = 1;
        verdict.note(4, vec![apart]);
        let first = Difference {
            tick: 2,
            namespace: "shots",
            players: [0, 3],
        };
        assert_eq!(verdict.difference(), Some(&first));
        assert_eq!(verdict.common([0, 2].into_iter()), None);
    }
}
