//! Datagrams over WebRTC: who can be sent some, and who receives them here.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, Weak},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::channel::mpsc;
use peercompute_map::SortedMap;

use crate::{
    BroadcastMessage, DatagramError, Datagrams, MAX_DATAGRAM, MessageSender, Messages, PeerId,
    error::ProtocolTaken, message_queue, toolkit::lock,
};

/// Datagrams that wait to be sent to one peer, at most. Further ones are dropped.
const OUTGOING_QUEUE: usize = 16;

/// Datagrams of one protocol that wait to be taken, at most. For one more the oldest is dropped.
const INCOMING_QUEUE: usize = 256;

/// What says in a datagram which protocol's it is, in front of the rest: the first bytes of the name's BLAKE3.
type Tag = [u8; TAG];
const TAG: usize = 4;

/// The longest datagram on the wire, in bytes.
pub(super) const MAX_PACKET: usize = MAX_DATAGRAM + TAG;

#[derive(Default)]
pub(in crate::libp2p) struct DatagramHub {
    /// One for each connection over WebRTC; the newest of a peer is used.
    ways: Mutex<HashMap<PeerId, Vec<Packets>>>,
    /// One for each protocol of this program.
    receivers: Mutex<SortedMap<Tag, MessageSender>>,
    next: Mutex<u64>,
}

/// Where datagrams to a peer go, and the number of the way.
type Packets = (u64, mpsc::Sender<Bytes>);

/// A way to send datagrams to a peer, for as long as it lives.
pub(super) struct Way {
    hub: Arc<DatagramHub>,
    peer: PeerId,
    id: u64,
}

impl DatagramHub {
    /// Datagrams to `peer` come out of what is returned, until the way is dropped.
    pub(super) fn open(self: &Arc<Self>, peer: PeerId) -> (Way, mpsc::Receiver<Bytes>) {
        let (sender, packets) = mpsc::channel(OUTGOING_QUEUE - 1);
        let id = {
            let mut next = lock(&self.next);
            *next += 1;
            *next
        };
        lock(&self.ways).entry(peer).or_default().push((id, sender));
        let way = Way {
            hub: self.clone(),
            peer,
            id,
        };
        (way, packets)
    }

    /// A packet has come from `peer`.
    pub(super) fn deliver(&self, peer: PeerId, mut packet: Bytes) {
        let Some((tag, _)) = packet.split_first_chunk() else {
            return;
        };
        if packet.len() > MAX_PACKET {
            return;
        }
        if let Some(receiver) = lock(&self.receivers).get(tag) {
            let data = packet.split_off(TAG);
            receiver.send(BroadcastMessage::new(peer, data));
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let mut ways = lock(&self.hub.ways);
        if let Entry::Occupied(mut entry) = ways.entry(self.peer) {
            entry.get_mut().retain(|(id, _)| *id != self.id);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

fn tag(protocol: &str) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&blake3::hash(protocol.as_bytes()).as_bytes()[..TAG]);
    tag
}

/// What the transport gives out.
pub(in crate::libp2p) struct WebrtcDatagrams(pub(in crate::libp2p) Arc<DatagramHub>);

impl Datagrams for WebrtcDatagrams {
    fn accept(&self, protocol: &'static str) -> Result<Messages, ProtocolTaken> {
        let tag = tag(protocol);
        let mut receivers = lock(&self.0.receivers);
        if receivers.contains_key(&tag) {
            return Err(ProtocolTaken::new(protocol));
        }
        let (sender, messages) = message_queue(INCOMING_QUEUE);
        receivers.insert(tag, sender);
        let registration = Registration {
            hub: Arc::downgrade(&self.0),
            tag,
        };
        Ok(messages.keep(registration))
    }

    fn reaches(&self, peer: PeerId) -> bool {
        lock(&self.0.ways).contains_key(&peer)
    }

    fn send(&self, peer: PeerId, protocol: &'static str, data: &[u8]) -> Result<(), DatagramError> {
        if data.len() > MAX_DATAGRAM {
            let size = data.len();
            return Err(DatagramError::TooLarge { size });
        }
        let mut ways = lock(&self.0.ways);
        let Some((_, way)) = ways.get_mut(&peer).and_then(|ways| ways.last_mut()) else {
            return Err(DatagramError::NoWay { peer });
        };
        let mut packet = BytesMut::with_capacity(TAG + data.len());
        packet.put_slice(&tag(protocol));
        packet.put_slice(data);
        way.try_send(packet.freeze())
            .map_err(|_| DatagramError::Full { peer })
    }
}

/// Ends the receipt when it is dropped.
struct Registration {
    hub: Weak<DatagramHub>,
    tag: Tag,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            lock(&hub.receivers).remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    const SNAPSHOTS: &str = "/test/snapshots/1";

    #[test]
    fn a_datagram_reaches_those_who_accept_its_protocol_and_nobody_else() {
        let (here, there) = (Arc::<DatagramHub>::default(), Arc::<DatagramHub>::default());
        let (us, them) = (PeerId::random(), PeerId::random());
        let (_way, mut packets) = here.open(them);
        let sender = WebrtcDatagrams(here);
        let receiver = WebrtcDatagrams(there.clone());
        let mut snapshots = receiver.accept(SNAPSHOTS).unwrap();
        assert!(receiver.accept(SNAPSHOTS).is_err());
        let mut others = receiver.accept("/test/others/1").unwrap();
        sender.send(them, SNAPSHOTS, b"state").unwrap();
        let packet = packets.next().now_or_never().flatten().unwrap();
        there.deliver(us, packet);
        let message = snapshots.next().now_or_never().flatten().unwrap();
        assert_eq!((message.from, &message.data[..]), (us, &b"state"[..]));
        assert!(others.next().now_or_never().is_none());
        drop(snapshots);
        assert!(receiver.accept(SNAPSHOTS).is_ok());
    }

    #[test]
    fn nothing_waits_without_bound_and_nothing_short_or_long_is_taken() {
        let hub = Arc::<DatagramHub>::default();
        let datagrams = WebrtcDatagrams(hub.clone());
        let peer = PeerId::random();
        assert!(!datagrams.reaches(peer));
        assert_eq!(
            datagrams.send(peer, SNAPSHOTS, b""),
            Err(DatagramError::NoWay { peer })
        );
        let (way, _packets) = hub.open(peer);
        let sent = (0..1000).take_while(|_| datagrams.send(peer, SNAPSHOTS, b"").is_ok());
        assert_eq!(sent.count(), OUTGOING_QUEUE);
        let long = vec![0; MAX_DATAGRAM + 1];
        let size = long.len();
        assert_eq!(
            datagrams.send(peer, SNAPSHOTS, &long),
            Err(DatagramError::TooLarge { size })
        );
        drop(way);
        assert!(!datagrams.reaches(peer));
        let mut received = datagrams.accept(SNAPSHOTS).unwrap();
        for size in [0, TAG - 1, MAX_PACKET + 1] {
            hub.deliver(
                peer,
                [&tag(SNAPSHOTS)[..], &vec![0; size]].concat()[..size]
                    .to_vec()
                    .into(),
            );
        }
        assert!(received.next().now_or_never().is_none());
    }

    #[test]
    fn of_several_ways_the_newest_that_is_left_is_used() {
        let hub = Arc::<DatagramHub>::default();
        let datagrams = WebrtcDatagrams(hub.clone());
        let peer = PeerId::random();
        let (oldest, _packets) = hub.open(peer);
        let (_older, mut packets) = hub.open(peer);
        let (newest, mut newest_packets) = hub.open(peer);
        drop(oldest);
        datagrams.send(peer, SNAPSHOTS, b"").unwrap();
        assert!(newest_packets.next().now_or_never().is_some());
        drop(newest);
        datagrams.send(peer, SNAPSHOTS, b"").unwrap();
        assert!(packets.next().now_or_never().is_some());
    }
}
