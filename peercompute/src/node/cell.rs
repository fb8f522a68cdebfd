//! A node's cell as it is printed: its neighbours, what the links to them carry, and what flows.

use peercompute_kernel::{Leader, LinkReason, MeshFlow, MeshJob, MeshNeighbour, MeshStatus};
use serde::{Deserialize, Serialize};

use super::{path_name, status::short};
use crate::output;

/// A node's part in the work that moves hop by hop. Rates are in bytes or in bundles of tasks a second, values and prices in completed bundles.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct JsonCell {
    role: String,
    /// Who leads, if that is known.
    #[serde(default)]
    leader: Option<JsonLeader>,
    up_bytes_per_s: u64,
    down_bytes_per_s: u64,
    stored_bytes: u64,
    neighbours: Vec<JsonNeighbour>,
    jobs: Vec<JsonJob>,
    /// How it chooses its neighbours, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    choice: Option<JsonChoice>,
}

/// The root of the tree that holds the network together.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum JsonLeader {
    /// This node.
    This,
    /// Somebody to whom this neighbour leads, or the neighbour itself.
    Through(String),
}

#[derive(Debug, Deserialize, Serialize)]
struct JsonChoice {
    most: usize,
    candidates: usize,
    probed: usize,
    swaps: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct JsonNeighbour {
    peer_id: String,
    path: Option<String>,
    workers: u32,
    rtt_us: Option<u64>,
    up_bytes_per_s: u64,
    down_bytes_per_s: u64,
    sent_bytes: u64,
    received_bytes: u64,
    /// Why the link is kept.
    kept: String,
    /// Seconds for which the link will be too young to be judged.
    #[serde(default)]
    young_s: u64,
    /// What it is worth, in completed bundles a second.
    #[serde(default)]
    worth: f64,
    /// What it promised when it came up.
    #[serde(default)]
    promised: Option<f64>,
    /// As a probe has measured them.
    #[serde(default)]
    probed_up_bytes_per_s: Option<u64>,
    #[serde(default)]
    probed_down_bytes_per_s: Option<u64>,
    /// How much of what the neighbour says of itself is believed.
    #[serde(default)]
    credit: f64,
}

#[derive(Debug, Deserialize, Serialize)]
struct JsonJob {
    submitter: Option<String>,
    number: u64,
    own: bool,
    computes: bool,
    hops: Option<u32>,
    waiting_inputs: usize,
    waiting_outputs: usize,
    unfinished_tasks: usize,
    work_per_s: f64,
    compute_per_s: f64,
    /// What a bundle of tasks is worth here: how much the node wants one, from 0 to 1 and somewhat more.
    input_value: f64,
    /// What a bundle of results is worth here: how far it is from home, 0 or less.
    output_value: f64,
    up_price: f64,
    down_price: f64,
    flows: Vec<JsonFlow>,
}

#[derive(Debug, Deserialize, Serialize)]
struct JsonFlow {
    peer_id: String,
    inputs_per_s: f64,
    outputs_per_s: f64,
    price: f64,
    trust: f64,
    source_hops: Option<u32>,
    worker_hops: Option<u32>,
}

impl JsonCell {
    pub(super) fn new(mesh: &MeshStatus) -> Self {
        Self {
            role: mesh.role.to_string(),
            leader: mesh.leader.and_then(JsonLeader::new),
            up_bytes_per_s: mesh.up as u64,
            down_bytes_per_s: mesh.down as u64,
            stored_bytes: mesh.stored_bytes,
            neighbours: mesh.neighbours.iter().map(JsonNeighbour::new).collect(),
            jobs: mesh.jobs.iter().map(JsonJob::new).collect(),
            choice: mesh.choice.map(|choice| JsonChoice {
                most: choice.most,
                candidates: choice.candidates,
                probed: choice.probed,
                swaps: choice.swaps,
            }),
        }
    }

    /// Adds lines for people.
    pub(super) fn add_text(&self, lines: &mut Vec<String>) {
        if self.choice.is_some() {
            let leader = match &self.leader {
                Some(JsonLeader::This) => "this node".to_owned(),
                Some(JsonLeader::Through(peer)) => format!("reached through {}", short(peer)),
                None => "not known yet".to_owned(),
            };
            lines.push(format!("leader    {leader}"));
        }
        let role = match self.role.as_str() {
            "peer" => String::new(),
            role => format!("{role}, "),
        };
        lines.push(format!(
            "cell      {role}sends {}/s, receives {}/s",
            output::bytes(self.up_bytes_per_s),
            output::bytes(self.down_bytes_per_s)
        ));
        if let Some(choice) = &self.choice {
            lines.push(format!(
                "  {} of at most {} neighbours, {} of {} measured, {} given up for others",
                self.neighbours.len(),
                choice.most,
                choice.probed,
                output::count(choice.candidates as u64, "candidate"),
                choice.swaps
            ));
        }
        for neighbour in &self.neighbours {
            lines.push(format!(
                "  {}  {:<7}  {}, kept: {}",
                short(&neighbour.peer_id),
                neighbour.path.as_deref().unwrap_or_default(),
                neighbour.measured(),
                neighbour.kept_for_people()
            ));
        }
        for job in &self.jobs {
            lines.extend(job.to_text());
        }
    }
}

impl JsonNeighbour {
    fn new(neighbour: &MeshNeighbour) -> Self {
        let round_trip = neighbour.round_trip;
        Self {
            peer_id: neighbour.peer.to_string(),
            path: neighbour.path.map(|path| path_name(path).to_owned()),
            workers: neighbour.workers,
            rtt_us: round_trip.map(|it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX)),
            up_bytes_per_s: neighbour.up as u64,
            down_bytes_per_s: neighbour.down as u64,
            sent_bytes: neighbour.sent,
            received_bytes: neighbour.received,
            kept: kept(neighbour),
            young_s: neighbour.young_for.as_secs_f64().ceil() as u64,
            worth: neighbour.worth,
            promised: neighbour.promised,
            probed_up_bytes_per_s: neighbour.probed.map(|(up, _)| up as u64),
            probed_down_bytes_per_s: neighbour.probed.map(|(_, down)| down as u64),
            credit: neighbour.credit,
        }
    }

    /// What is known of the link, for people.
    fn measured(&self) -> String {
        let Some(us) = self.rtt_us else {
            return "not measured".to_owned();
        };
        let rate = |rate| match rate {
            0 => "not measured".to_owned(),
            rate => format!("{}/s", output::bytes(rate)),
        };
        format!(
            "round trip {:.1} ms, up {}, down {}",
            us as f64 / 1e3,
            rate(self.up_bytes_per_s),
            rate(self.down_bytes_per_s)
        )
    }

    /// Why the link is kept, with how long that holds where it ends by itself.
    fn kept_for_people(&self) -> String {
        match self.young_s {
            0 => self.kept.clone(),
            seconds => {
                let young = LinkReason::Young.to_string();
                let still = format!("{young} (for {seconds} s)");
                self.kept.replace(&young, &still)
            }
        }
    }
}

impl JsonLeader {
    fn new(leader: Leader) -> Option<Self> {
        Some(match leader {
            Leader::This => Self::This,
            Leader::Through(peer) => Self::Through(peer.to_string()),
            _ => return None,
        })
    }
}

/// Why a link is kept.
fn kept(neighbour: &MeshNeighbour) -> String {
    if neighbour.reasons.is_empty() {
        let by = ["chosen by the neighbour", "chosen by this node"];
        return by[usize::from(neighbour.opened)].to_owned();
    }
    let reasons = neighbour.reasons.iter().map(|reason| match reason {
        LinkReason::Worth => format!("worth {:.2}/s", neighbour.worth),
        reason => reason.to_string(),
    });
    reasons.collect::<Vec<_>>().join(", ")
}

impl JsonJob {
    fn new(job: &MeshJob) -> Self {
        Self {
            submitter: job.submitter.map(|peer| peer.to_string()),
            number: job.number,
            own: job.own,
            computes: job.computes,
            hops: job.hops,
            waiting_inputs: job.inputs,
            waiting_outputs: job.outputs,
            unfinished_tasks: job.unfinished,
            work_per_s: job.work,
            compute_per_s: job.compute,
            input_value: job.input_value,
            output_value: job.output_value,
            up_price: job.up_price,
            down_price: job.down_price,
            flows: job.flows.iter().map(JsonFlow::new).collect(),
        }
    }

    fn to_text(&self) -> Vec<String> {
        let of = self.submitter.as_deref().map(short);
        let of = of.as_deref().unwrap_or("nobody known");
        let hops = match self.hops {
            Some(0) => "its own".to_owned(),
            Some(hops) => format!("{} away", output::count(hops.into(), "hop")),
            None => "out of reach".to_owned(),
        };
        let mut lines = vec![format!(
            "  job {} of {of}, {hops}: {} and {} wait, computes {:.1} of {:.1}/s, pressure {:.3} and {:.3}, prices up {:.3} down {:.3}",
            self.number,
            output::count(self.waiting_inputs as u64, "bundle"),
            output::count(self.waiting_outputs as u64, "result"),
            self.work_per_s,
            self.compute_per_s,
            self.input_value,
            self.output_value,
            self.up_price,
            self.down_price
        )];
        lines.extend(self.flows.iter().map(|flow| {
            format!(
                "    {}  sends {:.1} bundles and {:.1} results/s, price {:.3}, trust {:.2}",
                short(&flow.peer_id),
                flow.inputs_per_s,
                flow.outputs_per_s,
                flow.price,
                flow.trust
            )
        }));
        lines
    }
}

impl JsonFlow {
    fn new(flow: &MeshFlow) -> Self {
        Self {
            peer_id: flow.peer.to_string(),
            inputs_per_s: flow.inputs,
            outputs_per_s: flow.outputs,
            price: flow.price,
            trust: flow.trust,
            source_hops: flow.source_hops,
            worker_hops: flow.worker_hops,
        }
    }
}
