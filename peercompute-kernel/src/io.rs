//! What a player has in his hands and sees: where commands come from, and where frames go. An engine's keyboard, pad and renderer plug in here.

use std::{fmt, ops::ControlFlow, time::Duration};

use bytes::Bytes;
use peercompute_rt::MaybeSend;

use crate::{CommandProvider, Moment};

/// Where a player's commands come from: a keyboard, a pad, a touch screen, a bot.
///
/// It is polled: whoever drives the frames calls [`poll`](Self::poll) once in each and hands on what comes, in [`ClockMode::Kernel`](crate::ClockMode::Kernel) to
/// [`Runner::command`](crate::Runner::command), so that it is predicted, too. Where nothing is predicted an [`InputProvider`] does it at every turn of the room's commands.
///
/// A closure that takes the same arguments is a source.
///
/// ```
/// use std::{ops::ControlFlow, time::Duration};
/// use bytes::Bytes;
/// use peercompute_kernel::{InputSource, Moment};
///
/// // Jumps once, then puts the pad away.
/// let mut jumps = ["jump"].into_iter();
/// let mut pad = move |_: Moment, commands: &mut Vec<Bytes>| match jumps.next() {
///     Some(jump) => {
///         commands.push(Bytes::from(jump));
///         ControlFlow::Continue(())
///     }
///     None => ControlFlow::Break(()),
/// };
/// let (now, mut commands) = (Moment::new(Duration::ZERO, 1), Vec::new());
/// assert!(pad.poll(now, &mut commands).is_continue());
/// assert_eq!(commands, ["jump"]);
/// assert!(pad.poll(now, &mut commands).is_break());
/// ```
pub trait InputSource: MaybeSend + 'static {
    /// Appends the commands since the last call, none if there are none. It answers from what has come already and never waits. [`ControlFlow::Break`] says that this was the last: the player has gone, or the device has.
    fn poll(&mut self, moment: Moment, commands: &mut Vec<Bytes>) -> ControlFlow<()>;
}

impl<F> InputSource for F
where
    F: FnMut(Moment, &mut Vec<Bytes>) -> ControlFlow<()> + MaybeSend + 'static,
{
    fn poll(&mut self, moment: Moment, commands: &mut Vec<Bytes>) -> ControlFlow<()> {
        self(moment, commands)
    }
}

/// An [`InputSource`] as a [`CommandProvider`], for [`Realtime::add_commands`](crate::Realtime::add_commands). A source that has said that it is done is not asked again, and its provider gives nothing from then on.
pub struct InputProvider<I> {
    source: I,
    is_done: bool,
}

impl<I: InputSource> InputProvider<I> {
    /// One that asks this source.
    pub fn new(source: I) -> Self {
        Self {
            source,
            is_done: false,
        }
    }
}

impl<I: InputSource> CommandProvider for InputProvider<I> {
    fn commands(&mut self, moment: Moment, commands: &mut Vec<Bytes>) {
        self.is_done = self.is_done || self.source.poll(moment, commands).is_break();
    }
}

impl<I> fmt::Debug for InputProvider<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputProvider")
            .field("is_done", &self.is_done)
            .finish_non_exhaustive()
    }
}

/// Where frames go: a window, a canvas, a terminal, a film. `F` is the application's own type of a frame.
///
/// A closure that takes the same arguments is a sink.
///
/// ```
/// use std::{ops::ControlFlow, time::Duration};
/// use peercompute_kernel::{Moment, RenderSink};
///
/// // Takes two frames.
/// let mut film = Vec::new();
/// let mut camera = |_: Moment, frame: &&'static str| {
///     film.push(*frame);
///     match film.len() {
///         2 => ControlFlow::Break(()),
///         _ => ControlFlow::Continue(()),
///     }
/// };
/// let now = Moment::new(Duration::ZERO, 0);
/// assert!(camera.render(now, &"ready").is_continue());
/// assert!(camera.render(now, &"steady").is_break());
/// assert_eq!(film, ["ready", "steady"]);
/// ```
pub trait RenderSink<F: ?Sized> {
    /// Shows how things are at this moment. It may leave frames out that come faster than it can show, and does not wait for one. [`ControlFlow::Break`] says that it wants no more: the window was closed.
    fn render(&mut self, moment: Moment, frame: &F) -> ControlFlow<()>;
}

impl<F: ?Sized, S> RenderSink<F> for S
where
    S: FnMut(Moment, &F) -> ControlFlow<()>,
{
    fn render(&mut self, moment: Moment, frame: &F) -> ControlFlow<()> {
        self(moment, frame)
    }
}

impl Moment {
    /// A moment of an application that drives sources and sinks itself: at the room's time `time` ([`Realtime::time`](crate::Realtime::time)), in the tick `tick` ([`Realtime::command_tick`](crate::Realtime::command_tick) for
    /// a source; 0 outside a ticked clock mode).
    pub const fn new(time: Duration, tick: u64) -> Self {
        Self { time, tick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_done_is_not_asked_again() {
        let mut polls = 0;
        let source = move |_: Moment, commands: &mut Vec<Bytes>| {
            polls += 1;
            commands.push(Bytes::from(vec![polls]));
            if polls == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let mut provider = InputProvider::new(source);
        let mut commands = Vec::new();
        for tick in 0..5 {
            provider.commands(Moment::new(Duration::ZERO, tick), &mut commands);
        }
        assert_eq!(commands, [vec![1], vec![2]]);
    }
}
