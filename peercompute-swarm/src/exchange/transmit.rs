//! What goes out to a neighbour.

use std::time::Duration;

use peercompute_proto::{
    limits::{MAX_FLOW_CHUNKS, MAX_FLOW_PARTS, MAX_FLOW_RENEWALS},
    v1,
};

use super::{Exchange, NeighbourId, job::Job, transfer::Piece};
use crate::{
    JobId,
    cell::{Item, Port},
};

/// Bytes of chunks at which a frame ends: small enough that what cells say is never far behind.
const FRAME_BYTES: usize = 64 * 1024;

/// What a chunk costs beside its bytes.
const CHUNK_OVERHEAD: usize = 48;

/// What has become of a transfer with a frame.
struct Passed {
    job: JobId,
    port: Port,
    item: Item,
    held: bool,
}

impl Exchange {
    /// The next frame for a neighbour, or `None` where there is nothing to send. Call it when the stream has room for it.
    pub fn poll_transmit(&mut self, now: Duration, to: NeighbourId) -> Option<v1::FlowFrame> {
        let neighbour = self.neighbours.get_mut(&to)?;
        if !neighbour.hello_sent {
            neighbour.hello_sent = true;
            let mut frame = v1::FlowFrame {
                hello: Some(v1::FlowHello {
                    binding: Some(self.config.binding.clone()),
                    capabilities: Some(self.config.capabilities),
                }),
                ..v1::FlowFrame::default()
            };
            frame.echo = Some(neighbour.meter.stamp(now, 0, true));
            return Some(frame);
        }
        if !neighbour.hello_received {
            return None;
        }
        let mut frame = v1::FlowFrame::default();
        self.tell_jobs(to, &mut frame);
        let (bytes, limited) = self.put_chunks(now, to, &mut frame);
        self.tell_jobs(to, &mut frame);
        let neighbour = self.neighbours.get_mut(&to)?;
        let ends = neighbour.ends.len().min(MAX_FLOW_PARTS);
        frame.ends = neighbour.ends.drain(..ends).collect();
        let refused = neighbour.refused.len().min(MAX_FLOW_PARTS);
        frame.refused = neighbour.refused.drain(..refused).collect();
        let tells = neighbour.meter.untold > 0 || std::mem::take(&mut neighbour.ping);
        if !tells && frame == v1::FlowFrame::default() {
            return None;
        }
        frame.echo = Some(neighbour.meter.stamp(now, bytes, limited));
        Some(frame)
    }

    /// Puts into a frame what the neighbour does not know of jobs.
    fn tell_jobs(&mut self, to: NeighbourId, frame: &mut v1::FlowFrame) {
        for job in self.jobs.values_mut() {
            let says = !job.renewals.is_empty() || !job.lost.is_empty();
            let upstream = says && job.upstream() == Some(to);
            let Some(link) = job.links.get_mut(&to) else {
                continue;
            };
            let number = link.number;
            if link.announce && frame.jobs.len() < MAX_FLOW_PARTS {
                link.announce = false;
                let told = link.told.clone();
                let is_new = !std::mem::replace(&mut link.introduced, true);
                let mut wire = v1::FlowJob {
                    job: number,
                    ..v1::FlowJob::default()
                };
                if let Some(told) = told {
                    wire.source_hops = told.hops.source;
                    wire.worker_hops = told.hops.worker;
                    wire.refusal = told.refusal;
                }
                if is_new {
                    introduce(job, &mut wire);
                }
                frame.jobs.push(wire);
            }
            let Some(link) = job.links.get_mut(&to).filter(|link| link.introduced) else {
                continue;
            };
            if frame.cells.len() < MAX_FLOW_PARTS
                && let Some(cell) = link.frame.take()
            {
                frame.cells.push(v1::FlowCell {
                    job: number,
                    frame: Some((&cell).into()),
                });
            }
            for (lost, bundles) in [(false, &mut job.renewals), (true, &mut job.lost)] {
                if !upstream || bundles.is_empty() || frame.renewals.len() >= MAX_FLOW_PARTS {
                    continue;
                }
                let mut renewal = v1::FlowRenewal {
                    job: number,
                    lost,
                    ..v1::FlowRenewal::default()
                };
                while renewal.bundles.len() < MAX_FLOW_RENEWALS
                    && let Some((bundle, hops)) = bundles.pop_first()
                {
                    renewal.hops = renewal.hops.max(hops);
                    renewal.bundles.push(bundle);
                }
                frame.renewals.push(renewal);
            }
        }
    }

    /// Puts pieces of items into a frame. Gives their bytes, and whether there is nothing more to send now.
    fn put_chunks(
        &mut self,
        now: Duration,
        to: NeighbourId,
        frame: &mut v1::FlowFrame,
    ) -> (u64, bool) {
        let is_paced = self.shares_uplink(to);
        let Some(neighbour) = self.neighbours.get_mut(&to) else {
            return (0, true);
        };
        neighbour.pace_at = None;
        let window = usize::try_from(neighbour.meter.room()).unwrap_or(usize::MAX);
        let mut room = FRAME_BYTES.min(window);
        let mut sent = 0;
        let mut passed: Vec<Passed> = Vec::new();
        loop {
            let before = (frame.chunks.len(), passed.len());
            let turn = self.turn;
            let later = self.jobs.range(turn..).map(|(id, _)| *id);
            let order = later.chain(self.jobs.range(..turn).map(|(id, _)| *id));
            for id in order.collect::<Vec<_>>() {
                let Some(job) = self.jobs.get_mut(&id) else {
                    continue;
                };
                let Some(link) = job.links.get_mut(&to).filter(|link| link.introduced) else {
                    continue;
                };
                for item in [Item::Output, Item::Input] {
                    if frame.chunks.len() >= MAX_FLOW_CHUNKS {
                        break;
                    }
                    let (piece, tells) = link.sending[item].next(now, room, is_paced);
                    let (port, held) = (link.port, matches!(piece, Piece::Held));
                    match piece {
                        Piece::None => {}
                        Piece::At(at) => {
                            if let Some(neighbour) = self.neighbours.get_mut(&to) {
                                let sooner = neighbour.pace_at.map_or(at, |before| before.min(at));
                                neighbour.pace_at = Some(sooner);
                            }
                        }
                        Piece::Held => passed.push(Passed {
                            job: id,
                            port,
                            item,
                            held,
                        }),
                        Piece::Chunk {
                            begin,
                            bundle,
                            data,
                            last,
                        } => {
                            if last && item == Item::Input {
                                link.hand_over(bundle);
                            }
                            let bytes = data.len();
                            sent += bytes as u64;
                            link.sent += bytes as u64;
                            room = room.saturating_sub(bytes + CHUNK_OVERHEAD);
                            frame.chunks.push(v1::FlowChunk {
                                job: link.number,
                                output: item == Item::Output,
                                begin,
                                data,
                            });
                            self.turn = JobId(id.0.wrapping_add(1));
                            if last && tells {
                                passed.push(Passed {
                                    job: id,
                                    port,
                                    item,
                                    held,
                                });
                            }
                        }
                    }
                }
            }
            let idle = (frame.chunks.len(), passed.len()) == before;
            for passed in passed.drain(..) {
                self.pass(now, &passed);
            }
            if idle || frame.chunks.len() >= MAX_FLOW_CHUNKS {
                // What fits into no frame now is not for want of something to send.
                let limited = idle && room > 0;
                return (sent, limited);
            }
        }
    }

    fn pass(&mut self, now: Duration, passed: &Passed) {
        if let Some(job) = self.jobs.get_mut(&passed.job) {
            if passed.held {
                job.cell.handle_held(now, passed.port, passed.item);
            } else {
                job.cell.handle_sent(now, passed.port, passed.item);
            }
            self.act(now, passed.job);
        }
    }

    /// Whether items move over other links, too, so that the uplink has to be divided as the cells want.
    fn shares_uplink(&self, to: NeighbourId) -> bool {
        self.jobs.values().any(|job| {
            job.links.iter().any(|(neighbour, link)| {
                *neighbour != to
                    && link.sending.0.iter().any(|sending| {
                        sending
                            .current
                            .as_ref()
                            .is_some_and(super::transfer::Outgoing::moves)
                    })
            })
        })
    }
}

/// Says of a job what a neighbour has to know first.
fn introduce(job: &Job, wire: &mut v1::FlowJob) {
    wire.key = Some(v1::FlowKey {
        peer: job.key.peer.clone(),
        number: job.key.number,
    });
    wire.spec = Some((*job.spec).clone());
    wire.lease_ms = u32::try_from(job.lease.as_millis())
        .unwrap_or(u32::MAX)
        .max(1);
    wire.input_bytes = job.shape.input_bytes as u32;
    wire.output_bytes = job.shape.output_bytes as u32;
}
