use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{Either, select},
};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use peercompute_map::SortedMap;
use peercompute_proto::{Scope, v1};
use peercompute_rt::{MaybeSend, Runtime, Task};

use super::{
    Excess, NetworkEvent, PeerLimits,
    alarm::Alarm,
    ask::ask,
    door::{Admission, Door, count},
    health::Board,
    limits::Conduct,
    membership::{Action, DialId, Membership, SourceId},
    own::Own,
};
use crate::{
    DialError, Event, EventHub, Events, Incoming, ListenError, OpenError, Presence, PrivateRoom,
    ProtocolTaken, Stream, Transport, rendezvous::LocalMember, toolkit::lock,
};

/// How long a dial may take.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a relay may take to give a reservation.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the manager's tasks share: the state machine, and what carries out what it decides.
pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) scope: Scope,
    pub(super) private: Option<PrivateRoom>,
    pub(super) hub: EventHub<NetworkEvent>,
    pub(super) board: Arc<Board>,
    pub(super) limits: Arc<PeerLimits>,
    /// How many streams each peer has opened.
    pub(super) streams: Mutex<Conduct>,
    membership: Mutex<Membership>,
    tasks: Mutex<Tasks>,
    /// Rings at the membership's next timeout.
    alarm: Alarm,
    /// Of those who wait until the membership is ready.
    ready: Mutex<Vec<Waker>>,
    pub(super) own: Own,
}

#[derive(Default)]
struct Tasks {
    /// Each with its number, which tells it from a later one of the same name.
    running: SortedMap<Job, (u64, Task<()>)>,
    started: u64,
    stopped: bool,
}

/// What a task is there for. As many at the same time as the membership bounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    Ask(SourceId),
    Reserve(SourceId),
    Dial(DialId),
    Timer,
    Events,
    OwnList,
    FanOut,
    Health,
}

impl Shared {
    pub(super) fn new(
        runtime: Runtime,
        transport: Arc<dyn Transport>,
        (scope, private): (Scope, Option<PrivateRoom>),
        limits: Arc<PeerLimits>,
        membership: Membership,
        (presence, listing): (Presence, Option<v1::RoomListing>),
    ) -> Self {
        Self {
            runtime,
            transport,
            scope,
            private,
            hub: EventHub::new(),
            board: Arc::default(),
            streams: Mutex::new(Conduct::of_streams(&limits)),
            limits,
            membership: Mutex::new(membership),
            tasks: Mutex::default(),
            alarm: Alarm::default(),
            ready: Mutex::default(),
            own: Own::new(presence, listing),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.runtime.now().since_start()
    }

    /// Opens a stream to a member.
    pub(super) async fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> Result<Stream, OpenError> {
        let stream = self.transport.open(peer, protocol).await?;
        let stream = match &self.private {
            Some(room) => {
                let ends = (self.transport.local_peer(), peer);
                room.opened(&self.runtime, ends, protocol, stream).await?
            }
            None => stream,
        };
        Ok(count(&self.runtime, &self.board, peer, stream))
    }

    /// Accepts streams of members; in a public room, of everybody.
    pub(super) fn accept(
        self: &Arc<Self>,
        protocol: &'static str,
    ) -> Result<Incoming, ProtocolTaken> {
        Ok(self.admit(protocol, self.transport.accept(protocol)?))
    }

    /// Of the streams that the transport has accepted, those of members; in a public room, all.
    pub(super) fn admit(self: &Arc<Self>, protocol: &'static str, incoming: Incoming) -> Incoming {
        let local = self.transport.local_peer();
        let incoming = match &self.private {
            Some(room) => room.accepted(&self.runtime, local, protocol, incoming),
            None => incoming,
        };
        incoming.through(self.door())
    }

    /// What the streams that come in go through.
    pub(super) fn door(self: &Arc<Self>) -> Door {
        Door(Arc::downgrade(self))
    }

    /// As [`door`](Self::door), without counting the bytes.
    pub(super) fn admission(self: &Arc<Self>) -> Admission {
        Admission(self.door())
    }

    /// A peer has sent more than it may.
    pub(super) fn exceeded(self: &Arc<Self>, peer: PeerId, excess: Excess) {
        tracing::info!(%peer, %excess, "a peer is cut off");
        self.input(|membership, now| membership.cut_off(now, peer, excess.into()));
    }

    /// Does what there is to do where nothing arrives any more.
    pub(super) fn recover(self: &Arc<Self>, silent_for: Duration) {
        self.input(|membership, now| membership.recover(now, silent_for));
        self.own.repeat();
    }

    /// Looks at the membership.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Membership) -> T) -> T {
        look(&lock(&self.membership))
    }

    /// Gives the membership an input and does what follows from it.
    pub(super) fn input<T>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Membership, Duration) -> T,
    ) -> T {
        let (output, ready) = {
            let mut membership = lock(&self.membership);
            let output = input(&mut membership, self.now());
            // Under the lock, so that events have the order of the inputs, and the timer that of the latest.
            while let Some(event) = membership.poll_event() {
                self.hub.send(event);
            }
            self.alarm.set(membership.poll_timeout());
            (output, membership.is_ready())
        };
        if ready {
            let waiting = std::mem::take(&mut *lock(&self.ready));
            waiting.into_iter().for_each(Waker::wake);
        }
        self.act();
        output
    }

    /// Carries out what the membership has decided.
    fn act(self: &Arc<Self>) {
        let (mut keep, mut disconnect) = (Vec::new(), Vec::new());
        {
            // Held all along, so that two who act at the same time keep the order.
            let mut tasks = lock(&self.tasks);
            while let Some(action) = lock(&self.membership).poll_action() {
                match action {
                    Action::Ask { source, address } => {
                        let task = ask(self.clone(), source, address);
                        self.start(&mut tasks, Job::Ask(source), task);
                    }
                    Action::Reserve { source, address } => {
                        let task = self.clone().reserve(source, address);
                        self.start(&mut tasks, Job::Reserve(source), task);
                    }
                    Action::Dial { dial, address } => {
                        let task = self.clone().dial(dial, address);
                        self.start(&mut tasks, Job::Dial(dial), task);
                    }
                    Action::Cancel { dial } => {
                        tasks.running.remove(&Job::Dial(dial));
                    }
                    Action::Keep { peer, keep: wanted } => keep.push((peer, wanted)),
                    Action::Disconnect { peer } => disconnect.push(peer),
                }
            }
        }
        for (peer, keep) in keep {
            self.transport.keep(peer, keep);
        }
        for peer in disconnect {
            self.transport.disconnect(peer);
        }
    }

    fn start(
        self: &Arc<Self>,
        tasks: &mut Tasks,
        job: Job,
        task: impl Future<Output = ()> + MaybeSend + 'static,
    ) {
        if tasks.stopped {
            return;
        }
        tasks.started += 1;
        let number = tasks.started;
        let shared = self.clone();
        let task = self.runtime.spawn(async move {
            task.await;
            shared.ended(job, number);
        });
        tasks.running.insert(job, (number, task));
    }

    /// Starts one of the tasks that run as long as the manager.
    pub(super) fn run(
        self: &Arc<Self>,
        job: Job,
        task: impl Future<Output = ()> + MaybeSend + 'static,
    ) {
        self.start(&mut lock(&self.tasks), job, task);
    }

    fn ended(&self, job: Job, number: u64) {
        let mut tasks = lock(&self.tasks);
        if tasks
            .running
            .get(&job)
            .is_some_and(|(running, _)| *running == number)
        {
            tasks.running.remove(&job);
        }
    }

    /// Ends all tasks and starts no more.
    pub(super) fn stop(&self) {
        let running = {
            let mut tasks = lock(&self.tasks);
            tasks.stopped = true;
            std::mem::take(&mut tasks.running)
        };
        drop(running);
        self.hub.close();
        let waiting = std::mem::take(&mut *lock(&self.ready));
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.tasks).stopped
    }

    async fn dial(self: Arc<Self>, dial: DialId, address: Multiaddr) {
        let answer = self
            .runtime
            .timeout(DIAL_TIMEOUT, self.transport.dial(address.clone()));
        let result = answer.await.unwrap_or(Err(DialError::TimedOut {
            address: address.clone(),
        }));
        match &result {
            Ok(peer) => tracing::debug!(%peer, %address, "dialled"),
            Err(error) => tracing::debug!(%address, %error, "a dial has failed"),
        }
        self.input(|membership, now| membership.dial_done(now, dial, &result));
    }

    async fn reserve(self: Arc<Self>, source: SourceId, address: Multiaddr) {
        let answer = self
            .runtime
            .timeout(RESERVE_TIMEOUT, self.transport.listen(address.clone()));
        let result = answer
            .await
            .unwrap_or(Err(ListenError::TimedOut { address }));
        self.input(|membership, now| membership.reservation(now, source, result));
    }

    /// Tells the membership the time when it wants to know it.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            self.alarm.rings(&self.runtime).await;
            self.input(Membership::handle_timeout);
        }
    }

    /// Tells the membership what happens on the transport.
    pub(super) async fn watch(self: Arc<Self>, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Connected { peer, path } | Event::PathChanged { peer, path } => {
                    self.input(|membership, now| membership.connected(now, peer, path));
                }
                Event::Disconnected { peer } => {
                    self.input(|membership, now| membership.disconnected(now, peer));
                }
                Event::Discovered { peer, address } => {
                    self.input(|membership, now| membership.discovered(now, peer, address));
                }
                Event::Listening { address } => {
                    self.look(|_| self.hub.send(NetworkEvent::Listening { address }));
                    self.addresses_changed();
                }
                Event::ListenerClosed { address } => {
                    self.input(|membership, now| membership.listener_closed(now, &address));
                    self.look(|_| self.hub.send(NetworkEvent::ListenerClosed { address }));
                    self.addresses_changed();
                }
                Event::Lagged { missed } => {
                    tracing::warn!(missed, "the transport is faster than its events are read");
                    let connections = self.transport.connections();
                    let listening = self.transport.listen_addresses();
                    self.input(|membership, now| {
                        membership.resynchronise(now, &connections, &listening);
                    });
                    self.addresses_changed();
                }
            }
        }
    }

    /// Tells the membership who registers at this node.
    pub(super) async fn follow_own_list(self: Arc<Self>, mut list: LocalMember) {
        let mut told = 0;
        loop {
            let change = {
                let news = std::pin::pin!(list.next());
                let own = std::pin::pin!(self.own.changed_after(SourceId::OWN, told));
                match select(news, own).await {
                    Either::Left((news, _)) => Either::Left(news),
                    Either::Right(((), _)) => Either::Right(self.registration()),
                }
            };
            match change {
                Either::Left(None) => return,
                Either::Left(Some(news)) => {
                    let vetted = self.input(|membership, now| {
                        membership.source_members(now, SourceId::OWN, news.members, false)
                    });
                    debug_assert!(vetted.is_ok(), "the directory has vetted it");
                }
                Either::Right((registration, version)) => {
                    told = version;
                    if let Err(error) = list.update(registration) {
                        tracing::warn!(%error, "this node's own presence does not fit into its list");
                    }
                }
            }
        }
    }

    /// What this node says about itself and its room as it leaves this node, and which version of it that is.
    pub(super) fn registration(&self) -> (v1::RendezvousRegister, u64) {
        let (presence, listing, version) = self.own.latest();
        let presence = match &self.private {
            Some(room) => room.seal_presence(&self.runtime, &presence),
            None => presence,
        };
        let register = v1::RendezvousRegister {
            scope: self.scope.to_bytes(),
            presence: Some(presence.to_wire(v1::PresenceState::Joined)),
            listing,
        };
        (register, version)
    }

    pub(super) fn addresses_changed(self: &Arc<Self>) {
        let addresses = self.transport.listen_addresses();
        let reachable = !addresses.is_empty();
        self.input(|membership, _now| membership.set_reachable(reachable));
        self.own
            .change_presence(|presence| presence.addresses = addresses);
    }

    /// Waits until the membership is ready, or the manager is stopped.
    pub(super) async fn ready(&self) {
        poll_fn(|cx| {
            // First the waker, so that no change in between is missed.
            let mut waiting = lock(&self.ready);
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            drop(waiting);
            if self.look(Membership::is_ready) || self.is_stopped() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}
