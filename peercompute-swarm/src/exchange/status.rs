use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1::Capabilities;

use super::{Exchange, JobKey, NeighbourId};
use crate::{JobId, cell::Item};

/// What a node's part in the work of all is now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExchangeStatus {
    /// The neighbours.
    pub neighbours: Vec<NeighbourStatus>,
    /// The jobs, own ones and those of others.
    pub jobs: Vec<FlowJobStatus>,
    /// What the node is taken to send over all links, in bytes a second.
    pub up: f64,
    /// What it is taken to receive.
    pub down: f64,
    /// Bytes of items that are stored here on their way.
    pub stored_bytes: usize,
}

/// A neighbour and the link to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NeighbourStatus {
    /// The neighbour.
    pub neighbour: NeighbourId,
    /// Its peer id.
    pub peer: Bytes,
    /// Whether it has said hello.
    pub ready: bool,
    /// What it says of its machine.
    pub capabilities: Capabilities,
    /// The smoothed round trip, if one was measured.
    pub round_trip: Option<Duration>,
    /// What the link is taken to carry to it, in bytes a second.
    pub up: f64,
    /// What it is taken to carry from there.
    pub down: f64,
    /// Bytes of items sent to it and received from it.
    pub bytes: (u64, u64),
}

/// A job at this node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FlowJobStatus {
    /// The job, as this node calls it.
    pub job: JobId,
    /// Its name everywhere.
    pub key: JobKey,
    /// Whether it is this node's own.
    pub own: bool,
    /// Whether it is computed here.
    pub computes: bool,
    /// Hops to its submitter; 0 at the submitter, absent where there is no way to it.
    pub source_hops: Option<u32>,
    /// Bundles of tasks that wait here.
    pub inputs: usize,
    /// Bundles of results that wait here.
    pub outputs: usize,
    /// Tasks that have not ended, of an own job.
    pub unfinished: usize,
    /// Bundles a second that this node plans to compute, and that it could.
    pub work: (f64, f64),
    /// What a bundle of tasks is worth here and what one of results is, in completed bundles.
    pub value: (f64, f64),
    /// The prices of the node's uplink and downlink, in completed bundles for the bytes of a bundle of tasks.
    pub price: (f64, f64),
    /// What flows over each link.
    pub flows: Vec<FlowStatus>,
}

/// What flows over one link in one job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FlowStatus {
    /// The neighbour.
    pub neighbour: NeighbourId,
    /// Bundles of tasks and of results a second that this node plans to send to it.
    pub planned: (f64, f64),
    /// The price of the link.
    pub price: f64,
    /// How far the neighbour's word counts, from 0 to 1.
    pub trust: f64,
    /// Hops to the submitter through it, if there is a way.
    pub source_hops: Option<u32>,
    /// Hops to the nearest node that computes through it.
    pub worker_hops: Option<u32>,
}

impl Exchange {
    /// What the node does now.
    pub fn status(&self) -> ExchangeStatus {
        let (up, down) = self.node_rates();
        ExchangeStatus {
            neighbours: self
                .neighbours
                .iter()
                .map(|(id, it)| NeighbourStatus {
                    neighbour: *id,
                    peer: it.peer.clone(),
                    ready: it.hello_received,
                    capabilities: it.capabilities,
                    round_trip: it.meter.round_trip(),
                    up: it.meter.up(),
                    down: it.meter.down(),
                    bytes: (it.meter.sent, it.meter.received),
                })
                .collect(),
            jobs: self.jobs.keys().map(|id| self.job_status(*id)).collect(),
            up,
            down,
            stored_bytes: self.store.used(),
        }
    }

    fn job_status(&self, id: JobId) -> FlowJobStatus {
        let job = &self.jobs[&id];
        let view = job.cell.view();
        let hops = |hops: u32| (hops > 0).then_some(hops);
        let nearest = job.upstream().map(|near| job.links[&near].heard.source);
        let source = job.source.as_ref();
        FlowJobStatus {
            job: id,
            key: job.key.clone(),
            own: job.is_own(),
            computes: job.computes,
            source_hops: if job.is_own() { Some(0) } else { nearest },
            inputs: job.waiting[Item::Input].len() + job.ready.len(),
            outputs: job.waiting[Item::Output].len(),
            unfinished: source.map_or(0, super::Source::unfinished),
            work: (view.work.0, self.compute_rate(job).0),
            value: (view.value[Item::Input], view.value[Item::Output]),
            price: (view.up_price, view.down_price),
            flows: job
                .links
                .iter()
                .map(|(neighbour, link)| {
                    let of_link = view.links.iter().find(|it| it.port == link.port);
                    let window = source.and_then(|source| source.windows.get(neighbour));
                    FlowStatus {
                        neighbour: *neighbour,
                        planned: of_link.map_or((0.0, 0.0), |it| {
                            (it.sends[Item::Input].0, it.sends[Item::Output].0)
                        }),
                        price: of_link.map_or(0.0, |it| it.price),
                        trust: window.map_or(1.0, super::window::Window::trust),
                        source_hops: hops(link.heard.source),
                        worker_hops: hops(link.heard.worker),
                    }
                })
                .collect(),
        }
    }
}
