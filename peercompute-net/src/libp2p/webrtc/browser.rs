//! The browser's WebRTC.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, channel::mpsc, task::AtomicWaker};
use js_sys::{Array, ArrayBuffer, Reflect, Uint8Array};
use peercompute_rt::Runtime;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Event, MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState,
    RtcDataChannelType, RtcIceGatheringState, RtcIceServer, RtcPeerConnection,
    RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use super::{
    agent::Tools,
    channel::{ByteChannel, Carried, MAX_BACKLOG, MAX_INCOMING_MESSAGE, byte_channel},
    datagrams::{DatagramHub, Way},
    description::{Description, Role},
    failure::Failure,
};
use crate::PeerId;

/// How long the browser may look for its own addresses; what it has found by then is sent.
const GATHERING_LIMIT: Duration = Duration::from_secs(2);

/// Bytes that wait in the browser before the writer waits, and before datagrams are dropped.
const MAX_BUFFERED: u32 = 256 * 1024;
const MAX_BUFFERED_DATAGRAMS: u32 = 32 * 1024;

/// How long what was written last may take before the connection is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// The numbers of the two channels.
const BYTES: u16 = 0;
const DATAGRAMS: u16 = 1;

pub(super) fn is_supported() -> bool {
    // Workers have none.
    Reflect::has(&js_sys::global(), &"RTCPeerConnection".into()).unwrap_or(false)
}

/// A connection that is being made.
pub(super) struct Attempt {
    link: Link,
    channel: ByteChannel,
    carried: Carried,
    hub: Arc<DatagramHub>,
    peer: PeerId,
}

/// The browser's objects, which end with it.
struct Link {
    connection: RtcPeerConnection,
    bytes: RtcDataChannel,
    datagrams: RtcDataChannel,
    /// Something about them is another than before.
    changed: Rc<AtomicWaker>,
    backlog: Rc<Backlog>,
    _hooks: Hooks,
}

/// What has come and was not handed over yet.
#[derive(Default)]
struct Backlog {
    messages: RefCell<VecDeque<Bytes>>,
    size: Cell<usize>,
}

impl Backlog {
    /// Whether there is room for it.
    fn push(&self, message: Bytes) -> bool {
        let size = self.size.get() + message.len();
        let has_room = size <= MAX_BACKLOG;
        if has_room {
            self.size.set(size);
            self.messages.borrow_mut().push_back(message);
        }
        has_room
    }

    /// Gives the reader what it has a place for. Ready when nothing is left.
    fn poll_hand_over(&self, cx: &mut Context<'_>, to: &mut mpsc::Sender<Bytes>) -> Poll<()> {
        let mut messages = self.messages.borrow_mut();
        while !messages.is_empty() {
            let place = ready!(to.poll_ready(cx));
            if let Some(message) = messages.pop_front() {
                self.size.set(self.size.get() - message.len());
                // Where nobody reads any more, the end comes on the other way.
                let _ = place.and_then(|()| to.start_send(message));
            }
        }
        Poll::Ready(())
    }
}

struct Hooks {
    _changed: Closure<dyn FnMut(Event)>,
    _bytes: Closure<dyn FnMut(MessageEvent)>,
    _datagram: Closure<dyn FnMut(MessageEvent)>,
}

impl Attempt {
    /// Begins a connection, and gives what the peer is to be told.
    pub(super) async fn offer(tools: &Tools, peer: PeerId) -> Result<(Self, Description), Failure> {
        let attempt = Self::begin(tools, peer)?;
        let description = attempt.describe(&tools.runtime).await?;
        Ok((attempt, description))
    }

    /// Takes up an offer, and gives what the peer is to be told.
    pub(super) async fn answer(
        tools: &Tools,
        peer: PeerId,
        offer: &Description,
    ) -> Result<(Self, Description), Failure> {
        let attempt = Self::begin(tools, peer)?;
        attempt.set_remote(offer, Role::Offer).await?;
        let description = attempt.describe(&tools.runtime).await?;
        Ok((attempt, description))
    }

    /// The peer has answered.
    pub(super) async fn accept(&mut self, answer: &Description) -> Result<(), Failure> {
        self.set_remote(answer, Role::Answer).await
    }

    /// Waits until both channels are open. What carries them runs from then on.
    pub(super) async fn open(self, runtime: &Runtime) -> Result<ByteChannel, Failure> {
        let link = &self.link;
        let is_open = |channel: &RtcDataChannel| channel.ready_state() == RtcDataChannelState::Open;
        link.wait(|| {
            if is_open(&link.bytes) && is_open(&link.datagrams) {
                Some(Ok(()))
            } else {
                link.is_over().then_some(Err(Failure::NoPath))
            }
        })
        .await?;
        let way = self.hub.open(self.peer);
        let carry = self.link.carry(runtime.clone(), self.carried, way);
        runtime.spawn(carry).detach();
        Ok(self.channel)
    }

    fn begin(tools: &Tools, peer: PeerId) -> Result<Self, Failure> {
        let (channel, carried) = byte_channel();
        let link = Link::new(&tools.ice_servers, tools.datagrams.clone(), peer)
            .map_err(|thrown| failed("making a connection", &thrown))?;
        Ok(Self {
            link,
            channel,
            carried,
            hub: tools.datagrams.clone(),
            peer,
        })
    }

    /// Has the browser describe itself, with its addresses.
    async fn describe(&self, runtime: &Runtime) -> Result<Description, Failure> {
        let connection = &self.link.connection;
        let described = async {
            // Without an argument it is an offer or an answer, whichever is due.
            let set: js_sys::Function =
                Reflect::get(connection, &"setLocalDescription".into())?.dyn_into()?;
            JsFuture::from(set.call0(connection)?.unchecked_into::<js_sys::Promise>()).await
        };
        described
            .await
            .map_err(|thrown| failed("describing this end", &thrown))?;
        let gathered = self.link.wait(|| {
            let state = connection.ice_gathering_state();
            (state == RtcIceGatheringState::Complete).then_some(())
        });
        // What there is then is enough, often.
        let _ = runtime.timeout(GATHERING_LIMIT, gathered).await;
        let sdp = connection.local_description().map(|it| it.sdp());
        Ok(Description::from_sdp(&sdp.unwrap_or_default())?)
    }

    async fn set_remote(&self, description: &Description, role: Role) -> Result<(), Failure> {
        let kind = match role {
            Role::Offer => RtcSdpType::Offer,
            Role::Answer => RtcSdpType::Answer,
        };
        let remote = RtcSessionDescriptionInit::new(kind);
        remote.set_sdp(&description.to_sdp(role));
        JsFuture::from(self.link.connection.set_remote_description(&remote))
            .await
            .map_err(|thrown| failed("taking the peer's description", &thrown))?;
        Ok(())
    }
}

impl Link {
    fn new(ice_servers: &[String], hub: Arc<DatagramHub>, peer: PeerId) -> Result<Self, JsValue> {
        let configuration = RtcConfiguration::new();
        let servers = ice_servers.iter().map(|url| {
            let server = RtcIceServer::new();
            server.set_urls(&url.into());
            server
        });
        configuration.set_ice_servers(&servers.collect::<Array>());
        let connection = RtcPeerConnection::new_with_configuration(&configuration)?;
        let bytes = agreed_channel(&connection, "bytes", BYTES, |_| {});
        let datagrams = agreed_channel(&connection, "datagrams", DATAGRAMS, |init| {
            init.set_ordered(false);
            init.set_max_retransmits(0);
        });
        bytes.set_buffered_amount_low_threshold(MAX_BUFFERED / 2);

        let changed = Rc::<AtomicWaker>::default();
        let on_change = Closure::<dyn FnMut(Event)>::new({
            let changed = changed.clone();
            move |_| changed.wake()
        });
        let changes = on_change.as_ref().unchecked_ref();
        connection.set_onconnectionstatechange(Some(changes));
        connection.set_onicegatheringstatechange(Some(changes));
        for channel in [&bytes, &datagrams] {
            channel.set_onopen(Some(changes));
            channel.set_onclose(Some(changes));
        }
        bytes.set_onbufferedamountlow(Some(changes));

        let backlog = Rc::<Backlog>::default();
        let on_bytes = Closure::<dyn FnMut(MessageEvent)>::new({
            let (flooded, backlog, changed) = (bytes.clone(), backlog.clone(), changed.clone());
            move |event: MessageEvent| {
                if message(&event).is_some_and(|it| backlog.push(it)) {
                    changed.wake();
                } else {
                    // A message that is none, is too long, or is one too many. The end of the channel ends all.
                    flooded.close();
                }
            }
        });
        bytes.set_onmessage(Some(on_bytes.as_ref().unchecked_ref()));
        let on_datagram = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(packet) = message(&event) {
                hub.deliver(peer, packet);
            }
        });
        datagrams.set_onmessage(Some(on_datagram.as_ref().unchecked_ref()));
        Ok(Self {
            connection,
            bytes,
            datagrams,
            changed,
            backlog,
            _hooks: Hooks {
                _changed: on_change,
                _bytes: on_bytes,
                _datagram: on_datagram,
            },
        })
    }

    /// Whether nothing will come of it any more.
    fn is_over(&self) -> bool {
        let is_closed = |channel: &RtcDataChannel| {
            matches!(
                channel.ready_state(),
                RtcDataChannelState::Closing | RtcDataChannelState::Closed
            )
        };
        let state = self.connection.connection_state();
        let has_failed =
            state == RtcPeerConnectionState::Failed || state == RtcPeerConnectionState::Closed;
        has_failed || is_closed(&self.bytes)
    }

    /// Waits until `look` gives something; it is asked again at each change.
    async fn wait<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        std::future::poll_fn(|cx| {
            self.changed.register(cx.waker());
            look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Carries both channels until either end has gone.
    async fn carry(
        self,
        runtime: Runtime,
        carried: Carried,
        (way, mut packets): (Way, mpsc::Receiver<Bytes>),
    ) {
        let Carried {
            mut incoming,
            mut outgoing,
            mut gone,
        } = carried;
        loop {
            let next = std::future::poll_fn(|cx| {
                self.changed.register(cx.waker());
                let _ = self.backlog.poll_hand_over(cx, &mut incoming);
                if self.is_over() {
                    return Poll::Ready(Next::Over);
                }
                if let Poll::Ready(Some(packet)) = packets.poll_next_unpin(cx) {
                    return Poll::Ready(Next::Packet(packet));
                }
                // However much waits, what is left then is a few messages.
                let is_last = gone.poll_unpin(cx).is_ready();
                if self.bytes.buffered_amount() >= MAX_BUFFERED && !is_last {
                    return Poll::Pending;
                }
                let message = outgoing.poll_next_unpin(cx);
                message.map(|message| message.map_or(Next::End, Next::Message))
            });
            match next.await {
                Next::Message(message) => {
                    if self.bytes.send_with_u8_array(&message).is_err() {
                        break;
                    }
                }
                Next::Packet(packet) => {
                    if self.datagrams.buffered_amount() < MAX_BUFFERED_DATAGRAMS {
                        // What cannot be sent is lost.
                        let _ = self.datagrams.send_with_u8_array(&packet);
                    }
                }
                Next::End => {
                    self.bytes.set_buffered_amount_low_threshold(0);
                    let sent = self.wait(|| {
                        let is_sent = self.bytes.buffered_amount() == 0;
                        (is_sent || self.is_over()).then_some(())
                    });
                    // What is not sent by then is not read either.
                    let _ = runtime.timeout(FAREWELL, sent).await;
                    break;
                }
                Next::Over => break,
            }
        }
        drop(way);
        // What the peer takes for received is to be read.
        let handing_over =
            std::future::poll_fn(|cx| self.backlog.poll_hand_over(cx, &mut incoming));
        let _ = runtime.timeout(FAREWELL, handing_over).await;
    }
}

/// What is to be done next.
enum Next {
    Message(Bytes),
    Packet(Bytes),
    /// Nothing is written any more.
    End,
    /// The connection has ended.
    Over,
}

/// A channel that both ends make, by its number.
fn agreed_channel(
    connection: &RtcPeerConnection,
    name: &str,
    number: u16,
    settle: impl FnOnce(&RtcDataChannelInit),
) -> RtcDataChannel {
    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(number);
    settle(&init);
    let channel = connection.create_data_channel_with_data_channel_dict(name, &init);
    channel.set_binary_type(RtcDataChannelType::Arraybuffer);
    channel
}

/// The bytes of a message; nothing if it is a text, or too long.
fn message(event: &MessageEvent) -> Option<Bytes> {
    let buffer: ArrayBuffer = event.data().dyn_into().ok()?;
    let is_short = buffer.byte_length() as usize <= MAX_INCOMING_MESSAGE;
    is_short.then(|| Uint8Array::new(&buffer).to_vec().into())
}

fn failed(what: &'static str, thrown: &JsValue) -> Failure {
    let message = Reflect::get(thrown, &"message".into()).ok();
    let message = message.and_then(|it| it.as_string());
    Failure::Engine {
        what,
        reason: message.unwrap_or_else(|| format!("{thrown:?}")),
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.set_onconnectionstatechange(None);
        self.connection.set_onicegatheringstatechange(None);
        for channel in [&self.bytes, &self.datagrams] {
            channel.set_onopen(None);
            channel.set_onclose(None);
            channel.set_onmessage(None);
            channel.set_onbufferedamountlow(None);
        }
        self.connection.close();
    }
}
