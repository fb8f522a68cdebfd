//! What a run has to say at its end.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use peercompute_compute::{Digest, Operation, WrongResult};
use peercompute_kernel::Host;
use serde::Serialize;

use super::{
    input::{Input, Stamp},
    ledger::Given,
    mend::{self, Obstacle},
    reference::Summary,
    shares::{JsonShares, Shares},
};
use crate::{failure::Failure, output};

/// One operation over one file.
#[derive(Debug)]
pub(super) struct FileResult {
    pub(super) path: PathBuf,
    /// As it was when the run began.
    pub(super) stamp: Stamp,
    pub(super) operation: Operation,
    /// What a pass over the file here must give too.
    pub(super) summary: Summary,
    pub(super) digest: Option<Digest>,
    pub(super) failure: Option<Lack>,
    /// What the network gave.
    pub(super) given: Given,
    /// Whether the result is right, as a pass over the file here has shown; `None` where there was none.
    pub(super) verified: Option<bool>,
    /// What the network gave was wrong, and this is what a pass here has made instead.
    pub(super) mended: bool,
    /// Tasks with wrong results, by who gave these.
    pub(super) wrong: BTreeMap<Host, u64>,
    /// Why a wrong result was not mended.
    pub(super) obstacle: Option<Obstacle>,
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    pub(super) reason: String,
    /// A node has given what the operation never gives, so that a pass here may do without it.
    pub(super) is_false: bool,
}

/// A run's outcome over all files and operations.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) files: Vec<FileResult>,
    seconds: f64,
    shares: Shares,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    tasks: u64,
    bytes: u64,
    seconds: f64,
    verified: Option<bool>,
    #[serde(flatten)]
    shares: JsonShares,
    results: Vec<JsonResult<'a>>,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    file: Cow<'a, str>,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    imm: Option<u8>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mended: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    wrong_by_node: BTreeMap<String, u64>,
}

impl From<String> for Lack {
    fn from(reason: String) -> Self {
        let is_false = false;
        Self { reason, is_false }
    }
}

impl From<WrongResult> for Lack {
    fn from(error: WrongResult) -> Self {
        Self {
            reason: error.to_string(),
            is_false: true,
        }
    }
}

impl From<peercompute_swarm::Failure> for Lack {
    fn from(failure: peercompute_swarm::Failure) -> Self {
        Self {
            reason: failure.to_string(),
            // Operations suit every input, and keep to the limits that they are given.
            is_false: failure.reason.is_same_everywhere(),
        }
    }
}

impl FileResult {
    pub(super) fn new(
        input: &Input,
        operation: Operation,
        summary: Summary,
        digest: Option<Digest>,
        failure: Option<Lack>,
        given: Given,
    ) -> Self {
        Self {
            path: input.path.clone(),
            stamp: input.stamp,
            operation,
            summary,
            digest,
            failure,
            given,
            verified: None,
            mended: false,
            wrong: BTreeMap::new(),
            obstacle: None,
        }
    }

    /// Why there is no result, or a wrong one stands.
    fn error(&self) -> Option<String> {
        let lack = self.failure.iter().map(|lack| lack.reason.clone());
        let obstacle = self.obstacle.iter().map(ToString::to_string);
        let all: Vec<_> = lack.chain(obstacle).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// What people are to know of what the network gave.
    fn warning(&self) -> Option<String> {
        let what = match (self.mended, self.verified, &self.failure) {
            (true, ..) => mend::MENDED,
            (false, Some(false), None) => {
                "the result differs from a pass over the file on this machine"
            }
            (false, _, Some(_)) if !self.wrong.is_empty() => "what came of its tasks was wrong",
            _ => return None,
        };
        let who = match self.obstacle {
            Some(Obstacle::Changed) => String::new(),
            _ => mend::liars(&self.wrong),
        };
        Some(format!("{what}{who}"))
    }

    /// As if the file had no byte.
    #[cfg(test)]
    pub(super) fn of_nothing(input: &Input, operation: Operation) -> Self {
        let summary = Summary {
            bytes: 0,
            number: 0,
        };
        Self::new(input, operation, summary, None, None, Given::default())
    }
}

impl Report {
    pub(super) fn new(seconds: f64) -> Self {
        Self {
            files: Vec::new(),
            seconds,
            shares: Shares::default(),
        }
    }

    pub(super) fn add(&mut self, files: Vec<FileResult>, shares: &Shares) {
        self.files.extend(files);
        self.shares.add(shares);
    }

    /// Why the run as a whole has failed, if it has.
    pub(super) fn failure(&self) -> Option<Failure> {
        let count =
            |is_so: fn(&FileResult) -> bool| self.files.iter().filter(|file| is_so(file)).count();
        let what = match (
            count(|file| file.failure.is_some()),
            count(|file| file.verified == Some(false)),
        ) {
            (0, 0) => return None,
            (0, wrong) => format!(
                "{wrong} of {} results differ from a pass over the file on this machine",
                self.files.len()
            ),
            (missing, _) => format!("{missing} of {} results are missing", self.files.len()),
        };
        let obstacles: BTreeSet<_> = self.files.iter().filter_map(|file| file.obstacle).collect();
        let reasons = obstacles.iter().map(ToString::to_string);
        let all: Vec<_> = std::iter::once(what).chain(reasons).collect();
        Some(Failure::run(all.join("; ")))
    }

    /// True if every result was checked and is right, false if one is wrong or missing, none if they were not checked.
    fn verified(&self) -> Option<bool> {
        if self.files.iter().any(|file| file.failure.is_some()) {
            return Some(false);
        }
        self.files
            .iter()
            .try_fold(true, |all, file| Some(all & file.verified?))
    }

    /// Prints it. `reasons` say why no other node took part, if none did.
    pub(super) fn print(&self, json: bool, reasons: &[String]) -> Result<(), Failure> {
        if json {
            output::json(&self.to_json())
        } else {
            self.print_text(reasons)
        }
    }

    fn to_json(&self) -> impl Serialize + '_ {
        let (tasks, bytes) = self.shares.sums();
        JsonReport {
            tasks,
            bytes,
            seconds: output::seconds(self.seconds),
            verified: self.verified(),
            shares: self.shares.to_json(),
            results: self
                .files
                .iter()
                .map(|file| JsonResult {
                    file: output::json_name(&file.path),
                    op: file.operation.name(),
                    imm: file.operation.immediate(),
                    bytes: file.summary.bytes,
                    value: file.digest.map(|digest| digest.to_string()),
                    error: file.error(),
                    verified: file.verified,
                    mended: file.mended.then_some(true),
                    wrong_by_node: mend::by_name(&file.wrong),
                })
                .collect(),
        }
    }

    fn print_text(&self, reasons: &[String]) -> Result<(), Failure> {
        let several = self
            .files
            .iter()
            .any(|file| file.operation != self.files[0].operation);
        for file in &self.files {
            let path = output::name(&file.path);
            match (&file.failure, file.digest) {
                (Some(failure), _) => {
                    output::note(&format!("{path}: {}: {}", file.operation, failure.reason));
                }
                (None, Some(digest)) if several => {
                    let operation = file.operation.to_string();
                    output::line(&format!("{operation:<12} {digest:>16}  {path}"))?;
                }
                (None, Some(digest)) => output::line(&format!("{digest}  {path}"))?,
                (None, None) => {}
            }
            if let Some(warning) = file.warning() {
                output::note(&format!("{path}: {}: {warning}", file.operation));
            }
        }
        self.shares.print(self.seconds, self.verified(), reasons);
        Ok(())
    }
}
