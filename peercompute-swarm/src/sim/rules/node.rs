//! What all baselines share: slots in the neighbours' buffers, the way home, and the bookkeeping of what waits and moves.

use std::{collections::VecDeque, time::Duration};

use super::frame::Frame;
use crate::{
    cell::{Action, ByteRate, Item, LinkConfig, PerItem, Port},
    sim::{NodeView, random::Random},
};

/// The distance of a node that knows no source. Nodes that are cut off count up to it and stop.
pub(super) const FAR: u32 = 4096;

/// A node that follows a baseline.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) view: NodeView,
    pub(super) links: Vec<Option<Link>>,
    pub(super) live: usize,
    pub(super) waiting: PerItem<u32>,
    pub(super) computing: bool,
    /// Hops to the nearest source.
    pub(super) distance: u32,
    pub(super) random: Random,
    /// Transfers that stand still without being held.
    pub(super) paused: u32,
    /// Slots that neighbours wait for; promised to them; and used by held transfers.
    wanting: PerItem<u32>,
    promised: u32,
    held: u32,
    /// Bounded by what one call causes: a few for each link.
    actions: VecDeque<Action<Frame>>,
}

#[derive(Debug)]
pub(super) struct Link {
    /// Bytes a second to the neighbour.
    pub(super) up: f64,
    /// Of the neighbour, as it has told.
    pub(super) distance: u32,
    pub(super) load: Option<u32>,
    pub(super) degree: u32,
    pub(super) sending: PerItem<Sending>,
    pub(super) receiving: PerItem<Receiving>,
    /// The load and degree that the neighbour was told.
    said: Option<u32>,
    said_degree: u32,
    frame: Frame,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sending {
    pub(super) transfer: Option<Transfer>,
    /// Slots that no transfer has taken yet.
    pub(super) granted: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// No slot has been granted yet.
    pub(super) held: bool,
    /// All but its last byte has gone.
    pub(super) waiting: bool,
    pub(super) rate: f64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receiving {
    /// Slots that the neighbour has asked for and not got.
    pub(super) wanted: u32,
    /// Slots that it has got and not used.
    pub(super) promised: u32,
}

impl Node {
    pub(super) fn new(view: NodeView) -> Self {
        Self {
            view,
            links: Vec::new(),
            live: 0,
            waiting: PerItem::default(),
            computing: false,
            distance: if view.node.source { 0 } else { FAR },
            random: Random::new(view.seed),
            paused: 0,
            wanting: PerItem::default(),
            promised: 0,
            held: 0,
            actions: VecDeque::new(),
        }
    }

    pub(super) fn source(&self) -> bool {
        self.view.node.source
    }

    /// How much may wait here.
    pub(super) fn slots(&self) -> u32 {
        self.view.buffer.slots(self.live)
    }

    /// Slots that are taken, promised, or will be needed again.
    pub(super) fn taken(&self) -> u32 {
        let working = u32::from(self.computing && !self.source());
        self.waiting.0.iter().sum::<u32>() + working + self.promised + self.held + self.paused
    }

    /// Inputs that are here or will be, but for those that are handed on.
    pub(super) fn inputs(&self) -> u32 {
        let receiving = self
            .links()
            .map(|(_, link)| link.receiving[Item::Input].promised);
        self.waiting[Item::Input] + u32::from(self.computing) + receiving.sum::<u32>()
    }

    pub(super) fn has(&self, item: Item) -> bool {
        self.waiting[item] > 0 || (item == Item::Input && self.source())
    }

    /// Whether there are inputs beyond `keep`, of which a node that computes nothing keeps none.
    pub(super) fn spare_input(&self, keep: u32) -> bool {
        let keep = if self.view.node.compute.0 > 0.0 {
            keep
        } else {
            0
        };
        self.source() || self.waiting[Item::Input] > keep
    }

    /// The links that are up.
    pub(super) fn links(&self) -> impl Iterator<Item = (usize, &Link)> {
        let links = self.links.iter().enumerate();
        links.filter_map(|(index, link)| link.as_ref().map(|link| (index, link)))
    }

    pub(super) fn link_mut(&mut self, index: usize) -> Option<&mut Link> {
        self.links.get_mut(index).and_then(Option::as_mut)
    }

    /// What goes to this neighbour with the next frame.
    pub(super) fn frame(&mut self, index: usize) -> Option<&mut Frame> {
        self.link_mut(index).map(|link| &mut link.frame)
    }

    pub(super) fn link_up(&mut self, config: LinkConfig) -> usize {
        let free = self.links.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        let known = (self.distance < FAR).then_some(self.distance);
        self.links[index] = Some(Link {
            up: config.up.0,
            distance: FAR,
            load: None,
            degree: 0,
            sending: PerItem::default(),
            receiving: PerItem::default(),
            said: None,
            said_degree: 0,
            frame: Frame {
                distance: known,
                ..Frame::default()
            },
        });
        self.live += 1;
        index
    }

    pub(super) fn link_down(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.live -= 1;
        for item in Item::ALL {
            self.wanting[item] -= link.receiving[item].wanted;
            self.promised -= link.receiving[item].promised;
            let held = link.sending[item]
                .transfer
                .is_some_and(|transfer| transfer.held);
            self.held -= u32::from(held);
        }
        self.measure();
    }

    /// Takes in what a neighbour says, but for what concerns one rule only.
    pub(super) fn hear(&mut self, index: usize, frame: &Frame) {
        let Some(link) = self.links.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        link.load = frame.load.or(link.load);
        link.degree = frame.degree.unwrap_or(link.degree);
        let given_back = frame.returned.min(link.receiving[Item::Input].promised);
        link.receiving[Item::Input].promised -= given_back;
        self.promised -= given_back;
        for item in Item::ALL {
            link.receiving[item].wanted += frame.wanted[item];
            self.wanting[item] += frame.wanted[item];
            let sending = &mut link.sending[item];
            sending.granted += frame.granted[item];
            if sending.granted == 0 {
                continue;
            }
            if let Some(transfer) = &mut sending.transfer
                && transfer.held
            {
                sending.granted -= 1;
                self.held -= 1;
                transfer.held = false;
                if transfer.waiting {
                    sending.transfer = None;
                }
                let port = Port(index as u32);
                self.actions.push_back(Action::Release { port, item });
            }
        }
        if let Some(distance) = frame.distance {
            link.distance = distance;
            self.measure();
        }
    }

    /// Finds the distance anew, and tells all if it is another.
    fn measure(&mut self) {
        if self.source() {
            return;
        }
        let nearest = self.links().map(|(_, link)| link.distance).min();
        let distance = nearest.map_or(FAR, |nearest| (nearest + 1).min(FAR));
        if distance != self.distance {
            self.distance = distance;
            for link in self.links.iter_mut().flatten() {
                link.frame.distance = Some(distance);
            }
        }
    }

    pub(super) fn arrived(&mut self, index: usize, item: Item) {
        if self.source() && item == Item::Output {
            return;
        }
        if let Some(link) = self.links.get_mut(index).and_then(Option::as_mut)
            && link.receiving[item].promised > 0
        {
            link.receiving[item].promised -= 1;
            self.promised -= 1;
        }
        self.waiting[item] += 1;
    }

    pub(super) fn sent(&mut self, index: usize, item: Item) {
        if let Some(link) = self.link_mut(index) {
            link.sending[item].transfer = None;
        }
    }

    pub(super) fn stopped(&mut self, index: usize, item: Item) {
        if let Some(link) = self.link_mut(index)
            && let Some(transfer) = &mut link.sending[item].transfer
        {
            transfer.waiting = true;
            transfer.rate = 0.0;
        }
    }

    pub(super) fn computed(&mut self) {
        self.computing = false;
        self.actions.push_back(Action::Collect);
        if !self.source() {
            self.waiting[Item::Output] += 1;
        }
    }

    pub(super) fn begin_work(&mut self) {
        if self.computing || !self.has(Item::Input) || self.view.node.compute.0 <= 0.0 {
            return;
        }
        self.computing = true;
        self.take(Item::Input);
        self.actions.push_back(Action::Compute);
    }

    /// Whether a neighbour could be handed an input now, with or without a slot: it is no source, and nothing is on its way.
    pub(super) fn may_push(&self, link: &Link) -> bool {
        // A source's supply has no end, but what it holds in transfer counts.
        let room = !self.source() || self.taken() < self.slots();
        room && link.distance > 0 && link.sending[Item::Input].transfer.is_none()
    }

    /// Begins to hand over an item that waits. Without a slot, the neighbour is asked for one, and the last byte waits for it.
    pub(super) fn begin(&mut self, index: usize, item: Item) {
        let link = self.begin_at(index, item);
        let rate = link.up;
        self.pace(index, item, rate);
    }

    /// Begins without a rate.
    pub(super) fn begin_at(&mut self, index: usize, item: Item) -> &Link {
        self.take(item);
        let link = self.links[index]
            .as_mut()
            .expect("the caller has seen the link");
        let sending = &mut link.sending[item];
        let held = sending.granted == 0;
        if held {
            link.frame.wanted[item] += 1;
            self.held += 1;
        } else {
            sending.granted -= 1;
        }
        sending.transfer = Some(Transfer {
            held,
            waiting: false,
            rate: 0.0,
        });
        let port = Port(index as u32);
        self.actions.push_back(Action::Begin { port, item, held });
        link
    }

    pub(super) fn pace(&mut self, index: usize, item: Item, rate: f64) {
        if let Some(link) = self.link_mut(index)
            && let Some(transfer) = &mut link.sending[item].transfer
            && transfer.rate != rate
        {
            transfer.rate = rate;
            let port = Port(index as u32);
            let rate = ByteRate(rate);
            self.actions.push_back(Action::Pace { port, item, rate });
        }
    }

    /// The way home for an output: over the fastest idle link to a neighbour that is nearer to a source.
    pub(super) fn way_home(&self) -> Option<usize> {
        let nearer = self.links().filter(|(_, link)| {
            link.distance < self.distance && link.sending[Item::Output].transfer.is_none()
        });
        let fastest = nearer.max_by(|(_, a), (_, b)| a.up.total_cmp(&b.up));
        fastest.map(|(index, _)| index)
    }

    /// Grants the slots that are free to those neighbours that hold the fewest; the last to results only, or two nodes could wait for each other for ever.
    pub(super) fn grant(&mut self) {
        for item in [Item::Output, Item::Input] {
            while self.wanting[item] > 0 {
                let sink = self.source() && item == Item::Output;
                let limit = match item {
                    Item::Output => self.slots(),
                    Item::Input => self.slots() - 1,
                };
                if !sink && self.taken() >= limit {
                    break;
                }
                let asking = self
                    .links()
                    .filter(|(_, link)| link.receiving[item].wanted > 0);
                let fewest = asking.min_by_key(|(_, link)| link.receiving[item].promised);
                let Some((index, _)) = fewest else { break };
                let link = self.links[index].as_mut().expect("it was just found");
                link.receiving[item].wanted -= 1;
                link.frame.granted[item] += 1;
                if !sink {
                    link.receiving[item].promised += 1;
                    self.promised += 1;
                }
                self.wanting[item] -= 1;
            }
        }
    }

    /// Whether a slot for an input is free. The last slot is for results.
    pub(super) fn has_room(&self) -> bool {
        self.taken() + 1 < self.slots()
    }

    /// Asks a neighbour for an input, by granting it a slot unasked; the caller has seen that there is one.
    pub(super) fn request(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        link.receiving[Item::Input].promised += 1;
        link.frame.granted[Item::Input] += 1;
        self.promised += 1;
    }

    /// Answers a request: there is nothing.
    pub(super) fn refuse(&mut self, index: usize) {
        if let Some(link) = self.link_mut(index) {
            let granted = std::mem::take(&mut link.sending[Item::Input].granted);
            link.frame.returned += granted;
        }
    }

    /// Whether a neighbour does not know this load.
    pub(super) fn owes_load(&self, load: u32) -> bool {
        self.links().any(|(_, link)| link.said != Some(load))
    }

    /// Tells all neighbours the load, and how many links there are.
    pub(super) fn tell_load(&mut self, load: u32) {
        let degree = self.live as u32;
        for link in self.links.iter_mut().flatten() {
            if link.said != Some(load) {
                link.said = Some(load);
                link.frame.load = Some(load);
            }
            if link.said_degree != degree {
                link.said_degree = degree;
                link.frame.degree = Some(degree);
            }
        }
    }

    /// Sends what there is to say.
    pub(super) fn flush(&mut self) {
        for (index, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            if !link.frame.is_empty() {
                let port = Port(index as u32);
                let frame = std::mem::take(&mut link.frame);
                self.actions.push_back(Action::Send { port, frame });
            }
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action<Frame>> {
        self.actions.pop_front()
    }

    /// A time that differs from node to node, less than `interval`.
    pub(super) fn phase(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(self.random.unit())
    }

    fn take(&mut self, item: Item) {
        self.waiting[item] = self.waiting[item].saturating_sub(1);
    }
}
