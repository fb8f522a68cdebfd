//! Why no other node takes part: what became of the relays and nodes that were named. Pure.

use std::time::Duration;

use peercompute_net::{Multiaddr, NetworkEvent, PeerInfo, RendezvousError};

use crate::{cli::MeetArgs, output, password};

/// Peers that are named one by one; further ones are counted.
const NAMED: usize = 5;

/// Follows the search for nodes.
#[derive(Debug)]
pub(super) struct Search {
    room: String,
    /// What to check where nobody is in it.
    check: &'static str,
    patience: Duration,
    lan: bool,
    sources: Vec<(Multiaddr, Standing)>,
}

/// What is known of a relay or a node that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Asked,
    /// It has given its list of the room.
    Listed,
    Lost(String),
}

impl Search {
    pub(super) fn new(meet: &MeetArgs, patience: Duration) -> Self {
        let sources = meet.relay.iter().chain(&meet.peer);
        let (room, check) = match password::is_wanted(meet) {
            true => ("the private room".to_owned(), password::LOOKS_THE_SAME),
            false => (format!("room `{}`", meet.room), "check --room and --game"),
        };
        Self {
            room: format!("{room} of game `{}`", meet.game),
            check,
            patience,
            lan: meet.lan,
            sources: sources
                .map(|address| (address.clone(), Standing::Asked))
                .collect(),
        }
    }

    /// Takes note of an event, and returns what is worth telling at once.
    pub(super) fn handle(&mut self, event: &NetworkEvent) -> Option<String> {
        let (address, now) = match event {
            NetworkEvent::RelayUp { relay: address } | NetworkEvent::BootstrapUp { address } => {
                (address, Standing::Listed)
            }
            NetworkEvent::RelayLost {
                relay: address,
                reason: error,
                ..
            }
            | NetworkEvent::BootstrapFailed { address, error, .. } => {
                (address, Standing::Lost(lost(address, error, self.check)))
            }
            _ => return None,
        };
        if !self.set(address, &now) {
            return None;
        }
        match now {
            Standing::Lost(reason) => Some(reason),
            _ => None,
        }
    }

    /// Takes note of how all of them stand: these are lost, the others have given their lists.
    pub(super) fn settle(&mut self, lost_now: &[(Multiaddr, RendezvousError)]) {
        let check = self.check;
        for (source, standing) in &mut self.sources {
            let error = lost_now.iter().find(|(address, _)| address == source);
            *standing = error.map_or(Standing::Listed, |(_, error)| {
                Standing::Lost(lost(source, error, check))
            });
        }
    }

    /// Says whether that is news.
    fn set(&mut self, address: &Multiaddr, now: &Standing) -> bool {
        let mut news = false;
        for (source, standing) in &mut self.sources {
            if source == address && standing != now {
                *standing = now.clone();
                news = true;
            }
        }
        news
    }

    /// Why nobody of these takes part, and what to do about it.
    pub(super) fn explain(&self, peers: &[PeerInfo]) -> Vec<String> {
        if self.sources.is_empty() && !self.lan {
            return vec!["nobody was named: add --peer ADDR of a node or --relay ADDR".to_owned()];
        }
        let mut reasons = Vec::new();
        for (address, standing) in &self.sources {
            match standing {
                Standing::Lost(reason) => reasons.push(reason.clone()),
                Standing::Asked => {
                    let patience = humantime::format_duration(self.patience);
                    reasons.push(format!(
                        "{address} has not answered within {patience}; check the address, or wait longer with --patience"
                    ));
                }
                Standing::Listed => {}
            }
        }
        let reached = peers.iter().filter(|peer| is_reached_lender(peer)).count();
        let idle = peers.iter().filter(|peer| is_idle(peer)).count();
        let unreached: Vec<_> = peers
            .iter()
            .filter(|peer| lends(peer) && peer.path.is_none())
            .collect();
        for peer in unreached.iter().take(NAMED) {
            let peer = peer.presence.peer;
            reasons.push(format!(
                "{peer} is in the room and cannot be reached; check that it runs, and have it name a relay with --relay"
            ));
        }
        if unreached.len() > NAMED {
            reasons.push(format!("so are {} more", unreached.len() - NAMED));
        }
        let heard = self.lan || self.sources.iter().any(|(_, s)| *s == Standing::Listed);
        if idle > 0 {
            let are = if idle == 1 { "is" } else { "are" };
            let lend = if idle == 1 { "lends" } else { "lend" };
            reasons.push(format!(
                "{} {are} connected and {lend} nothing now; `peercompute resume` or `peercompute throttle` there changes that",
                output::count(idle as u64, "node")
            ));
        }
        if heard && reached == 0 && idle == 0 && unreached.is_empty() {
            reasons.push(format!(
                "nobody lends a machine in {}; {}, and that a node runs there",
                self.room, self.check
            ));
        }
        if reached > 0 {
            reasons.push(format!(
                "of the nodes that are connected, {reached} could take tasks and did not, or no longer"
            ));
        }
        reasons
    }
}

/// Whether tasks could be given to a peer.
pub(super) fn is_reached_lender(peer: &PeerInfo) -> bool {
    lends(peer) && peer.path.is_some()
}

/// Whether a peer that is connected runs the tasks of others, only not now: it is paused, or lends 0 per cent. A submitter has no cores to tell of.
fn is_idle(peer: &PeerInfo) -> bool {
    peer.path.is_some() && !lends(peer) && peer.presence.capabilities.cores > 0
}

fn lends(peer: &PeerInfo) -> bool {
    peer.presence.capabilities.workers > 0
}

fn lost(address: &Multiaddr, error: &RendezvousError, check: &str) -> String {
    match error {
        // It names the address itself.
        RendezvousError::Dial(error) => error.to_string(),
        RendezvousError::Refused { message, .. } => {
            format!("{address} does not let this node in: {message}; {check}")
        }
        // So it does, if it is in a private room, to whoever has another password or none.
        RendezvousError::Ended => {
            format!("{address}: {error}, which may be in a private room; {check}")
        }
        other => format!("{address}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use peercompute_net::DialError;

    use super::*;
    use crate::cli::{Cli, Command};

    const PEER: &str = "/ip4/192.0.2.7/tcp/4001";

    fn search(args: &[&str]) -> Search {
        let run = ["peercompute", "run", "--op", "crc32c", "file"];
        let cli = Cli::try_parse_from(run.iter().chain(args)).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("it is `run`");
        };
        Search::new(&args.meet, args.patience)
    }

    fn failed(reason: &str) -> NetworkEvent {
        let address: Multiaddr = PEER.parse().unwrap();
        NetworkEvent::BootstrapFailed {
            address: address.clone(),
            error: RendezvousError::Dial(DialError::Unreachable {
                address,
                reason: reason.to_owned(),
            }),
            retry_in: Duration::from_secs(1),
        }
    }

    #[test]
    fn without_a_name_the_remedy_is_to_give_one() {
        let reasons = search(&[]).explain(&[]);
        assert!(reasons[0].contains("--peer"), "{reasons:?}");
    }

    #[test]
    fn a_failure_is_told_once_and_again_when_it_is_another() {
        let mut search = search(&["--peer", PEER]);
        let told = search.handle(&failed("one")).unwrap();
        assert!(told.contains(PEER) && told.contains("one"), "{told}");
        assert_eq!(search.handle(&failed("one")), None);
        assert!(search.handle(&failed("two")).unwrap().contains("two"));
        let reasons = search.explain(&[]);
        assert!(
            reasons.len() == 1 && reasons[0].contains("two"),
            "{reasons:?}"
        );
    }

    #[test]
    fn silence_is_named_with_how_long_it_was_waited_for() {
        let reasons = search(&["--peer", PEER, "--patience", "3s"]).explain(&[]);
        assert!(
            reasons[0].contains(PEER) && reasons[0].contains("3s"),
            "{reasons:?}"
        );
    }

    #[test]
    fn an_empty_room_is_named() {
        let mut search = search(&["--peer", PEER, "--room", "attic", "--game", "chess"]);
        let address = PEER.parse().unwrap();
        assert_eq!(search.handle(&NetworkEvent::BootstrapUp { address }), None);
        let reasons = search.explain(&[]);
        assert!(
            reasons[0].contains("room `attic` of game `chess`"),
            "{reasons:?}"
        );
    }
}
