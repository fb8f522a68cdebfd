//! Operations whose chunks are independent: all of a file's tasks may be under way at once.

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use peercompute_compute::{Combiner, Operation};
use peercompute_kernel::{Host, JobResults, JobSender, NewTask};

use super::{
    FileResults, Plan, RunError, input,
    ledger::Ledger,
    order::Order,
    reference::{self, Summary},
    report::{FileResult, Lack},
    window::Window,
};

/// What became of one task, or why its file has no result, and who says so.
type Value = (Option<Host>, Result<Bytes, Lack>);

/// The file that tasks belong to, in the order they were pushed.
struct Piece {
    file: usize,
    length: u64,
}

struct State {
    pieces: VecDeque<Piece>,
    order: Order<Value>,
    files: Vec<FileState>,
    ledger: Ledger,
    /// The operation, if its results are checked.
    checked: Option<Operation>,
}

struct FileState {
    combiner: Combiner,
    /// The CRC of the output so far, where it is checked.
    output: Combiner,
    failure: Option<Lack>,
}

pub(super) async fn run(
    plan: &Arc<Plan>,
    operation: Operation,
    sender: JobSender,
    results: &mut JobResults,
) -> Result<FileResults, RunError> {
    let new = || FileState {
        combiner: Combiner::new(operation),
        output: Combiner::new(Operation::Crc32c),
        failure: None,
    };
    let state = RefCell::new(State {
        pieces: VecDeque::new(),
        order: Order::new(0),
        files: plan.inputs.iter().map(|_| new()).collect(),
        ledger: Ledger::new(plan.inputs.len()),
        checked: plan.verify.then_some(operation),
    });
    let window = Window::default();
    tokio::try_join!(
        feed(plan, sender, &state, &window),
        collect(plan, operation, results, &state, &window)
    )?;
    let State { files, ledger, .. } = state.into_inner();
    Ok(plan
        .inputs
        .iter()
        .zip(files)
        .zip(ledger.finish())
        .map(|((input, file), given)| {
            let digest = file.combiner.digest();
            let number = digest.or(file.output.digest()).map_or(0, reference::number);
            let summary = Summary {
                bytes: file.combiner.bytes(),
                number,
            };
            FileResult::new(input, operation, summary, digest, file.failure, given)
        })
        .collect())
}

async fn feed(
    plan: &Arc<Plan>,
    mut sender: JobSender,
    state: &RefCell<State>,
    window: &Window,
) -> Result<(), RunError> {
    for (file, input) in plan.inputs.iter().enumerate() {
        let mut pieces = input::pieces(&input.path, plan.chunk);
        while let Some(piece) = pieces.recv().await {
            match piece {
                Ok(input) => {
                    window.enter().await;
                    let length = input.len() as u64;
                    // Known before the task is pushed, so that its result finds it.
                    state.borrow_mut().pieces.push_back(Piece { file, length });
                    sender.push(vec![NewTask { state: None, input }]).await?;
                }
                Err(error) => state.borrow_mut().files[file].failure = Some(error.into()),
            }
        }
    }
    sender.finish();
    Ok(())
}

async fn collect(
    plan: &Arc<Plan>,
    operation: Operation,
    results: &mut JobResults,
    state: &RefCell<State>,
    window: &Window,
) -> Result<(), RunError> {
    let mut outcomes = Vec::new();
    while results.next_batch(&mut outcomes).await? {
        for outcome in outcomes.drain(..) {
            let value = outcome.result.map_err(Lack::from);
            window.hold(value.as_ref().map_or(0, Bytes::len));
            let (task, value) = (outcome.task.as_u64(), (outcome.host, value));
            state.borrow_mut().order.put(task, value);
        }
        loop {
            let Some((value, file, length, output)) = state.borrow_mut().next() else {
                break;
            };
            plan.progress.advance(length);
            if !output.is_empty() {
                plan.sink
                    .write(&plan.inputs[file], operation, output)
                    .await?;
            }
            window.leave(value);
        }
    }
    Ok(())
}

impl State {
    /// The next piece in order whose result is there: how long that is, and what it adds to its file's output.
    fn next(&mut self) -> Option<(usize, usize, u64, Bytes)> {
        let (host, value) = self.order.pop()?;
        let size = value.as_ref().map_or(0, Bytes::len);
        let Piece { file, length } = self
            .pieces
            .pop_front()
            .expect("every task was noted before it was pushed");
        let number = self.checked.and_then(|operation| {
            let number = value
                .as_ref()
                .ok()
                .and_then(|value| reference::number_of_value(operation, length, value));
            self.ledger.note(file, host, number);
            number
        });
        let state = &mut self.files[file];
        let pushed = match (&state.failure, value) {
            (Some(_), _) => Ok(Bytes::new()),
            (None, Ok(value)) => state.combiner.push(length, value).map_err(Lack::from),
            (None, Err(failure)) => Err(failure),
        };
        let output = pushed.unwrap_or_else(|failure| {
            state.failure = Some(failure);
            Bytes::new()
        });
        if let (Some(number), false) = (number, output.is_empty()) {
            reference::append_crc(&mut state.output, length, number);
        }
        Some((size, file, length, output))
    }
}
