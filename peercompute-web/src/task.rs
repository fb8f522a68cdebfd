//! Jobs of the page.

use bytes::Bytes;
use js_sys::{Array, Function, Uint8Array};
use peercompute_compute::{Limits, Matmul, Operation};
use peercompute_kernel::{Job, JobError, NewTask, NodeKernel, Outcome};
use peercompute_proto::{
    limits::{MAX_ENTRY_POINT, MAX_SHADER, MAX_TASK_VALUE, MAX_UNIFORMS},
    v1,
};
use wasm_bindgen::{JsCast as _, JsValue};

use crate::object::{Given, bytes, error, invalid, object, optional};

/// Opens a job of what `task` names: an `operation`, a `module`, or a `shader`.
pub(crate) fn open(kernel: &NodeKernel, task: Given<'_>) -> Result<Job, JsValue> {
    let named = (
        task.text("operation")?,
        task.bytes("module")?,
        task.text("shader")?,
    );
    let program = match named {
        (Some(name), None, None) if name == Matmul::NAME => Matmul.into(),
        (Some(name), None, None) => name.parse::<Operation>().map_err(invalid)?.into(),
        (None, Some(module), None) => {
            let module = Bytes::from(module);
            let size = module.len() as u64;
            kernel.add_program(module).wasm(size)
        }
        (None, None, Some(text)) => shader(kernel, text, task)?,
        _ => {
            return Err(invalid(
                "a task names an operation, a module or a shader; give one of them",
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

/// A shader in WGSL with what it is run with.
fn shader(kernel: &NodeKernel, text: String, task: Given<'_>) -> Result<v1::Program, JsValue> {
    let entry_point = task.text("entryPoint")?;
    let entry_point = entry_point.unwrap_or_else(|| "main".to_owned());
    let uniforms = task.bytes("uniforms")?.unwrap_or_default();
    for (what, bytes, most) in [
        ("shader", text.len(), MAX_SHADER),
        ("entryPoint", entry_point.len(), MAX_ENTRY_POINT),
        ("uniforms", uniforms.len(), MAX_UNIFORMS),
    ] {
        if bytes > most {
            return Err(invalid(format!(
                "{what} has {bytes} bytes; at most {most} are possible"
            )));
        }
    }
    let workgroups = task.counts("workgroups")?;
    let [x, y, z] = workgroups.unwrap_or([1; 3]);
    if [x, y, z].contains(&0) {
        return Err(invalid(
            "workgroups has a 0; give at least 1 along each axis",
        ));
    }
    let output_bytes = task.count("outputBytes")?.unwrap_or(0);
    if !(1..=MAX_TASK_VALUE as u64).contains(&output_bytes) {
        return Err(invalid(format!(
            "outputBytes is {output_bytes}; say how long the result is, from 1 to {MAX_TASK_VALUE} bytes"
        )));
    }
    let text = Bytes::from(text);
    let size = text.len() as u64;
    let hash = kernel.add_program(text);
    let wgsl = v1::WgslProgram {
        hash: Bytes::copy_from_slice(hash.as_bytes()),
        size,
        entry_point,
        workgroups_x: x,
        workgroups_y: y,
        workgroups_z: z,
        output_bytes,
        uniforms: uniforms.into(),
    };
    Ok(v1::Program {
        program: Some(v1::program::Program::Wgsl(wgsl)),
    })
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
