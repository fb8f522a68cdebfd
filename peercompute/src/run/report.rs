//! What a run has to say at its end.

use std::{borrow::Cow, path::PathBuf};

use peercompute_compute::{Digest, Operation};
use serde::Serialize;

use super::{
    input::Input,
    reference::Summary,
    shares::{JsonShares, Shares},
};
use crate::{failure::Failure, output};

/// One operation over one file.
#[derive(Debug)]
pub(super) struct FileResult {
    pub(super) path: PathBuf,
    pub(super) operation: Operation,
    /// What a pass over the file here must give too.
    pub(super) summary: Summary,
    pub(super) digest: Option<Digest>,
    pub(super) failure: Option<String>,
    /// Whether a pass over the file here gave the same; `None` where there was none.
    pub(super) verified: Option<bool>,
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
    error: Option<&'a str>,
    verified: Option<bool>,
}

impl FileResult {
    pub(super) fn new(
        input: &Input,
        operation: Operation,
        summary: Summary,
        digest: Option<Digest>,
        failure: Option<String>,
    ) -> Self {
        let path = input.path.clone();
        Self {
            path,
            operation,
            summary,
            digest,
            failure,
            verified: None,
        }
    }

    /// As if the file had no byte.
    #[cfg(test)]
    pub(super) fn of_nothing(input: &Input, operation: Operation) -> Self {
        let summary = Summary {
            bytes: 0,
            number: 0,
        };
        Self::new(input, operation, summary, None, None)
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
        let failed = self
            .files
            .iter()
            .filter(|file| file.failure.is_some())
            .count();
        if failed > 0 {
            return Some(Failure::run(format!(
                "{failed} of {} results are missing",
                self.files.len()
            )));
        }
        let wrong = self
            .files
            .iter()
            .filter(|file| file.verified == Some(false))
            .count();
        (wrong > 0).then(|| {
            Failure::run(format!(
                "{wrong} of {} results differ from a pass over the file on this machine",
                self.files.len()
            ))
        })
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
                    error: file.failure.as_deref(),
                    verified: file.verified,
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
                    output::note(&format!("{path}: {}: {failure}", file.operation));
                }
                (None, Some(digest)) if several => {
                    let operation = file.operation.to_string();
                    output::line(&format!("{operation:<12} {digest:>16}  {path}"))?;
                }
                (None, Some(digest)) => output::line(&format!("{digest}  {path}"))?,
                (None, None) => {}
            }
            if file.verified == Some(false) {
                output::note(&format!(
                    "{path}: {}: the result differs from a pass over the file on this machine",
                    file.operation
                ));
            }
        }
        self.shares.print(self.seconds, self.verified(), reasons);
        Ok(())
    }
}
