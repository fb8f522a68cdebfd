//! A player's place at the table: its node, who leads it, and what is measured.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use peercompute_kernel::{
    InputSource, Moment, Realtime, RealtimeEvent, Recipients, RenderSink, Step,
};
use peercompute_net::{NetworkManager, PeerId};

use crate::{
    bot::Bot,
    failure::Failure,
    game::{Command, State},
    meter::{self, Times},
    words::{ModeReport, Report, Second},
};

/// What both modes have in common.
pub(crate) struct Table {
    pub(crate) number: usize,
    pub(crate) players: usize,
    pub(crate) me: PeerId,
    pub(crate) live: Realtime,
    pub(crate) seen: Seen,
    pub(crate) age: Times,
    sink: Option<Box<dyn RenderSink<Frame>>>,
    event: Times,
    network: Arc<NetworkManager>,
    /// Since when it is measured, and the bytes until then: all, and those of the live room by protocol.
    since: Option<(Instant, meter::Bytes, BTreeMap<String, meter::Bytes>)>,
    last: meter::Bytes,
}

/// How time passes, as a player carries it out.
pub(crate) trait Mode {
    /// Sixty times a second. [`ControlFlow::Break`] when the player wants no more.
    fn frame(&mut self, table: &mut Table) -> Result<ControlFlow<()>, Failure>;

    fn handle_step(&mut self, table: &mut Table, step: Step) -> Result<(), Failure>;

    fn handle_event(&mut self, table: &mut Table, event: RealtimeEvent) -> Result<(), Failure>;

    /// Whether the game has begun for this player.
    fn has_begun(&self) -> bool;

    /// Counts from now on.
    fn begin_measuring(&mut self, table: &Table);

    /// What it adds to how the player does.
    fn second(&mut self, second: &mut Second);

    /// What it has to say at the end.
    fn report(&mut self, table: &Table, report: &mut Report) -> ModeReport;

    /// The arena as it is now, for this player.
    fn state(&self) -> State;
}

/// What is shown to who watches.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) state: State,
    pub(crate) me: PeerId,
    pub(crate) host: Option<PeerId>,
    pub(crate) peers: usize,
}

/// The arena as a player's input sources see it.
#[derive(Clone)]
pub(crate) struct Seen(Arc<Mutex<State>>);

impl Seen {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bot that sees it, as a source of commands.
    pub(crate) fn bot(&self, mut bot: Bot, me: PeerId) -> impl InputSource + use<> {
        let seen = self.clone();
        move |moment: Moment, commands: &mut Vec<Bytes>| {
            if let Some(keys) = bot.look(moment.time, &seen.look(), me) {
                commands.push(command(moment, keys));
            }
            ControlFlow::Continue(())
        }
    }
}

/// The keys that are down from this moment on.
pub(crate) fn command(moment: Moment, keys: u8) -> Bytes {
    let millis = moment.time.as_millis() as u32;
    Command { keys, millis }.write()
}

impl Table {
    pub(crate) fn new(
        (number, players): (usize, usize),
        me: PeerId,
        live: Realtime,
        network: Arc<NetworkManager>,
        seen: Seen,
        sink: Option<Box<dyn RenderSink<Frame>>>,
    ) -> Self {
        Self {
            number,
            players,
            me,
            live,
            seen,
            age: Times::default(),
            sink,
            event: Times::default(),
            network,
            since: None,
            last: meter::Bytes::default(),
        }
    }

    /// Now, for who asks a source.
    pub(crate) fn moment(&self) -> Moment {
        Moment::new(self.live.time(), self.live.command_tick())
    }

    /// Whether the room's time is known here.
    pub(crate) fn has_time(&self) -> bool {
        self.live.host() == Some(self.me) || self.live.clock().is_set()
    }

    pub(crate) fn is_measured(&self) -> bool {
        self.since.is_some() && self.has_time()
    }

    /// Whether it sees everybody and knows the host.
    pub(crate) fn has_met_all(&self) -> bool {
        self.live.peers().len() + 1 >= self.players && self.has_time()
    }

    /// Tells everybody something that begins with the room's time, so that they know how long it was under way.
    pub(crate) fn tell(&self, event_type: &str, about: &[u8]) {
        let mut payload = (self.live.time().as_micros() as u64).to_le_bytes().to_vec();
        payload.extend_from_slice(about);
        let told = self
            .live
            .send_event(Recipients::All, event_type, payload.into());
        if let Err(error) = told {
            tracing::warn!(%error, event_type, "an event is not told");
        }
    }

    pub(crate) fn handle_event(&mut self, payload: &[u8]) {
        let Some((micros, _)) = payload.split_first_chunk() else {
            return;
        };
        if self.is_measured() {
            let sent = Duration::from_micros(u64::from_le_bytes(*micros));
            self.event.note(self.live.time().saturating_sub(sent));
        }
    }

    /// Shows a frame, if somebody watches.
    pub(crate) fn show(&mut self, state: &State) -> ControlFlow<()> {
        let moment = self.moment();
        let Some(sink) = &mut self.sink else {
            return ControlFlow::Continue(());
        };
        let frame = Frame {
            state: state.clone(),
            me: self.me,
            host: self.live.host(),
            peers: self.live.peers().len(),
        };
        sink.render(moment, &frame)
    }

    pub(crate) fn begin_measuring(&mut self) {
        self.since = Some((Instant::now(), self.bytes(), self.lanes()));
    }

    /// What the node has written to its streams and read from them.
    fn bytes(&self) -> meter::Bytes {
        let traffic = self.network.health().traffic;
        meter::Bytes {
            up: traffic.sent,
            down: traffic.received,
        }
    }

    /// Of these, what the streams of the live room have, by protocol.
    fn lanes(&self) -> BTreeMap<String, meter::Bytes> {
        let stats = self.live.stats();
        let lanes = stats.lanes().map(|(protocol, lane)| {
            let bytes = meter::Bytes {
                up: lane.bytes_sent,
                down: lane.bytes_received,
            };
            (protocol.to_owned(), bytes)
        });
        lanes.collect()
    }

    /// How it does; bytes since the last time.
    pub(crate) fn second(&mut self, mode: &mut dyn Mode) -> Second {
        let bytes = self.bytes();
        let passed = bytes - std::mem::replace(&mut self.last, bytes);
        let mut second = Second {
            host: self.live.host().map(|host| host.to_string()),
            peers: self.live.peers().len(),
            input_delay: self.live.input_delay(),
            up: passed.up,
            down: passed.down,
            ..Second::default()
        };
        mode.second(&mut second);
        second
    }

    pub(crate) fn report(&self, mode: &mut dyn Mode) -> Report {
        let (seconds, before, lanes_before) = match &self.since {
            Some((since, before, lanes)) => (since.elapsed().as_secs_f64(), *before, lanes.clone()),
            None => (0.0, meter::Bytes::default(), BTreeMap::new()),
        };
        let all = self.bytes() - before;
        let mut streams = self.lanes();
        for (protocol, bytes) in &mut streams {
            *bytes = *bytes - lanes_before.get(protocol).copied().unwrap_or_default();
        }
        streams.retain(|_, bytes| bytes.up + bytes.down > 0);
        let rate = |bytes: u64| match seconds {
            0.0 => 0.0,
            seconds => bytes as f64 / 1e3 / seconds,
        };
        let rtts = self.live.peers().into_iter();
        let rtts = rtts.filter_map(|peer| self.live.peer_stats(peer)?.rtt);
        let rtts: Vec<f64> = rtts.map(|rtt| rtt.as_secs_f64() * 1e3).collect();
        let state = mode.state();
        let mut report = Report {
            player: self.number,
            peer: self.me.to_string(),
            is_host: self.live.host() == Some(self.me),
            seconds,
            up_kb_per_s: rate(all.up),
            down_kb_per_s: rate(all.down),
            streams,
            age: self.age.quantiles(),
            event: self.event.quantiles(),
            rtt_ms: (!rtts.is_empty()).then(|| rtts.iter().sum::<f64>() / rtts.len() as f64),
            score: state.player(self.me).map_or(0, |player| player.score),
            ..Report::default()
        };
        let mode = mode.report(self, &mut report);
        report.mode = mode;
        report
    }
}
