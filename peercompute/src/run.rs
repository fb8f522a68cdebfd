//! `peercompute run`: work over files, on the nodes of a room or here.

mod chain;
mod chunks;
mod input;
mod order;
mod progress;
mod reference;
mod report;
mod sink;

use std::{collections::BTreeMap, io, sync::Arc, time::Instant};

use peercompute_compute::{Operation, OperationError};
use peercompute_kernel::{
    Host, HostShare, JobError, LocalFallback, NodeKernel, PushError, SubmitError,
};
use peercompute_swarm::limits::MAX_TASK_INPUT;
use serde::Serialize;

use self::{
    input::{Input, Unusable},
    progress::Progress,
    report::{FileResult, Report},
    sink::{Sink, writes_bytes},
};
use crate::{cli::RunArgs, failure::Failure, meet, output, stop::StopSignal};

/// What all operations of one run share.
struct Plan {
    inputs: Vec<Input>,
    chunk: usize,
    progress: Progress,
    sink: Sink,
}

type FileResults = Vec<FileResult>;

/// Why one operation over the files ended early.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("{target}: cannot be written: {error}")]
    Output { target: String, error: io::Error },
}

pub(crate) async fn run(args: RunArgs, json: bool) -> Result<(), Failure> {
    let operations = operations(&args)?;
    let chunk = chunk_size(args.chunk)?;
    if json && args.out.is_none() && operations.iter().any(writes_bytes) {
        return Err(Failure::usage(
            "--json and task output cannot share standard output; add --out DIR",
        ));
    }
    let (inputs, unusable) = input::open_all(&args.files);
    for input in &unusable {
        print_unusable(input, json);
    }
    if inputs.is_empty() {
        return Err(Failure::usage("none of the files can be used"));
    }
    let sink = Sink::new(args.out.clone(), &inputs, &operations)?;
    let total = inputs.iter().map(|input| input.size).sum::<u64>() * operations.len() as u64;
    let progress = Progress::new(total, args.events, json);
    let plan = Arc::new(Plan {
        inputs,
        chunk,
        progress,
        sink,
    });

    let fallback = if args.no_local {
        LocalFallback::Never {
            patience: args.patience,
        }
    } else {
        LocalFallback::WhenAlone {
            patience: args.patience,
        }
    };
    let mut stop = StopSignal::listen()?;
    let node = meet::submitter(&args.meet, fallback)?;
    let outcome = tokio::select! {
        outcome = work(&node, &plan, &operations, !args.no_verify) => Some(outcome),
        () = stop.next() => None,
    };
    plan.progress.clear();
    node.stop().await;
    let Some(outcome) = outcome else {
        output::note("interrupted: the node has been stopped, nothing is left running");
        return Ok(());
    };
    let report = outcome?;
    report.print(json);
    match report.failure() {
        Some(failure) => Err(failure),
        None if unusable.is_empty() => Ok(()),
        None => Err(Failure::usage(format!(
            "{} of {} files could not be used",
            unusable.len(),
            args.files.len()
        ))),
    }
}

async fn work(
    node: &NodeKernel,
    plan: &Arc<Plan>,
    operations: &[Operation],
    verify: bool,
) -> Result<Report, Failure> {
    node.start().await.map_err(meet::start_failure)?;
    let begun = Instant::now();
    let jobs = operations
        .iter()
        .map(|operation| run_operation(node, plan, *operation));
    let done = tokio::select! {
        done = futures::future::try_join_all(jobs) => done.map_err(Failure::run)?,
        never = plan.progress.keep_reporting() => match never {},
    };
    let mut report = Report::new(begun.elapsed().as_secs_f64());
    plan.progress.clear();
    for (files, shares) in done {
        report.add(files, &shares);
    }
    if verify {
        reference::verify(&mut report).await;
    }
    Ok(report)
}

async fn run_operation(
    node: &NodeKernel,
    plan: &Arc<Plan>,
    operation: Operation,
) -> Result<(FileResults, BTreeMap<Host, HostShare>), RunError> {
    let (sender, mut results) = node.submit(operation.into())?.split();
    plan.progress.watch(results.watch());
    let files = if operation.is_chained() {
        chain::run(plan, operation, sender, &mut results).await?
    } else {
        chunks::run(plan, operation, sender, &mut results).await?
    };
    Ok((files, results.shares()))
}

/// The operations, with the immediate for those that take one.
fn operations(args: &RunArgs) -> Result<Vec<Operation>, Failure> {
    let parse = |name: &String| match Operation::parse(name, args.imm) {
        Err(OperationError::UnexpectedImmediate { .. }) => Operation::parse(name, None),
        parsed => parsed,
    };
    let operations: Vec<_> = args
        .operations
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(Failure::usage)?;
    if args.imm.is_some()
        && operations
            .iter()
            .all(|operation| operation.immediate().is_none())
    {
        return Err(Failure::usage(format!(
            "--imm: {} takes no immediate; leave it out",
            operations[0].name()
        )));
    }
    for (place, operation) in operations.iter().enumerate() {
        if operations[..place].contains(operation) {
            return Err(Failure::usage(format!("--op {operation} is given twice")));
        }
    }
    Ok(operations)
}

fn chunk_size(size: u64) -> Result<usize, Failure> {
    match usize::try_from(size) {
        Ok(chunk @ 1..=MAX_TASK_INPUT) => Ok(chunk),
        _ => Err(Failure::usage(format!(
            "--chunk {}: a task has 1 byte to {}",
            output::bytes(size),
            output::bytes(MAX_TASK_INPUT as u64)
        ))),
    }
}

#[derive(Serialize)]
struct JsonUnusable<'a> {
    file: std::borrow::Cow<'a, str>,
    field: &'static str,
    error: &'a str,
}

fn print_unusable(input: &Unusable, json: bool) {
    if json {
        let file = input.path.to_string_lossy();
        output::json(&JsonUnusable {
            file,
            field: "file",
            error: &input.error,
        });
    } else {
        output::note(&format!("{}: {}", input.path.display(), input.error));
    }
}
