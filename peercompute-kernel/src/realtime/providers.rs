use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bytes::Bytes;
use peercompute_rt::MaybeSend;
use peercompute_sched::{ProviderId, Scheduler, SendError, codec::World};

use super::{ProviderFailure, regime::Regime};

/// When a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// The room's time.
    pub time: Duration,
    /// The tick; 0 outside a ticked clock mode.
    pub tick: u64,
}

/// Gives the state of something, whole, as bytes of the application's.
///
/// Providers are asked in the node's own task: they answer from memory, at once, and do not call the [`Realtime`](crate::Realtime) that asks them.
pub trait StateProvider: MaybeSend + 'static {
    /// The state as it is; `None` if it is as it was the last time.
    fn state(&mut self, moment: Moment) -> Option<Bytes>;
}

impl<F: FnMut(Moment) -> Option<Bytes> + MaybeSend + 'static> StateProvider for F {
    fn state(&mut self, moment: Moment) -> Option<Bytes> {
        self(moment)
    }
}

/// Keeps the entities of a world up to date. As [`StateProvider`] otherwise.
pub trait EntityProvider: MaybeSend + 'static {
    /// Sets and removes entities so that `world` is as it is now. Gives whether anything may have changed.
    fn update(&mut self, moment: Moment, world: &mut World) -> bool;
}

impl<F: FnMut(Moment, &mut World) -> bool + MaybeSend + 'static> EntityProvider for F {
    fn update(&mut self, moment: Moment, world: &mut World) -> bool {
        self(moment, world)
    }
}

/// Gives what its user wants to do: an input source. As [`StateProvider`] otherwise.
pub trait CommandProvider: MaybeSend + 'static {
    /// Appends the commands since the last time, none if there are none.
    fn commands(&mut self, moment: Moment, commands: &mut Vec<Bytes>);
}

impl<F: FnMut(Moment, &mut Vec<Bytes>) + MaybeSend + 'static> CommandProvider for F {
    fn commands(&mut self, moment: Moment, commands: &mut Vec<Bytes>) {
        self(moment, commands);
    }
}

/// A provider that was taken in.
pub(super) struct Registered {
    pub(super) name: String,
    pub(super) source: Source,
}

pub(super) enum Source {
    State(Box<dyn StateProvider>),
    Entities(Box<dyn EntityProvider>),
    Commands(Box<dyn CommandProvider>),
}

impl Source {
    /// Asks it, and hands on what it gives.
    pub(super) fn ask(
        &mut self,
        now: Duration,
        id: ProviderId,
        scheduler: &mut Scheduler,
        regime: &mut Regime,
    ) -> Result<(), ProviderFailure> {
        let moment = Moment {
            time: scheduler.room().time(now),
            tick: scheduler.tick(),
        };
        match self {
            Self::State(provider) => match guarded(|| provider.state(moment))? {
                Some(state) => Ok(scheduler.provide_state(now, id, state)?),
                None => Ok(()),
            },
            Self::Entities(provider) => {
                let world = scheduler.world_mut(id).ok_or(SendError::UnknownProvider)?;
                match guarded(|| provider.update(moment, world))? {
                    true => Ok(scheduler.commit(now, id)?),
                    false => Ok(()),
                }
            }
            Self::Commands(provider) => {
                let mut commands = Vec::new();
                guarded(|| provider.commands(moment, &mut commands))?;
                for command in commands {
                    match regime.command(now, command.clone()) {
                        Some(sealed) => drop(sealed?),
                        None => drop(scheduler.send_command(Some(id), moment.tick, command)?),
                    }
                }
                Ok(())
            }
        }
    }
}

/// Runs what is not ours. A provider that has panicked is not asked again, so nobody sees what it left half done.
fn guarded<T>(ask: impl FnOnce() -> T) -> Result<T, ProviderFailure> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|payload| ProviderFailure::panicked(&*payload))
}
