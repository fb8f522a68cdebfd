//! The results of each input, one behind the other, and what is told of them.

use peercompute_kernel::{Host, JobResults, Outcome};
use peercompute_proto::v1::TaskFailureReason;
use peercompute_swarm::FailureReason;
use serde::Serialize;

use super::{Work, WorkError, cut::Cut, out_name, target::Target};
use crate::{
    output,
    run::{
        input::Unusable,
        print_unusable,
        shares::{JsonShares, Shares},
    },
};

/// Each input's results, one behind the other.
pub(super) struct Outputs<'a> {
    work: &'a Work,
    json: bool,
    /// The input whose results come at present.
    current: Current,
    failed: usize,
    unusable: usize,
}

#[derive(Default)]
struct Current {
    target: Option<Target>,
    /// Bytes of input whose results were taken.
    read: u64,
    written: u64,
    tasks: u64,
    seconds: f64,
    shares: Shares,
    /// Who ran the last task, or failed at it.
    host: Option<Host>,
    failure: Option<(&'static str, String)>,
    is_unusable: bool,
}

/// One input as programs are told of it.
#[derive(Serialize)]
struct InputReport<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(flatten)]
    shares: JsonShares,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(work: &'a Work, json: bool) -> Self {
        Self {
            work,
            json,
            current: Current::default(),
            failed: 0,
            unusable: 0,
        }
    }

    /// How many tasks have failed; of an input in pieces one at most counts.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// How many inputs could not be read to their end.
    pub(super) fn unusable(&self) -> usize {
        self.unusable
    }

    /// Takes the next result. Says whether those of the rest of its input are wanted.
    pub(super) async fn take(
        &mut self,
        input: usize,
        bytes: usize,
        outcome: Outcome,
    ) -> Result<bool, WorkError> {
        let current = &mut self.current;
        if current.failure.is_some() || current.is_unusable {
            return Ok(false);
        }
        let from = current.read;
        current.read += bytes as u64;
        current.tasks += 1;
        current.seconds += outcome.run.as_secs_f64();
        current.host = outcome.host;
        if let (Some(host), Ok(_)) = (outcome.host, &outcome.result) {
            current.shares.count(host, bytes as u64);
        }
        match outcome.result {
            Ok(value) => {
                if current.target.is_none() {
                    let name = out_name(self.work.path(input));
                    current.target = Some(Target::new(self.work.out.as_deref(), &name).await?);
                }
                current.written += value.len() as u64;
                let target = current.target.as_mut().expect("it was made above");
                target.append(value).await?;
                Ok(true)
            }
            Err(failure) => {
                let place = match self.work.cut {
                    Cut::Whole => String::new(),
                    _ => format!("the {bytes} bytes from byte {from}: "),
                };
                let message = format!("{place}{}", failure.message);
                let about = self.work.name(input).map(|name| format!("{name}: "));
                output::note(&format!("error: {}{message}", about.unwrap_or_default()));
                // What was written so far is no output.
                current.target = None;
                current.failure = Some((word(failure.reason), message));
                self.failed += 1;
                Ok(false)
            }
        }
    }

    /// The rest of an input cannot be read: it has no output then.
    pub(super) fn unusable_rest(&mut self, input: usize, error: String) -> Result<(), WorkError> {
        let current = &mut self.current;
        if current.failure.is_some() {
            return Ok(());
        }
        current.target = None;
        current.is_unusable = true;
        self.unusable += 1;
        let path = self.work.inputs()[input].clone();
        print_unusable(&Unusable { path, error }, "input", self.json)?;
        Ok(())
    }

    /// An input has ended, and all its results were taken.
    pub(super) fn end(&mut self, input: usize, results: &JobResults) -> Result<(), WorkError> {
        let current = std::mem::take(&mut self.current);
        let written = current.target.map(Target::finish).transpose()?.flatten();
        if !self.json || current.is_unusable {
            return Ok(());
        }
        let is_whole = self.work.cut == Cut::Whole;
        let failure = current.failure.as_ref();
        let name = self.work.path(input).map(output::json_name);
        let shares = current.shares.with_ways_of(&Shares::of(results));
        output::json(&InputReport {
            input: name.as_deref(),
            output: written.map(|path: std::path::PathBuf| output::json_name(&path).into_owned()),
            bytes: failure.is_none().then_some(current.written),
            tasks: (!is_whole).then_some(current.tasks),
            // Of an input in pieces the one that failed is the last.
            node: current
                .host
                .filter(|_| is_whole || failure.is_some())
                .map(|it| it.to_string()),
            shares: shares.to_json(),
            seconds: failure.is_none().then(|| output::seconds(current.seconds)),
            reason: failure.map(|(reason, _)| *reason),
            error: failure.map(|(_, message)| message.as_str()),
        })?;
        Ok(())
    }
}

/// Why a task has failed, as programs are told: one word, which stays what it is.
fn word(reason: FailureReason) -> &'static str {
    match TaskFailureReason::from(reason) {
        TaskFailureReason::Unspecified => "unknown",
        TaskFailureReason::Unsupported => "unsupported",
        TaskFailureReason::Refused => "refused",
        TaskFailureReason::Invalid => "invalid",
        TaskFailureReason::Trap => "trap",
        TaskFailureReason::Deadline => "deadline",
        TaskFailureReason::OutputTooLarge => "output",
        TaskFailureReason::Cancelled => "cancelled",
        TaskFailureReason::Fuel => "fuel",
        TaskFailureReason::Memory => "memory",
        TaskFailureReason::GaveUp => "gave_up",
    }
}
