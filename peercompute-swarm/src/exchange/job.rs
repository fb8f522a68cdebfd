//! One job at one node: its cell, its links, and the items that are here.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_proto::{limits::MAX_FLOW_RENEWALS, v1};

use super::{
    JobKey, NeighbourId,
    claims::Claims,
    compute::{self, Load},
    hops::{Hops, MAX_HOPS, Told},
    neighbour::Parting,
    rooms::off,
    source::Source,
    store::Parcel,
    transfer::{Incoming, Outgoing, Sending},
    window::Window,
};
use crate::{
    Failure, JobId,
    cell::{Action, Cell, CellFrame, Item, PerItem, Port, TaskShape},
};

/// Bundles whose renewals wait to be sent on. What comes on top is left out: it comes again.
const MAX_RENEWALS: usize = 4 * MAX_FLOW_RENEWALS;

/// Bundles that one neighbour was handed and that are remembered. Of the others a submitter learns by their lease.
const MAX_HANDED: usize = 1024;

/// The weight of a new item in the mean size.
const SMOOTHING: f64 = 0.1;

/// How far the size of items may be from what the cell plans with, either way.
const MAX_SCALE: f64 = 1024.0;

/// How many times as large as inputs a cell takes outputs to be at most: prices are told in steps, and those of inputs become too fine. Inputs count for more then than they are.
const MAX_RATIO: f64 = 4.0;

/// Items that may wait where others could still come: fewer than any buffer holds.
const FEW: usize = 3;

/// What is known of whether this node computes a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ability {
    /// It has not been said yet.
    Unknown,
    Able,
    Unable(Failure),
}

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) key: JobKey,
    pub(super) spec: Arc<v1::TaskSpec>,
    pub(super) lease: Duration,
    pub(super) shape: TaskShape,
    pub(super) cell: Cell,
    pub(super) links: SortedMap<NeighbourId, JobLink>,
    /// The neighbour at each port of the cell.
    ports: Vec<Option<NeighbourId>>,
    pub(super) waiting: PerItem<VecDeque<Parcel>>,
    /// Bundles that the cell wants computed and that have not begun, with the time since when.
    pub(super) ready: VecDeque<(Duration, Load)>,
    /// Bundles of results that the cell has not collected; at a submitter they are home at once.
    done: VecDeque<Parcel>,
    /// Computations that the cell counts as begun and that nobody does: at a submitter there was no task, elsewhere this node does not compute.
    pub(super) idle: u32,
    /// Transfers that the cell has begun before there were tasks.
    awaiting: VecDeque<NeighbourId>,
    pub(super) supplied: bool,
    pub(super) source: Option<Source>,
    pub(super) ability: Ability,
    /// Own jobs are computed here only when nobody else is there; others unless the node is paused.
    pub(super) computes: bool,
    /// It would be computed here if its program was ready.
    pub(super) prepares: bool,
    /// Mean bytes of the items that pass, and what one byte that the cell plans with stands for. The shape's inputs stay what they are; its outputs follow what passes.
    sizes: PerItem<Option<f64>>,
    pub(super) scale: f64,
    /// Seconds from the cell's wish to compute a bundle to its end, in the mean.
    pub(super) took: Option<f64>,
    /// Seconds that its tasks have run here, for the fair division of the pool.
    pub(super) spent: f64,
    pub(super) orphan_since: Option<Duration>,
    pub(super) renewals: SortedMap<u64, u32>,
    /// Bundles that went with a neighbour, of which the submitter is to be told.
    pub(super) lost: SortedMap<u64, u32>,
    pub(super) renew_at: Duration,
    /// Neighbours for which there is something to send.
    pub(super) wakes: Vec<NeighbourId>,
    pub(super) changed: bool,
    /// What the cell was told last of its node's compute, uplink and downlink.
    pub(super) figures: [f64; 3],
}

/// One job on one link.
#[derive(Debug)]
pub(super) struct JobLink {
    pub(super) port: Port,
    /// This end's number for the job, and the other's.
    pub(super) number: u32,
    pub(super) theirs: Option<u32>,
    pub(super) introduced: bool,
    /// What the neighbour is to know has changed.
    pub(super) announce: bool,
    pub(super) told: Option<Told>,
    pub(super) heard: Hops,
    pub(super) refusal: String,
    /// What the cell has to say.
    pub(super) frame: Option<CellFrame>,
    pub(super) sending: PerItem<Sending>,
    pub(super) incoming: PerItem<Option<Incoming>>,
    pub(super) claims: Claims,
    /// Bundles of tasks that the neighbour was handed, and whose results have not come by.
    pub(super) handed: BTreeSet<u64>,
    /// Nothing is begun over it.
    pub(super) still: bool,
    /// Bytes sent and received since the last tick.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// What the cell was told last of the link's rates and latency.
    pub(super) figures: [f64; 3],
}

impl JobLink {
    pub(super) fn new(port: Port, number: u32, figures: [f64; 3]) -> Self {
        Self {
            port,
            number,
            theirs: None,
            introduced: false,
            announce: true,
            told: None,
            heard: Hops::default(),
            refusal: String::new(),
            frame: None,
            sending: PerItem::default(),
            incoming: PerItem::default(),
            claims: Claims::default(),
            handed: BTreeSet::new(),
            still: false,
            sent: 0,
            received: 0,
            figures,
        }
    }
}

impl JobLink {
    /// The neighbour has been handed a bundle of tasks.
    pub(super) fn hand_over(&mut self, bundle: u64) {
        self.handed.insert(bundle);
        if self.handed.len() > MAX_HANDED {
            // The oldest has most likely come home by another way.
            self.handed.pop_first();
        }
    }
}

/// What a job is made of.
pub(super) struct Parts {
    pub(super) id: JobId,
    pub(super) key: JobKey,
    pub(super) spec: Arc<v1::TaskSpec>,
    pub(super) lease: Duration,
    pub(super) shape: TaskShape,
    pub(super) cell: Cell,
    pub(super) source: Option<Source>,
}

impl Job {
    pub(super) fn new(now: Duration, parts: Parts) -> Self {
        let Parts {
            id,
            key,
            spec,
            lease,
            shape,
            cell,
            source,
        } = parts;
        Self {
            id,
            key,
            spec,
            lease,
            shape,
            cell,
            links: SortedMap::new(),
            ports: Vec::new(),
            waiting: PerItem::default(),
            ready: VecDeque::new(),
            done: VecDeque::new(),
            idle: 0,
            awaiting: VecDeque::new(),
            supplied: false,
            source,
            ability: Ability::Unknown,
            computes: false,
            prepares: false,
            sizes: PerItem::default(),
            scale: 1.0,
            took: None,
            spent: 0.0,
            orphan_since: None,
            renewals: SortedMap::new(),
            lost: SortedMap::new(),
            renew_at: now + lease / 3,
            wakes: Vec::new(),
            changed: true,
            figures: [0.0; 3],
        }
    }

    pub(super) fn is_own(&self) -> bool {
        self.source.is_some()
    }

    pub(super) fn max_value(&self) -> usize {
        compute::max_value(&self.spec)
    }

    /// Carries out what the cell wants, until it wants nothing.
    pub(super) fn act(&mut self, now: Duration) {
        loop {
            while let Some(action) = self.cell.poll_action() {
                self.carry_out(now, action);
            }
            if !self.supply(now) {
                return;
            }
        }
    }

    fn carry_out(&mut self, now: Duration, action: Action) {
        match action {
            Action::Send { port, frame } => {
                let Some((neighbour, link)) = self.at(port) else {
                    return;
                };
                match &mut link.frame {
                    Some(before) => merge(before, &frame),
                    None => link.frame = Some(frame),
                }
                self.wakes.push(neighbour);
            }
            Action::Begin { port, item, held } => {
                let parcel = self.waiting[item].pop_front();
                let awaits = parcel.is_none();
                let Some((neighbour, link)) = self.at(port) else {
                    return;
                };
                link.sending[item].current = Some(Outgoing::new(now, parcel, held));
                if awaits {
                    self.awaiting.push_back(neighbour);
                } else {
                    self.wakes.push(neighbour);
                }
            }
            Action::Pace { port, item, rate } => {
                let scale = self.scale;
                if let Some((_, link)) = self.at(port)
                    && let Some(outgoing) = &mut link.sending[item].current
                {
                    outgoing.rate = rate.0 * scale;
                }
            }
            Action::Release { port, item } => {
                if let Some((neighbour, link)) = self.at(port) {
                    link.sending[item].release();
                    self.wakes.push(neighbour);
                }
            }
            Action::Compute => self.compute(now),
            Action::Collect => {
                if let Some(parcel) = self.done.pop_front() {
                    self.waiting[Item::Output].push_back(parcel);
                }
            }
        }
    }

    fn at(&mut self, port: Port) -> Option<(NeighbourId, &mut JobLink)> {
        let neighbour = (*self.ports.get(port.0 as usize)?)?;
        let link = self.links.get_mut(&neighbour)?;
        Some((neighbour, link))
    }

    fn compute(&mut self, now: Duration) {
        if self.is_own() {
            // It is given a bundle as soon as there is one.
            self.idle += 1;
            return;
        }
        if self.computes
            && let Some(parcel) = self.waiting[Item::Input].pop_front()
        {
            self.ready.push_back((now, Load::Came(parcel)));
            return;
        }
        self.idle += 1;
        if !self.waiting[Item::Input].is_empty() {
            self.cell.handle_item(now, Item::Input);
        }
    }

    /// The node computes it again: what the cell counts as being computed ends, with bundles that hold nothing and that no submitter knows.
    pub(super) fn revive(&mut self, now: Duration) {
        for _ in 0..std::mem::take(&mut self.idle) {
            self.done.push_back(Parcel::packed(now, 0, Bytes::new()));
            self.cell.handle_computed(now);
        }
    }

    /// Gives tasks to what waits for them, and tells the cell whether there are more. Gives whether that may have consequences.
    fn supply(&mut self, now: Duration) -> bool {
        let Some(source) = &mut self.source else {
            return false;
        };
        while source.pending() > 0 {
            if self.computes && self.idle > 0 {
                let Some(packed) = source.pack(now, None) else {
                    break;
                };
                self.idle -= 1;
                let (bundle, tasks) = (packed.bundle, packed.tasks);
                self.ready.push_back((now, Load::Own { bundle, tasks }));
                continue;
            }
            let links = &self.links;
            let open = |to: &NeighbourId| {
                let link = links.get(to);
                let computes = link.is_some_and(|link| link.heard.worker > 0 && !link.still);
                computes && source.windows.get(to).is_none_or(Window::is_open)
            };
            let Some(place) = self.awaiting.iter().position(open) else {
                break;
            };
            let Some(to) = self.awaiting.remove(place) else {
                break;
            };
            let Some(link) = self.links.get_mut(&to) else {
                continue;
            };
            let Some(outgoing) = &mut link.sending[Item::Input].current else {
                continue;
            };
            let Some(packed) = source.pack(now, Some(to)) else {
                break;
            };
            let tasks = packed.tasks.into_iter();
            let tasks = tasks.map(|(state, input)| v1::FlowInput { state, input });
            let inputs = v1::FlowInputs {
                tasks: tasks.collect(),
            };
            let data = compute::pack(&inputs);
            self.sizes.see(Item::Input, data.len());
            outgoing.parcel = Some(Parcel::packed(now, packed.bundle, data));
            self.wakes.push(to);
        }
        let supplied = source.pending() > 0;
        if supplied == self.supplied {
            return false;
        }
        self.supplied = supplied;
        self.cell.set_supply(now, supplied);
        true
    }

    /// A link has come up.
    pub(super) fn add_link(&mut self, neighbour: NeighbourId, link: JobLink) {
        let index = link.port.0 as usize;
        if self.ports.len() <= index {
            self.ports.resize(index + 1, None);
        }
        self.ports[index] = Some(neighbour);
        self.links.insert(neighbour, link);
        self.changed = true;
        self.wakes.push(neighbour);
    }

    /// Nothing more is begun over a link, or is again.
    pub(super) fn still_link(&mut self, neighbour: NeighbourId, is_still: bool) {
        if let Some(link) = self.links.get_mut(&neighbour) {
            // Who has not said that it takes part would never take what is begun.
            let is_still = is_still || link.theirs.is_none();
            link.still = is_still;
            if is_still {
                self.cell.retire_link(link.port);
            } else {
                self.cell.keep_link(link.port);
            }
        }
    }

    /// A link has gone. What had not gone over it waits here again; a submitter gives out anew what it gave to that neighbour. Gives this end's number.
    pub(super) fn remove_link(
        &mut self,
        now: Duration,
        neighbour: NeighbourId,
        parting: Parting,
        events: &mut VecDeque<super::ExchangeEvent>,
    ) -> Option<(u32, bool)> {
        let link = self.links.remove(&neighbour)?;
        self.ports[link.port.0 as usize] = None;
        self.awaiting.retain(|awaiting| *awaiting != neighbour);
        self.changed = true;
        self.cell.remove_link(now, link.port);
        if let Some(source) = &mut self.source {
            match parting {
                Parting::Lost => source.lose(neighbour, events),
                Parting::Ended => {
                    let [inputs, _] = link.sending.0;
                    let unsent: Vec<u64> = inputs.parcels().map(|parcel| parcel.bundle).collect();
                    source.take_back(neighbour, &unsent, events);
                }
            }
        } else {
            if parting == Parting::Lost {
                self.lose(link.handed, MAX_HOPS);
            }
            for (item, sending) in Item::ALL.into_iter().zip(link.sending.0) {
                let (current, tails) = sending.into_parcels();
                for parcel in tails.chain(current) {
                    self.waiting[item].push_front(parcel);
                    self.cell.handle_item(now, item);
                }
            }
        }
        self.act(now);
        Some((link.number, link.introduced))
    }

    /// An item of so many bytes has passed.
    pub(super) fn see_size(&mut self, item: Item, bytes: usize) {
        self.sizes.see(item, bytes);
    }

    /// Reckons anew what a byte that the cell plans with stands for, and how large outputs are beside inputs. Gives whether the former has changed much.
    pub(super) fn rescale(&mut self, now: Duration) -> bool {
        let input_bytes = self.shape.input_bytes;
        let inputs = self.sizes[Item::Input].map_or(self.scale, |bytes| bytes / input_bytes);
        let outputs = self.sizes[Item::Output].unwrap_or(0.0);
        let scale = inputs.max(outputs / (MAX_RATIO * input_bytes));
        let scale = scale.clamp(1.0 / MAX_SCALE, MAX_SCALE);
        let rescaled = off(scale, self.scale);
        if rescaled {
            self.scale = scale;
        }
        let output_bytes = (outputs / self.scale).clamp(1.0, MAX_RATIO * input_bytes);
        if outputs > 0.0 && off(output_bytes, self.shape.output_bytes) {
            self.shape.output_bytes = output_bytes;
            self.cell.set_output_bytes(now, output_bytes);
        }
        rescaled
    }

    /// Something is to be said of a bundle: somebody holds it.
    pub(super) fn renew(&mut self, now: Duration, bundle: u64, hops: u32) {
        if let Some(source) = &mut self.source {
            source.renew(now, bundle);
        } else if self.renewals.len() < MAX_RENEWALS {
            self.renewals.insert(bundle, hops);
        }
    }

    /// Whether so little waits here that more could come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.0.iter().map(VecDeque::len).sum::<usize>() < FEW
    }

    /// The submitter is to be told that bundles are lost.
    pub(super) fn lose(&mut self, bundles: impl IntoIterator<Item = u64>, hops: u32) {
        for bundle in bundles {
            if self.lost.len() < MAX_RENEWALS {
                self.lost.insert(bundle, hops);
            }
        }
        if !self.lost.is_empty() {
            self.wakes.extend(self.upstream());
        }
    }

    /// Items that are here.
    pub(super) fn held(&self) -> impl Iterator<Item = (Item, &Parcel)> {
        let of = |item: Item| {
            let waiting = self.waiting[item].iter();
            let links = self.links.values();
            let leaving = links.flat_map(move |link| link.sending[item].parcels());
            waiting.chain(leaving).map(move |parcel| (item, parcel))
        };
        let ready = self.ready.iter().filter_map(|(_, load)| match load {
            Load::Came(parcel) => Some((Item::Input, parcel)),
            Load::Own { .. } => None,
        });
        let done = self.done.iter().map(|parcel| (Item::Output, parcel));
        of(Item::Input)
            .chain(of(Item::Output))
            .chain(ready)
            .chain(done)
    }

    /// The neighbour that is nearest to the submitter.
    pub(super) fn upstream(&self) -> Option<NeighbourId> {
        let links = self.links.iter();
        let near = links.filter(|(_, link)| link.heard.source > 0);
        near.min_by_key(|(_, link)| link.heard.source)
            .map(|(neighbour, _)| *neighbour)
    }

    /// What was computed: bytes that go home.
    pub(super) fn put_output(&mut self, now: Duration, bundle: u64, data: Bytes) {
        self.sizes.see(Item::Output, data.len());
        self.done.push_back(Parcel::packed(now, bundle, data));
        self.cell.handle_computed(now);
    }
}

impl PerItem<Option<f64>> {
    fn see(&mut self, item: Item, bytes: usize) {
        let bytes = bytes as f64;
        let mean = &mut self[item];
        *mean = Some(mean.map_or(bytes, |mean| mean + SMOOTHING * (bytes - mean)));
    }
}

/// Makes one frame of two that follow each other.
fn merge(before: &mut CellFrame, after: &CellFrame) {
    for (before, after) in before.changes.iter_mut().zip(after.changes) {
        *before = before.saturating_add(after);
    }
    for item in Item::ALL {
        before.wanted[item] = before.wanted[item].saturating_add(after.wanted[item]);
        before.granted[item] = before.granted[item].saturating_add(after.granted[item]);
        before.returned[item] = before.returned[item].saturating_add(after.returned[item]);
    }
}
