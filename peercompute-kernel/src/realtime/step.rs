use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::SealedTick;

/// What a ticked [`ClockMode`](crate::ClockMode) asks of the application next. Steps come one at a time and in order: each is carried out before the next is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Advance by one tick, then say so with [`finish_tick`](crate::Realtime::finish_tick).
    ///
    /// In [`ClockMode::Hybrid`](crate::ClockMode::Hybrid) some ticks are missing after the room's clock has jumped, and who has joined and left is what this peer has seen, while a state that was taken over has what the host has
    /// seen: so one may join who is in the state already, or leave who is not, and commands may be of a peer that has just left.
    Advance(SealedTick),
    /// The state after the last tick is wanted: give it with [`give_state`](crate::Realtime::give_state). Who has nothing to give goes on.
    Save {
        /// The last tick.
        tick: u64,
    },
    /// Forget the state and take over this one, another peer's: as a newcomer, after having strayed, or after a split.
    Restore {
        /// The tick that it is the state after.
        tick: u64,
        /// What was given there: one piece for each namespace, in the order of the setup.
        states: Vec<Bytes>,
    },
}

/// The pieces of a state as one.
pub(super) fn join_states(states: &[Bytes]) -> Bytes {
    let size: usize = states.iter().map(|state| 4 + state.len()).sum();
    let mut whole = BytesMut::with_capacity(size);
    for state in states {
        whole.put_u32_le(u32::try_from(state.len()).unwrap_or(u32::MAX));
        whole.put_slice(state);
    }
    whole.freeze()
}

/// The so many pieces that a state was put together of; `None` if it was not.
pub(super) fn split_states(mut whole: Bytes, count: usize) -> Option<Vec<Bytes>> {
    let mut states = Vec::with_capacity(count);
    for _ in 0..count {
        let size = whole.try_get_u32_le().ok()? as usize;
        if size > whole.len() {
            return None;
        }
        states.push(whole.split_to(size));
    }
    whole.is_empty().then_some(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_put_together_and_taken_apart() {
        let states = [Bytes::from("world"), Bytes::new(), Bytes::from("score")];
        let whole = join_states(&states);
        assert_eq!(split_states(whole.clone(), 3).unwrap(), states);
        assert_eq!(split_states(whole.clone(), 2), None);
        assert_eq!(split_states(whole.clone(), 4), None);
        assert_eq!(split_states(whole.slice(..whole.len() - 1), 3), None);
        assert_eq!(split_states(Bytes::from(vec![0xff; 8]), 1), None);
        assert_eq!(split_states(Bytes::new(), 0).unwrap(), Vec::<Bytes>::new());
    }
}
