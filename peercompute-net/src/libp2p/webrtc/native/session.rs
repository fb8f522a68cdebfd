//! One connection: ICE, DTLS, SCTP and the two channels, without sockets and clocks. Pure, around str0m.
//!
//! After each `handle_*` and each write, [`Session::poll`] is to be called until it gives [`Step::Wait`] or [`Step::Over`].

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::Bytes;
use str0m::{
    Candidate as IceCandidate, CandidateKind, Event, IceConnectionState, IceCreds, Input, Output,
    Rtc, RtcConfig,
    channel::{ChannelConfig, ChannelData, ChannelId, Reliability},
    config::Fingerprint,
    net::{DatagramSend, Protocol, Receive},
};

use super::super::{
    channel::{MAX_INCOMING_MESSAGE, MAX_MESSAGE},
    datagrams::MAX_PACKET,
    description::{Candidate, Description, Host, InvalidDescription, Role},
};

/// Bytes that wait to be acknowledged before the writer waits, and before datagrams are dropped.
const MAX_BUFFERED: usize = 256 * 1024;
const MAX_BUFFERED_DATAGRAMS: usize = 32 * 1024;

/// What both channels may hold together: what is below the bounds before the last message, and that message.
const MAX_BUFFERED_TOGETHER: usize =
    MAX_BUFFERED + MAX_MESSAGE + MAX_BUFFERED_DATAGRAMS + MAX_PACKET;

/// Places from which checks of the path are taken, at most.
const MAX_SOURCES: usize = 64;

/// The numbers of the two channels.
const BYTES: u16 = 0;
const DATAGRAMS: u16 = 1;

pub(super) struct Session {
    rtc: Rtc,
    role: Role,
    bytes: ChannelId,
    datagrams: ChannelId,
    local: Vec<Candidate>,
    has_path: bool,
    /// Where checks of the path have come from.
    sources: BTreeSet<SocketAddr>,
    /// Why it is over, as soon as it is.
    over: Option<String>,
}

/// What is to be done next.
pub(super) enum Step {
    Transmit(Packet),
    /// The peer has written this into the channel of bytes.
    Message(Bytes),
    /// The peer has sent this as a datagram.
    Datagram(Bytes),
    /// Nothing until then.
    Wait(Instant),
    /// Nothing any more, for this reason.
    Over(String),
}

/// A packet that is to be sent.
pub(super) struct Packet {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) data: DatagramSend,
}

impl Session {
    /// The end of a connection that has sockets at these addresses.
    pub(super) fn new(role: Role, addresses: &[SocketAddr], now: Instant) -> Self {
        let config = RtcConfig::new()
            .clear_codecs()
            .set_sctp_max_buffered_amount(MAX_BUFFERED_TOGETHER);
        let mut rtc = config.build(now);
        let hosts = addresses.iter().filter_map(|address| {
            let candidate = IceCandidate::host(*address, Protocol::Udp).ok()?;
            let priority = rtc.add_local_candidate(candidate)?.prio();
            Some(Candidate {
                host: Host::Ip(address.ip()),
                port: address.port(),
                priority,
                is_reflexive: false,
            })
        });
        let local = hosts.collect();
        let mut api = rtc.direct_api();
        api.set_ice_controlling(role == Role::Offer);
        let bytes = api.create_data_channel(ChannelConfig {
            label: "bytes".to_owned(),
            negotiated: Some(BYTES),
            ..ChannelConfig::default()
        });
        let datagrams = api.create_data_channel(ChannelConfig {
            label: "datagrams".to_owned(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            negotiated: Some(DATAGRAMS),
            ..ChannelConfig::default()
        });
        Self {
            rtc,
            role,
            bytes,
            datagrams,
            local,
            has_path: false,
            sources: BTreeSet::new(),
            over: None,
        }
    }

    /// What the peer is to be told. Others see this end at `outside`, too, each with the port of a socket here.
    pub(super) fn describe(
        &mut self,
        outside: &[IpAddr],
    ) -> Result<Description, InvalidDescription> {
        let api = self.rtc.direct_api();
        let IceCreds { ufrag, pass } = api.local_ice_credentials();
        let fingerprint = &api.local_dtls_fingerprint().bytes;
        let fingerprint =
            fingerprint
                .as_slice()
                .try_into()
                .map_err(|_| InvalidDescription::Ice {
                    field: "fingerprint",
                })?;
        let mut candidates = self.local.clone();
        for ip in outside {
            let seen = |it: &&Candidate| matches!(it.host, Host::Ip(host) if host.is_ipv4() == ip.is_ipv4());
            let reflexive = self.local.iter().filter(seen).map(|it| Candidate {
                host: Host::Ip(*ip),
                // That of ICE for such candidates, below every host's.
                priority: it.priority & REFLEXIVE_PRIORITY,
                is_reflexive: true,
                ..it.clone()
            });
            candidates.extend(reflexive);
        }
        Ok(Description {
            ufrag,
            password: pass,
            fingerprint,
            candidates,
        })
    }

    /// What the peer has told. To be called once.
    pub(super) fn set_remote(&mut self, remote: &Description) -> Result<(), str0m::RtcError> {
        for (foundation, candidate) in (1..).zip(&remote.candidates) {
            // A name is known to browsers only; their checks arrive here all the same, and tell where they come from.
            if let Host::Ip(ip) = candidate.host
                && may_be_sent_to(ip)
            {
                let kind = if candidate.is_reflexive {
                    CandidateKind::ServerReflexive
                } else {
                    CandidateKind::Host
                };
                self.rtc.add_remote_candidate(IceCandidate::from_parts(
                    u32::to_string(&foundation),
                    1,
                    Protocol::Udp,
                    candidate.priority,
                    SocketAddr::new(ip, candidate.port),
                    kind,
                    None,
                    None,
                    None,
                ));
            }
        }
        let is_active = self.role == Role::Answer;
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: remote.ufrag.clone(),
            pass: remote.password.clone(),
        });
        api.set_remote_fingerprint(Fingerprint {
            hash_func: "sha-256".to_owned(),
            bytes: remote.fingerprint.to_vec(),
        });
        api.start_dtls(is_active)?;
        api.start_sctp(is_active);
        Ok(())
    }

    /// A packet has come to the socket at `to`. What is none of this connection's is left out.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        packet: &[u8],
    ) {
        let Ok(received) = Receive::new(Protocol::Udp, from, to, packet) else {
            return;
        };
        let input = Input::Receive(now, received);
        if !self.rtc.accepts(&input) || !self.knows(from, packet) {
            return;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            // Whoever writes a wrong sender on a packet can do this.
            tracing::trace!(%from, %error, "a packet was left out");
        }
    }

    /// Whether a packet comes from where the peer may be. ICE remembers each place from which a check comes, so that these are counted.
    fn knows(&mut self, from: SocketAddr, packet: &[u8]) -> bool {
        // The first byte of STUN is below that of anything else here.
        let is_check = packet.first().is_some_and(|first| *first < 4);
        let is_known = !is_check || self.sources.contains(&from);
        is_known || (self.sources.len() < MAX_SOURCES && self.sources.insert(from))
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.end(error.to_string());
        }
    }

    pub(super) fn poll(&mut self) -> Step {
        loop {
            let output = match self.rtc.poll_output() {
                Ok(output) => output,
                Err(error) => {
                    self.end(error.to_string());
                    self.rtc.disconnect();
                    continue;
                }
            };
            match output {
                Output::Transmit(packet) => {
                    return Step::Transmit(Packet {
                        from: packet.source,
                        to: packet.destination,
                        data: packet.contents,
                    });
                }
                Output::Timeout(until) => {
                    return match &self.over {
                        Some(reason) => Step::Over(reason.clone()),
                        None if !self.rtc.is_alive() => Step::Over("it was closed".to_owned()),
                        None => Step::Wait(until),
                    };
                }
                Output::Event(event) => {
                    if let Some(step) = self.handle_event(event) {
                        return step;
                    }
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Step> {
        match event {
            Event::IceConnectionStateChange(state) => {
                self.has_path |= state.is_connected();
                if self.has_path && state == IceConnectionState::Disconnected {
                    self.end("the peer is no longer reached".to_owned());
                }
            }
            Event::ChannelData(data) => return self.handle_data(data),
            Event::ChannelOpen(id, _) if id != self.bytes && id != self.datagrams => {
                self.end("the peer opened a channel that was not agreed upon".to_owned());
            }
            Event::ChannelClose(_) | Event::Closed => {
                self.end("the peer closed it".to_owned());
            }
            _ => {}
        }
        None
    }

    fn handle_data(&mut self, ChannelData { id, binary, data }: ChannelData) -> Option<Step> {
        if id == self.bytes {
            if binary && data.len() <= MAX_INCOMING_MESSAGE {
                return Some(Step::Message(data.into()));
            }
            let size = data.len();
            self.end(format!(
                "the peer sent a text, or {size} bytes at once, which are more than {MAX_INCOMING_MESSAGE}"
            ));
        } else if id == self.datagrams && binary {
            return Some(Step::Datagram(data.into()));
        }
        None
    }

    fn end(&mut self, reason: String) {
        self.over.get_or_insert(reason);
    }

    /// Whether packets reach the peer, or did once.
    pub(super) fn has_path(&self) -> bool {
        self.has_path
    }

    /// Whether both channels are open.
    pub(super) fn is_open(&mut self) -> bool {
        let [bytes, datagrams] = [self.bytes, self.datagrams];
        self.rtc.channel(bytes).is_some() && self.rtc.channel(datagrams).is_some()
    }

    /// Bytes that are not acknowledged yet.
    pub(super) fn unacknowledged(&mut self) -> usize {
        let channel = self.rtc.channel(self.bytes);
        channel.map_or(0, |mut channel| channel.buffered_amount())
    }

    /// Whether a message may be written.
    pub(super) fn has_room(&mut self) -> bool {
        self.unacknowledged() < MAX_BUFFERED
    }

    /// Writes into the channel of bytes, if there [is room](Self::has_room).
    pub(super) fn write(&mut self, now: Instant, message: &[u8]) {
        self.handle_timeout(now);
        let written = match self.rtc.channel(self.bytes) {
            Some(mut channel) => channel.write(true, message),
            None => Ok(false),
        };
        match written {
            Ok(true) => {}
            Ok(false) => self.end("a message was not taken".to_owned()),
            Err(error) => self.end(error.to_string()),
        }
    }

    /// Sends a datagram, or drops it where too many wait.
    pub(super) fn write_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.handle_timeout(now);
        if let Some(mut channel) = self.rtc.channel(self.datagrams)
            && channel.buffered_amount() < MAX_BUFFERED_DATAGRAMS
        {
            // What cannot be sent is lost.
            let _ = channel.write(true, datagram);
        }
    }

    /// Tells the peer that this is the end.
    pub(super) fn close(&mut self) {
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
    }
}

/// The kind of a candidate is in the highest eight bits: 126 for hosts, 100 for what servers see.
const REFLEXIVE_PRIORITY: u32 = (100 << 24) | 0x00ff_ffff;

/// Whether an address that a peer names is one of a single machine, and says which without more.
fn may_be_sent_to(ip: IpAddr) -> bool {
    let is_bound_to_a_link = |ip: std::net::Ipv6Addr| ip.is_unicast_link_local();
    let is_ambiguous = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => is_bound_to_a_link(ip) || ip.to_ipv4_mapped().is_some(),
    };
    !is_ambiguous && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests;
