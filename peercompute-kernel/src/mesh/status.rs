//! What the mesh shows of itself.

use std::time::Duration;

use peercompute_net::PeerId;
use peercompute_swarm::{FlowJobStatus, NeighbourId, NeighbourStatus};

use super::{Link, Mesh, State};
use crate::{
    Role, Topology,
    clock::now,
    status::{Leader, LinkReason, MeshChoice, MeshFlow, MeshJob, MeshNeighbour, MeshStatus},
};

impl Mesh {
    pub(crate) fn status(&self) -> MeshStatus {
        let state = self.lock();
        let now = now(&self.runtime);
        let status = state.core.status();
        let neighbours = status.neighbours.iter();
        let neighbours = neighbours.filter_map(|it| {
            let link = state.links.get(&it.neighbour)?;
            Some(state.neighbour(now, link, it))
        });
        let choice = state.choosing.as_ref().map(|choosing| {
            let choice = choosing.status();
            MeshChoice {
                most: choice.most,
                candidates: choice.candidates,
                probed: choice.probed,
                swaps: choice.swaps,
            }
        });
        MeshStatus {
            role: state.role(),
            leader: state.leader(now),
            up: status.up,
            down: status.down,
            stored_bytes: status.stored_bytes as u64,
            neighbours: neighbours.collect(),
            jobs: status.jobs.iter().map(|job| state.job(job)).collect(),
            choice,
        }
    }
}

impl State {
    fn role(&self) -> Role {
        match (&self.choosing, self.topology) {
            (Some(choosing), Topology::Hierarchy) => choosing.role(),
            _ => Role::Peer,
        }
    }

    fn leader(&self, now: Duration) -> Option<Leader> {
        let choosing = self.choosing.as_ref()?;
        if choosing.role() == Role::Root {
            return Some(Leader::This);
        }
        let is_parent = |link: &&Link| {
            let it = choosing.candidate(now, link.peer, &self.core);
            it.is_some_and(|it| it.parent)
        };
        let parent = self.links.values().find(is_parent)?;
        Some(Leader::Through(parent.peer))
    }

    fn neighbour(&self, now: Duration, link: &Link, it: &NeighbourStatus) -> MeshNeighbour {
        let choosing = self.choosing.as_ref();
        let chosen = choosing.and_then(|choosing| choosing.candidate(now, link.peer, &self.core));
        let mut reasons = Vec::new();
        if let Some(chosen) = chosen {
            let mut give = |holds: bool, reason| reasons.extend(holds.then_some(reason));
            give(chosen.leaving, LinkReason::Leaving);
            give(self.links.len() == 1, LinkReason::Only);
            give(chosen.parent, LinkReason::Parent);
            give(chosen.child, LinkReason::Child);
            give(chosen.young, LinkReason::Young);
            give(
                chosen.worth.is_some_and(|worth| worth > 0.0),
                LinkReason::Worth,
            );
        } else if choosing.is_some() {
            reasons.push(LinkReason::Given);
        }
        MeshNeighbour {
            peer: link.peer,
            path: link.path,
            ready: it.ready,
            workers: it.capabilities.workers,
            round_trip: it.round_trip,
            up: it.up,
            down: it.down,
            sent: it.bytes.0,
            received: it.bytes.1,
            opened: link.opened,
            reasons,
            young_for: chosen.map_or(Duration::ZERO, |chosen| chosen.young_for),
            worth: chosen.and_then(|chosen| chosen.worth).unwrap_or_default(),
            promised: chosen.and_then(|chosen| chosen.promised),
            probed: chosen
                .and_then(|chosen| chosen.rates)
                .map(|[up, down]| (up, down)),
            credit: chosen.map_or(1.0, |chosen| chosen.credit),
        }
    }

    fn job(&self, job: &FlowJobStatus) -> MeshJob {
        let peer = |id: &NeighbourId| self.links.get(id).map(|link| link.peer);
        let flows = job.flows.iter().filter_map(|flow| {
            Some(MeshFlow {
                peer: peer(&flow.neighbour)?,
                inputs: flow.planned.0,
                outputs: flow.planned.1,
                price: flow.price,
                trust: flow.trust,
                source_hops: flow.source_hops,
                worker_hops: flow.worker_hops,
            })
        });
        MeshJob {
            submitter: PeerId::from_bytes(&job.key.peer).ok(),
            number: job.key.number,
            own: job.own,
            computes: job.computes,
            hops: job.source_hops,
            inputs: job.inputs,
            outputs: job.outputs,
            unfinished: job.unfinished,
            work: job.work.0,
            compute: job.work.1,
            input_value: job.value.0,
            output_value: job.value.1,
            up_price: job.price.0,
            down_price: job.price.1,
            flows: flows.collect(),
        }
    }
}
