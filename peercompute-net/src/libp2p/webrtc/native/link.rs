//! Carries a [`Session`] over its sockets: time, packets, and the two ends of the channels.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    channel::{mpsc, oneshot},
};
use peercompute_rt::{BoxFuture, Runtime};

use super::{
    super::{
        channel::{Carried, MAX_BACKLOG},
        datagrams::{DatagramHub, Way},
        failure::Failure,
    },
    session::{Packet, Session, Step},
    sockets::Sockets,
};
use crate::PeerId;

/// How long the two ends may look for a path.
const PATH_LIMIT: Duration = Duration::from_secs(15);

/// How long what was written last may take before the connection is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// While some wait, so many packets are taken in this time.
const SLOW_PACKETS: u32 = 32;
const SLOW: Duration = Duration::from_millis(10);

/// The runtime's time, as str0m counts it.
#[derive(Clone)]
pub(super) struct Clock {
    runtime: Runtime,
    start: peercompute_rt::Instant,
    base: Instant,
}

impl Clock {
    pub(super) fn new(runtime: &Runtime) -> Self {
        Self {
            runtime: runtime.clone(),
            start: runtime.now(),
            base: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.base + (self.runtime.now() - self.start)
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let wait = deadline.saturating_duration_since(self.now());
        self.runtime.sleep(wait)
    }
}

/// What carries a connection. Its sockets close with it.
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) sockets: Sockets,
    pub(super) clock: Clock,
    pub(super) peer: PeerId,
    pub(super) hub: Arc<DatagramHub>,
    pub(super) carried: Carried,
    /// Where datagrams to send come from, once the channel for them is open.
    pub(super) way: Option<(Way, mpsc::Receiver<Bytes>)>,
}

/// A [`Link`] at work.
pub(super) struct Work {
    link: Link,
    /// What the kernel has no place for yet.
    unsent: Option<Packet>,
    /// What the reader has no place for yet, and its bytes.
    backlog: VecDeque<Bytes>,
    backlog_bytes: usize,
    slow: Slow,
    alarm: Alarm,
    turn: u8,
    /// The end that is written has closed or gone: what was written has to be acknowledged by then.
    farewell: Option<Instant>,
    /// All of that has been written.
    is_written: bool,
}

/// What has come up.
enum Next {
    /// A packet was taken in, or could be sent.
    Moved,
    Message(Bytes),
    Datagram(Bytes),
    Alarm,
    /// The end that is read and written has gone.
    Farewell,
    /// It has closed, and nothing of what it wrote is left.
    Written,
}

impl Work {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            unsent: None,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            slow: Slow::default(),
            alarm: Alarm::default(),
            turn: 0,
            farewell: None,
            is_written: false,
        }
    }

    /// Runs until either end has gone. Says through `opened` when both channels are open, or why they never were.
    pub(super) async fn run(mut self, opened: oneshot::Sender<Result<(), Failure>>) {
        let mut opened = Some(opened);
        let path_deadline = self.link.clock.now() + PATH_LIMIT;
        self.link.session.handle_timeout(self.link.clock.now());
        let reason = loop {
            if let Some(reason) = self.drain() {
                break reason;
            }
            if opened.is_some() {
                if self.link.session.is_open() {
                    self.link.way = Some(self.link.hub.open(self.link.peer));
                    // Whoever waited may have given up, and dropped the other end too.
                    let _ = opened.take().map(|it| it.send(Ok(())));
                } else if !self.link.session.has_path() {
                    self.alarm.set(&self.link.clock, path_deadline);
                    if self.link.clock.now() >= path_deadline {
                        let _ = opened.take().map(|it| it.send(Err(Failure::NoPath)));
                        return;
                    }
                }
            }
            if let Some(until) = self.farewell {
                self.alarm.set(&self.link.clock, until);
                let is_sent = self.is_written && self.link.session.unacknowledged() == 0;
                if is_sent || self.link.clock.now() >= until {
                    break "this end closed it".to_owned();
                }
            }
            let next = std::future::poll_fn(|cx| self.poll(cx)).await;
            let now = self.link.clock.now();
            match next {
                Next::Moved => {}
                Next::Message(message) => self.link.session.write(now, &message),
                Next::Datagram(datagram) => self.link.session.write_datagram(now, &datagram),
                Next::Alarm => self.link.session.handle_timeout(now),
                Next::Farewell => self.farewell = Some(now + FAREWELL),
                Next::Written => {
                    self.is_written = true;
                    self.farewell.get_or_insert(now + FAREWELL);
                }
            }
        };
        tracing::debug!(peer = %self.link.peer, reason, "a connection over WebRTC has ended");
        self.part();
        self.link.way = None;
        // What the peer takes for received is to be read.
        let runtime = self.link.clock.runtime.clone();
        let handing_over = std::future::poll_fn(|cx| self.poll_hand_over(cx));
        let _ = runtime.timeout(FAREWELL, handing_over).await;
        if let Some(opened) = opened {
            let what = "the connection";
            // The same.
            let _ = opened.send(Err(Failure::Engine { what, reason }));
        }
    }

    /// Has the session do what it can. Gives the reason when it is over.
    fn drain(&mut self) -> Option<String> {
        while self.unsent.is_none() {
            match self.link.session.poll() {
                Step::Transmit(packet) => self.unsent = self.link.sockets.send(packet),
                Step::Message(message) => {
                    self.backlog_bytes += message.len();
                    self.backlog.push_back(message);
                    if self.backlog_bytes > MAX_BACKLOG {
                        return Some("the peer sends more than is read".to_owned());
                    }
                }
                Step::Datagram(datagram) => self.link.hub.deliver(self.link.peer, datagram),
                Step::Wait(until) => {
                    self.alarm.set(&self.link.clock, until);
                    break;
                }
                Step::Over(reason) => return Some(reason),
            }
        }
        None
    }

    /// Gives the reader what it has a place for.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.backlog.is_empty() {
            let place = ready!(self.link.carried.incoming.poll_ready(cx));
            if let Some(message) = self.backlog.pop_front() {
                self.backlog_bytes -= message.len();
                // Where nobody reads any more, the end comes on the other way.
                let _ = place.and_then(|()| self.link.carried.incoming.start_send(message));
            }
        }
        Poll::Ready(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(packet) = &self.unsent
            && self.link.sockets.poll_send(cx, packet).is_ready()
        {
            self.unsent = None;
            return Poll::Ready(Next::Moved);
        }
        if self.farewell.is_none() && self.link.carried.gone.poll_unpin(cx).is_ready() {
            return Poll::Ready(Next::Farewell);
        }
        // Beginning with another one each time, so that none starves the others.
        for _ in 0..4 {
            self.turn = (self.turn + 1) % 4;
            let ready = match self.turn {
                0 => self.poll_received(cx),
                1 => self.poll_message(cx),
                2 => self.poll_datagram(cx),
                _ => self.alarm.poll(cx).map(|()| Next::Alarm),
            };
            if ready.is_ready() {
                return ready;
            }
        }
        Poll::Pending
    }

    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let is_behind = self.poll_hand_over(cx).is_pending();
        if is_behind && self.slow.poll(cx, &self.link.clock).is_pending() {
            return Poll::Pending;
        }
        if self.unsent.is_some() {
            return Poll::Pending;
        }
        let Link {
            session,
            sockets,
            clock,
            ..
        } = &mut self.link;
        sockets.poll_receive(cx).map(|(from, to, packet)| {
            session.handle_packet(clock.now(), from, to, packet);
            Next::Moved
        })
    }

    fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let Some((_, packets)) = &mut self.link.way else {
            return Poll::Pending;
        };
        match packets.poll_next_unpin(cx) {
            Poll::Ready(Some(datagram)) => Poll::Ready(Next::Datagram(datagram)),
            // A newer connection has taken its place.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let is_writing = self.unsent.is_none() && !self.is_written;
        if !is_writing || !self.link.session.is_open() || !self.link.session.has_room() {
            return Poll::Pending;
        }
        let message = self.link.carried.outgoing.poll_next_unpin(cx);
        message.map(|message| message.map_or(Next::Written, Next::Message))
    }

    /// Says goodbye, as far as the kernel takes it.
    fn part(&mut self) {
        self.link.session.close();
        loop {
            match self.link.session.poll() {
                Step::Transmit(packet) => drop(self.link.sockets.send(packet)),
                Step::Message(_) | Step::Datagram(_) => {}
                Step::Wait(_) | Step::Over(_) => return,
            }
        }
    }
}

/// Takes packets in portions, with time in between.
#[derive(Default)]
struct Slow {
    left: u32,
    pause: Option<BoxFuture<'static, ()>>,
}

impl Slow {
    fn poll(&mut self, cx: &mut Context<'_>, clock: &Clock) -> Poll<()> {
        if self.left == 0 {
            let pause = self.pause.get_or_insert_with(|| clock.runtime.sleep(SLOW));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.left = SLOW_PACKETS;
        }
        self.left -= 1;
        Poll::Ready(())
    }
}

/// Goes off once, at the earliest moment that it was set to.
#[derive(Default)]
struct Alarm(Option<(Instant, BoxFuture<'static, ()>)>);

impl Alarm {
    fn set(&mut self, clock: &Clock, at: Instant) {
        if self.0.as_ref().is_none_or(|(earlier, _)| at < *earlier) {
            self.0 = Some((at, clock.sleep_until(at)));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, sleep)) = &mut self.0 else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
