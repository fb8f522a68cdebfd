use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use libp2p::multiaddr::Protocol;

use crate::Multiaddr;

/// From where a connection comes, as coarse as one stranger can choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// This machine: many nodes may run on it, and a proxy in front of this one.
    Loopback,
    V4(Ipv4Addr),
    /// The network of 64 bits that an address is in, of which one host may have all addresses.
    V6(Ipv6Addr),
    /// A peer behind a relay.
    Unknown,
}

impl Source {
    pub(super) fn of(address: &Multiaddr) -> Self {
        let mut protocols = address.iter();
        let ip = match protocols.next() {
            Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
            Some(Protocol::Ip6(ip)) => ip.to_canonical(),
            _ => return Self::Unknown,
        };
        if protocols.any(|protocol| protocol == Protocol::P2pCircuit) {
            return Self::Unknown;
        }
        match ip {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("this machine"),
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip) => write!(f, "{ip}/64"),
            Self::Unknown => f.write_str("behind a relay"),
        }
    }
}

/// Which connections are coming in, by where they come from. Pure.
///
/// It never holds more than its limits: where they are reached, whoever comes takes the place of the oldest of its own source if that one has its share, and
/// else of the oldest of the source that has most.
#[derive(Debug)]
pub(super) struct Table {
    total: usize,
    share: usize,
    /// Ids grow, so that the first is the oldest.
    sources: BTreeMap<Source, BTreeSet<u64>>,
    count: usize,
    next: u64,
}

impl Table {
    /// Room for `total`, `share` of them from one address; at least one each.
    pub(super) fn new(total: usize, share: usize) -> Self {
        Self {
            total: total.max(1),
            share: share.max(1),
            sources: BTreeMap::new(),
            count: 0,
            next: 0,
        }
    }

    /// Gives a newcomer its place. Names the one that loses its own for that.
    pub(super) fn admit(&mut self, source: Source) -> (u64, Option<(u64, Source)>) {
        let loser = self.loser(source);
        if let Some((id, source)) = loser {
            self.leave(source, id);
        }
        let id = self.next;
        self.next += 1;
        self.sources.entry(source).or_default().insert(id);
        self.count += 1;
        (id, loser)
    }

    fn loser(&self, source: Source) -> Option<(u64, Source)> {
        let from_here = self.sources.get(&source).map_or(0, BTreeSet::len);
        let source = if from_here >= self.share(source) {
            source
        } else if self.count >= self.total {
            let most = self.sources.iter().max_by_key(|(_, ids)| ids.len())?;
            *most.0
        } else {
            return None;
        };
        let oldest = self.sources.get(&source)?.first()?;
        Some((*oldest, source))
    }

    /// How many may come from there. Who shares a machine or a relay with others has no share of its own.
    fn share(&self, source: Source) -> usize {
        match source {
            Source::Loopback | Source::Unknown => self.total,
            Source::V4(_) | Source::V6(_) => self.share.min(self.total),
        }
    }

    /// It has come in, or has gone. Nothing happens if it had lost its place.
    pub(super) fn leave(&mut self, source: Source, id: u64) {
        let Some(ids) = self.sources.get_mut(&source) else {
            return;
        };
        self.count -= usize::from(ids.remove(&id));
        if ids.is_empty() {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn source(number: u8) -> Source {
        match number {
            0 => Source::Loopback,
            number => Source::V4(Ipv4Addr::new(192, 0, 2, number)),
        }
    }

    #[test]
    fn addresses_that_one_host_can_choose_from_are_one_source() {
        let of = |address: &str| Source::of(&address.parse().unwrap());
        let here = of("/ip6/2001:db8:0:1::1/tcp/1");
        assert_eq!(here, of("/ip6/2001:db8:0:1:ffff::2/udp/2/quic-v1"));
        assert_ne!(here, of("/ip6/2001:db8:0:2::1/tcp/1"));
        assert_eq!(
            of("/ip6/::ffff:192.0.2.1/tcp/1"),
            of("/ip4/192.0.2.1/tcp/2")
        );
        assert_ne!(of("/ip4/192.0.2.2/tcp/1"), of("/ip4/192.0.2.1/tcp/1"));
        assert_eq!(of("/ip4/127.0.0.2/tcp/1"), of("/ip6/::1/tcp/1"));
        let circuit = "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";
        assert_eq!(of(circuit), Source::Unknown);
        assert_eq!(here.to_string(), "2001:db8:0:1::/64");
    }

    #[test]
    fn whoever_holds_many_loses_them_to_newcomers_from_elsewhere() {
        let mut table = Table::new(10, 8);
        let mut first = Vec::new();
        for _ in 0..8 {
            first.push(table.admit(source(1)).0);
        }
        assert_eq!(table.admit(source(1)).1, Some((first[0], source(1))));
        assert_eq!(table.admit(source(2)).1, None);
        assert_eq!(table.admit(source(3)).1, None);
        assert_eq!(table.admit(source(4)).1, Some((first[1], source(1))));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(u8),
        Leave(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..6u8).prop_map(Step::Come),
            1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        ]
    }

    proptest! {
        /// The model is a list in the order of arrival.
        #[test]
        fn newcomers_are_let_in_at_the_cost_of_the_oldest_of_whoever_has_too_many(
            total in 1..12usize,
            share in 1..6usize,
            steps in vec(step(), 0..100),
        ) {
            let mut table = Table::new(total, share);
            let mut model: Vec<(u64, Source)> = Vec::new();
            for step in steps {
                match step {
                    Step::Come(number) => {
                        let source = source(number);
                        let count = |of: Source| model.iter().filter(|(_, other)| *other == of).count();
                        let most = model.iter().map(|(_, of)| count(*of)).max().unwrap_or(0);
                        let full_here = source != Source::Loopback && count(source) >= share;
                        let (id, lost) = table.admit(source);
                        match lost {
                            Some((lost, of)) => {
                                prop_assert!(full_here || model.len() == total);
                                if full_here {
                                    prop_assert_eq!(of, source);
                                } else {
                                    prop_assert_eq!(count(of), most);
                                }
                                let oldest = model.iter().position(|(_, other)| *other == of);
                                let oldest = oldest.expect("who loses a place had one");
                                prop_assert_eq!(model.remove(oldest).0, lost);
                            }
                            None => prop_assert!(!full_here && model.len() < total),
                        }
                        model.push((id, source));
                    }
                    Step::Leave(index) if !model.is_empty() => {
                        let (id, source) = model.remove(index.index(model.len()));
                        table.leave(source, id);
                        table.leave(source, id);
                    }
                    Step::Leave(_) => {}
                }
                prop_assert!(model.len() <= total);
                prop_assert_eq!(table.count, model.len());
            }
            for (id, source) in model {
                table.leave(source, id);
            }
            prop_assert!(table.sources.is_empty() && table.count == 0);
        }
    }
}
