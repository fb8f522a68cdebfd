//! Who has done a run, or a part of one, for people and for programs.

use std::collections::BTreeMap;

use peercompute_kernel::{Host, HostShare, JobResults};
use peercompute_net::{Path, PeerId};
use serde::Serialize;

use crate::output;

/// What each host has done.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_host: BTreeMap<Host, HostShare>,
    /// The tasks whose results came through a neighbour, by that neighbour.
    via: BTreeMap<PeerId, u64>,
}

/// The same as programs are told of it.
#[derive(Serialize)]
pub(super) struct JsonShares {
    local_fallback: bool,
    by_node: BTreeMap<String, JsonShare>,
    /// The tasks whose results made more than one hop, by the neighbour through which they came.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    via: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct JsonShare {
    tasks: u64,
    bytes: u64,
    path: &'static str,
    /// Hops that its results made: 1 straight, 0 here.
    hops: u32,
}

impl Shares {
    /// Those of a job so far.
    pub(super) fn of(results: &JobResults) -> Self {
        Self {
            by_host: results.shares(),
            via: results.via(),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (neighbour, tasks) in &other.via {
            *self.via.entry(*neighbour).or_default() += tasks;
        }
        for (host, share) in &other.by_host {
            let sum = self.by_host.entry(*host).or_default();
            sum.tasks += share.tasks;
            sum.bytes += share.bytes;
            if share.path.is_some() {
                sum.path = share.path;
                sum.hops = share.hops;
            }
        }
    }

    /// One more task, with so many bytes of input.
    pub(super) fn count(&mut self, host: Host, bytes: u64) {
        let share = self.by_host.entry(host).or_default();
        share.tasks += 1;
        share.bytes += bytes;
    }

    /// Takes the ways to the hosts from what is known of a whole job.
    pub(super) fn with_ways_of(mut self, job: &Self) -> Self {
        for (host, share) in &mut self.by_host {
            if let Some(known) = job.by_host.get(host) {
                share.path = known.path;
                share.hops = known.hops;
            }
        }
        self
    }

    /// Tasks, and bytes of input in them.
    pub(super) fn sums(&self) -> (u64, u64) {
        self.by_host.values().fold((0, 0), |(tasks, bytes), share| {
            (tasks + share.tasks, bytes + share.bytes)
        })
    }

    pub(super) fn to_json(&self) -> JsonShares {
        JsonShares {
            local_fallback: self.by_host.contains_key(&Host::Local),
            by_node: self
                .by_host
                .iter()
                .map(|(host, share)| {
                    let share = JsonShare {
                        tasks: share.tasks,
                        bytes: share.bytes,
                        path: path_name(share),
                        hops: share.hops,
                    };
                    (host.to_string(), share)
                })
                .collect(),
            via: self
                .via
                .iter()
                .map(|(neighbour, tasks)| (neighbour.to_string(), *tasks))
                .collect(),
        }
    }

    /// Says it to people, on standard error. `verified` is whether the results are right, if they were checked; `reasons` say why no other node took part, if none did.
    pub(super) fn print(&self, seconds: f64, verified: Option<bool>, reasons: &[String]) {
        let (tasks, bytes) = self.sums();
        output::note(&format!(
            "{}, {} in {seconds:.2} s, {}/s{}",
            output::count(tasks, "task"),
            output::bytes(bytes),
            output::bytes((bytes as f64 / seconds.max(1e-9)) as u64),
            match verified {
                Some(true) => ", all verified",
                Some(false) => ", NOT verified",
                None => ", not verified",
            }
        ));
        for (host, share) in &self.by_host {
            output::note(&format!(
                "  {:<52}  {:<7}  {:>14}  {:>10}",
                host.to_string(),
                path_name(share),
                output::count(share.tasks, "task"),
                output::bytes(share.bytes)
            ));
        }
        if !self.via.is_empty() {
            output::note("of these by way of neighbours:");
        }
        for (neighbour, tasks) in &self.via {
            output::note(&format!(
                "  {:<52}  {:>23}",
                neighbour.to_string(),
                output::count(*tasks, "task")
            ));
        }
        if self.by_host.contains_key(&Host::Local) {
            output::note(
                "no other node took part, or the last one had gone: tasks ran on this machine",
            );
            for reason in reasons {
                output::note(&format!("  {reason}"));
            }
        }
    }
}

fn path_name(share: &HostShare) -> &'static str {
    match share.path {
        _ if share.hops > 1 => "via",
        None => "local",
        Some(Path::Relayed) => "relayed",
        Some(_) => "direct",
    }
}
