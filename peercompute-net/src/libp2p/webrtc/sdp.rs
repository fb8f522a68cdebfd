//! A [`Description`] as a browser takes and gives it. Pure.

use std::fmt::Write as _;

use peercompute_proto::limits::MAX_ICE_CANDIDATES;

use super::{
    channel::MAX_INCOMING_MESSAGE,
    description::{Candidate, Description, Host, InvalidDescription, Role},
};

impl Description {
    /// As SDP, for a browser that is at the other end.
    pub(super) fn to_sdp(&self, role: Role) -> String {
        let setup = match role {
            Role::Offer => "actpass",
            Role::Answer => "active",
        };
        let fingerprint: Vec<_> = self
            .fingerprint
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let mut sdp = format!(
            "v=0\r\n\
             o=- 1 1 IN IP4 127.0.0.1\r\n\
             s=-\r\n\
             t=0 0\r\n\
             a=group:BUNDLE 0\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
             c=IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{}\r\n\
             a=ice-pwd:{}\r\n\
             a=fingerprint:sha-256 {}\r\n\
             a=setup:{setup}\r\n\
             a=mid:0\r\n\
             a=sctp-port:5000\r\n\
             a=max-message-size:{}\r\n",
            self.ufrag,
            self.password,
            fingerprint.join(":"),
            MAX_INCOMING_MESSAGE,
        );
        for (foundation, candidate) in (1..).zip(&self.candidates) {
            let Candidate {
                host,
                port,
                priority,
                is_reflexive,
            } = candidate;
            let kind = if *is_reflexive {
                // Where it comes from is nobody's business, and nobody looks.
                "srflx raddr 0.0.0.0 rport 0"
            } else {
                "host"
            };
            // Writing into a string does not fail.
            let _ = write!(
                sdp,
                "a=candidate:{foundation} 1 udp {priority} {host} {port} typ {kind}\r\n"
            );
        }
        sdp
    }

    /// What a browser says of itself.
    pub(super) fn from_sdp(sdp: &str) -> Result<Self, InvalidDescription> {
        let missing = |field| InvalidDescription::Sdp { field };
        let value = |name| sdp.lines().find_map(|line| line.strip_prefix(name));
        let ufrag = value("a=ice-ufrag:")
            .ok_or(missing("ice-ufrag"))?
            .to_owned();
        let password = value("a=ice-pwd:").ok_or(missing("ice-pwd"))?.to_owned();
        let fingerprint = value("a=fingerprint:sha-256 ").and_then(parse_fingerprint);
        let candidates = sdp.lines().filter_map(parse_candidate);
        Ok(Self {
            ufrag,
            password,
            fingerprint: fingerprint.ok_or(missing("fingerprint of SHA-256"))?,
            candidates: candidates.take(MAX_ICE_CANDIDATES).collect(),
        })
    }
}

fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let bytes: Result<Vec<u8>, _> = text
        .trim_end()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    bytes.ok()?.try_into().ok()
}

/// A line such as `a=candidate:1 1 udp 2113937151 192.0.2.2 35612 typ host generation 0`.
fn parse_candidate(line: &str) -> Option<Candidate> {
    let mut words = line.strip_prefix("a=candidate:")?.split_ascii_whitespace();
    let (_foundation, component, protocol) = (words.next()?, words.next()?, words.next()?);
    let priority = words.next()?.parse().ok()?;
    let host = Host::parse(words.next()?)?;
    let port = words.next()?.parse().ok().filter(|port| *port > 0)?;
    let (typ, kind) = (words.next()?, words.next()?);
    let is_ours = component == "1" && protocol.eq_ignore_ascii_case("udp") && typ == "typ";
    let is_reflexive = match kind {
        "host" => false,
        "srflx" => true,
        _ => return None,
    };
    is_ours.then_some(Candidate {
        host,
        port,
        priority,
        is_reflexive,
    })
}
