//! What time brings: measurements, leases, and the turns of the cells.

use std::time::Duration;

use super::{
    Exchange, NeighbourId,
    hops::MAX_HOPS,
    rooms::{latency, link_config, off},
    shares::divide,
};
use crate::{
    JobId,
    cell::{ByteRate, Item},
};

/// How often capacities are measured and divided while there are jobs.
const TICK: Duration = Duration::from_millis(250);

/// How often neighbours are asked for the time while there are none.
const IDLE_TICK: Duration = Duration::from_secs(5);

/// How long it may take until a neighbour is told that bytes have come.
const TELL: Duration = Duration::from_millis(5);

/// How long a job whose submitter is out of reach is kept.
const ORPHAN: Duration = Duration::from_secs(10);

impl Exchange {
    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let cells = self.jobs.values().filter(|job| !job.links.is_empty());
        let cells = cells.map(|job| job.cell.poll_timeout()).min();
        let paced = self
            .neighbours
            .values()
            .filter_map(|neighbour| neighbour.pace_at)
            .min();
        let untold = self.neighbours.values();
        let untold = untold.filter_map(|it| Some(it.meter.untold_since? + TELL));
        let tick = self.next_tick();
        [cells, paced, untold.min(), tick]
            .into_iter()
            .flatten()
            .min()
    }

    fn next_tick(&self) -> Option<Duration> {
        if !self.jobs.is_empty() {
            Some(self.ticked + TICK)
        } else if !self.neighbours.is_empty() {
            Some(self.ticked + IDLE_TICK)
        } else {
            None
        }
    }

    /// Lets time pass. Harmless when early.
    pub fn handle_timeout(&mut self, now: Duration) {
        let mut wakes: Vec<NeighbourId> = Vec::new();
        for (id, neighbour) in &mut self.neighbours {
            let paced = neighbour.pace_at.take_if(|at| *at <= now).is_some();
            let untold = &mut neighbour.meter.untold_since;
            if untold.take_if(|since| *since + TELL <= now).is_some() || paced {
                wakes.push(*id);
            }
        }
        for id in wakes {
            self.wake(id);
        }
        let due = self.jobs.values();
        let due = due.filter(|job| !job.links.is_empty() && job.cell.poll_timeout() <= now);
        for id in due.map(|job| job.id).collect::<Vec<_>>() {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.cell.handle_timeout(now);
            }
            self.act(now, id);
        }
        if self.next_tick().is_some_and(|at| at <= now) {
            self.tick(now);
        }
    }

    fn tick(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.ticked).as_secs_f64().max(1e-3);
        let was_idle = passed > 2.0 * TICK.as_secs_f64();
        self.ticked = now;
        let (mut up, mut down) = (0, 0);
        for neighbour in self.neighbours.values_mut() {
            let (sent, received) = neighbour.meter.tick(now, passed);
            (up, down) = (up + sent, down + received);
            neighbour.ping = neighbour.hello_received && (was_idle || self.jobs.is_empty());
        }
        self.up.sample(now, up as f64 / passed, true);
        self.down.sample(now, down as f64 / passed, true);
        let pinged = self.neighbours.iter().filter(|(_, it)| it.ping);
        for id in pinged.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.wake(id);
        }
        self.divide_capacities(now, passed);
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.keep(now, passed, id);
        }
    }

    /// Divides what the node and its links carry among the jobs.
    fn divide_capacities(&mut self, now: Duration, passed: f64) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let used = |of: fn(&super::job::JobLink) -> u64| -> Vec<f64> {
            let jobs = self.jobs.values();
            jobs.map(|job| job.links.values().map(of).sum::<u64>() as f64 / passed)
                .collect()
        };
        let (up, down) = self.node_rates();
        let ups = divide(up, &used(|link| link.sent));
        let downs = divide(down, &used(|link| link.received));
        for (index, id) in ids.iter().enumerate() {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            let rescaled = job.rescale(now);
            let (up, down) = (ups[index] / job.scale, downs[index] / job.scale);
            if rescaled || off(up, job.figures[1]) || off(down, job.figures[2]) {
                (job.figures[1], job.figures[2]) = (up, down);
                job.cell.set_capacity(now, ByteRate(up), ByteRate(down));
            }
            self.update_compute(now, *id);
        }
        for (neighbour, entry) in &self.neighbours {
            let here: Vec<JobId> = ids
                .iter()
                .copied()
                .filter(|id| self.jobs[id].links.contains_key(neighbour))
                .collect();
            if here.is_empty() {
                continue;
            }
            let used = |of: fn(&super::job::JobLink) -> u64| -> Vec<f64> {
                let links = here.iter().map(|id| &self.jobs[id].links[neighbour]);
                links.map(|link| of(link) as f64 / passed).collect()
            };
            let ups = divide(entry.meter.up(), &used(|link| link.sent));
            let downs = divide(entry.meter.down(), &used(|link| link.received));
            let latency = latency(entry.meter.shortest());
            for (index, id) in here.iter().enumerate() {
                let Some(job) = self.jobs.get_mut(id) else {
                    continue;
                };
                let scale = job.scale;
                let room = job.has_room();
                let Some(link) = job.links.get_mut(neighbour) else {
                    continue;
                };
                (link.sent, link.received) = (0, 0);
                let figures = [ups[index] / scale, downs[index] / scale, latency];
                if figures
                    .iter()
                    .zip(link.figures)
                    .any(|(new, told)| off(*new, told))
                {
                    link.figures = figures;
                    job.cell.set_link(now, link.port, link_config(figures));
                }
                if let Some(frame) = link.claims.tick(passed, room) {
                    // It asks for nothing, so it breaks no rule.
                    let _ = job.cell.handle_frame(now, link.port, &frame);
                }
            }
        }
    }

    /// Leases, renewals and trust of one job, and whether it is kept at all.
    fn keep(&mut self, now: Duration, _passed: f64, id: JobId) {
        let bench = &self.bench;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if let Some(source) = &mut job.source {
            source.check_leases(now, &mut self.events);
            source.forget_windows(|neighbour| job.links.contains_key(neighbour));
            for (neighbour, window) in &mut source.windows {
                window.turn(now);
                if let Some(link) = job.links.get(neighbour) {
                    job.cell.set_trust(link.port, window.trust());
                }
            }
        } else if now >= job.renew_at {
            let third = job.lease / 3;
            job.renew_at = now + third;
            let since = now.saturating_sub(third);
            // What waits here for nobody is better given out again.
            let hopeful = job.has_worker();
            let held = job.held().filter(|(item, parcel)| {
                parcel.since <= since && (hopeful || *item == Item::Output)
            });
            let mut bundles: Vec<u64> = held.map(|(_, parcel)| parcel.bundle).collect();
            let running = bench.of(id).filter(|running| running.begun <= since);
            bundles.extend(running.map(|running| running.bundle));
            for bundle in bundles {
                job.renew(now, bundle, MAX_HOPS);
            }
            // What a neighbour does not take is as good as lost: it is better given out again.
            let lease = job.lease;
            let stuck: Vec<u64> = job
                .links
                .values()
                .flat_map(|link| &link.sending.0)
                .flat_map(|sending| sending.parcels())
                .filter(|parcel| now.saturating_sub(parcel.since) >= lease)
                .map(|parcel| parcel.bundle)
                .collect();
            job.lose(stuck, MAX_HOPS);
            if (!job.renewals.is_empty() || !job.lost.is_empty())
                && let Some(upstream) = job.upstream()
            {
                job.wakes.push(upstream);
            }
        }
        if job.has_source() {
            job.orphan_since = None;
        } else {
            let since = *job.orphan_since.get_or_insert(now);
            if now.saturating_sub(since) >= ORPHAN {
                self.drop_job(now, id, false);
                return;
            }
        }
        self.act(now, id);
        self.end_if_done(now, id);
    }
}
