//! Jobs of the page.

use bytes::Bytes;
use js_sys::{Array, Function, Uint8Array};
use peercompute_compute::{Limits, Matmul, Operation};
use peercompute_kernel::{Job, JobError, NewTask, NodeKernel, Outcome};
use peercompute_proto::v1;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::object::{Given, bytes, error, invalid, object, optional};

/// Opens a job of what `task` names: an `operation`, or a `module`.
pub(crate) fn open(kernel: &NodeKernel, task: Given<'_>) -> Result<Job, JsValue> {
    let program = match (task.text("operation")?, task.bytes("module")?) {
        (Some(name), None) if name == Matmul::NAME => Matmul.into(),
        (Some(name), None) => name.parse::<Operation>().map_err(invalid)?.into(),
        (None, Some(module)) => {
            let module = Bytes::from(module);
            let size = module.len() as u64;
            kernel.add_program(module).wasm(size)
        }
        _ => {
            return Err(invalid(
                "a task names either an operation or a module; give one of them",
            ));
        }
    };
    let limits = limits(task)?;
    let spec = v1::TaskSpec {
        program: Some(program),
        limits: Some(limits),
    };
    kernel
        .submit(spec)
        .map_err(|refusal| error("NOT_SUBMITTED", refusal))
}

fn limits(task: Given<'_>) -> Result<v1::TaskLimits, JsValue> {
    let limit = |name: &str| match task.count(name)? {
        Some(0) => Err(invalid(format!("{name} is 0, which nothing could keep"))),
        limit => Ok(limit.unwrap_or(0)),
    };
    let mut limits = Limits::none().to_wire().map_err(invalid)?;
    limits.max_output_bytes = limit("maxOutputBytes")?;
    limits.deadline_ms = limit("deadlineMs")?;
    limits.memory_bytes = limit("memoryBytes")?;
    limits.fuel = limit("fuel")?;
    Ok(limits)
}

/// Gives all of `inputs` to the job, and each result to `on_result` with the index of its input, as it comes.
pub(crate) async fn run(job: Job, inputs: Array, on_result: Function) -> Result<(), JsValue> {
    let (mut sender, mut results) = job.split();
    let push = async move {
        for input in inputs.iter() {
            let input = input.dyn_ref::<Uint8Array>();
            let input = input.ok_or_else(|| invalid("an input is not a Uint8Array"))?;
            let task = NewTask {
                state: None,
                input: input.to_vec().into(),
            };
            let pushed = sender.push(vec![task]).await;
            pushed.map_err(|refusal| error("NOT_SUBMITTED", refusal))?;
        }
        sender.finish();
        Ok::<(), JsValue>(())
    };
    let collect = async {
        let mut batch = Vec::new();
        while results.next_batch(&mut batch).await.map_err(ended)? {
            for outcome in batch.drain(..) {
                on_result.call1(&JsValue::NULL, &result(outcome))?;
            }
        }
        Ok(())
    };
    futures::future::try_join(push, collect).await?;
    Ok(())
}

fn ended(end: JobError) -> JsValue {
    error("JOB_ENDED", end)
}

fn result(outcome: Outcome) -> JsValue {
    let host = outcome.host.map(|host| host.to_string());
    let (output, failure) = match outcome.result {
        Ok(output) => (bytes(&output), None),
        Err(failure) => (JsValue::UNDEFINED, Some(failure)),
    };
    let reason = failure.as_ref().map(|it| format!("{:?}", it.reason));
    object([
        ("index", (outcome.task.as_u64() as f64).into()),
        ("output", output),
        ("reason", optional(reason)),
        ("message", optional(failure.map(|it| it.message))),
        ("host", optional(host)),
        ("runMs", (outcome.run.as_secs_f64() * 1e3).into()),
    ])
}
