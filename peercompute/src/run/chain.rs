//! Operations whose chunks start from the result of the one before: one task of a file at a time, several files side by side.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use peercompute_compute::{Combiner, Operation};
use peercompute_kernel::{JobResults, JobSender, NewTask, Outcome, TaskId};
use tokio::sync::mpsc;

use super::{
    FileResults, Plan, RunError, input,
    ledger::Ledger,
    reference::{self, Summary},
    report::{FileResult, Lack},
};

/// Files that are worked on at the same time.
const CHAINS: usize = 64;

/// One file on its way.
struct Chain {
    file: usize,
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    combiner: Combiner,
    /// The length of the piece that is out.
    length: u64,
}

struct Chains<'a> {
    plan: &'a Plan,
    operation: Operation,
    sender: JobSender,
    out: HashMap<TaskId, Chain>,
    ended: Vec<Option<Ended>>,
    ledger: Ledger,
}

/// A file that is done with.
struct Ended {
    combiner: Combiner,
    failure: Option<Lack>,
}

pub(super) async fn run(
    plan: &Arc<Plan>,
    operation: Operation,
    sender: JobSender,
    results: &mut JobResults,
) -> Result<FileResults, RunError> {
    let mut chains = Chains {
        plan,
        operation,
        sender,
        out: HashMap::with_capacity(CHAINS),
        ended: plan.inputs.iter().map(|_| None).collect(),
        ledger: Ledger::new(plan.inputs.len()),
    };
    let mut waiting = 0..plan.inputs.len();
    let mut outcomes = Vec::new();
    loop {
        while chains.out.len() < CHAINS {
            let Some(file) = waiting.next() else { break };
            chains.start(file).await?;
        }
        if chains.out.is_empty() {
            break;
        }
        results.next_batch(&mut outcomes).await?;
        for outcome in outcomes.drain(..) {
            chains.take(outcome).await?;
        }
    }
    let Chains {
        sender,
        ended,
        ledger,
        ..
    } = chains;
    sender.finish();
    results.next_batch(&mut outcomes).await?;
    Ok(plan
        .inputs
        .iter()
        .zip(ended)
        .zip(ledger.finish())
        .map(|((input, ended), given)| {
            let Ended { combiner, failure } = ended.expect("every chain has run to its end");
            let digest = combiner.digest();
            let summary = Summary {
                bytes: combiner.bytes(),
                number: digest.map_or(0, reference::number),
            };
            FileResult::new(input, operation, summary, digest, failure, given)
        })
        .collect())
}

impl Chains<'_> {
    async fn start(&mut self, file: usize) -> Result<(), RunError> {
        let pieces = input::pieces(&self.plan.inputs[file].path, self.plan.chunk);
        let combiner = Combiner::new(self.operation);
        self.go_on(Chain {
            file,
            pieces,
            combiner,
            length: 0,
        })
        .await
    }

    /// Sends the chain's next piece out, or ends the chain.
    async fn go_on(&mut self, mut chain: Chain) -> Result<(), RunError> {
        match chain.pieces.recv().await {
            Some(Ok(input)) => {
                chain.length = input.len() as u64;
                let task = NewTask {
                    state: chain.combiner.next_state(),
                    input,
                };
                let id = self
                    .sender
                    .push(vec![task])
                    .await?
                    .expect("one task was pushed");
                self.out.insert(id, chain);
            }
            Some(Err(failure)) => self.end(chain, Some(failure.into())),
            None => self.end(chain, None),
        }
        Ok(())
    }

    async fn take(&mut self, outcome: Outcome) -> Result<(), RunError> {
        let mut chain = self
            .out
            .remove(&outcome.task)
            .expect("only chains push tasks");
        self.plan.progress.advance(chain.length);
        if self.plan.verify {
            let value = outcome.result.as_ref().ok();
            let number =
                value.and_then(|it| reference::number_of_value(self.operation, chain.length, it));
            self.ledger.note(chain.file, outcome.host, number);
        }
        let pushed = match outcome.result {
            Ok(value) => chain.combiner.push(chain.length, value).map_err(Lack::from),
            Err(failure) => Err(failure.into()),
        };
        match pushed {
            Ok(_) => self.go_on(chain).await,
            Err(failure) => {
                self.end(chain, Some(failure));
                Ok(())
            }
        }
    }

    fn end(&mut self, chain: Chain, failure: Option<Lack>) {
        let combiner = chain.combiner;
        self.ended[chain.file] = Some(Ended { combiner, failure });
    }
}
