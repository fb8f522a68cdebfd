//! `peercompute run --wasm` and `--wgsl`: a program of the user's own, one task for each input.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use peercompute_compute::ProgramHash;
use peercompute_kernel::{Host, JobError, JobSender, NewTask, NodeKernel, Outcome, TaskId};
use peercompute_proto::{
    limits::{MAX_MODULE, MAX_SHADER, MAX_TASK_INPUT},
    v1::{Program, TaskLimits, TaskSpec, WgslProgram, program},
};
use serde::Serialize;

use crate::{
    cli::{ProgramArgs, RunArgs},
    failure::Failure,
    output,
};

/// What is read from standard input is named so.
const STANDARD_INPUT: &str = "-";

/// What all tasks run, and what each works on.
pub(super) struct Work {
    spec: TaskSpec,
    program: Bytes,
    inputs: Vec<PathBuf>,
    out: Option<PathBuf>,
}

/// One task as programs are told of it.
#[derive(Serialize)]
struct TaskReport<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Work {
    /// The program that the arguments name, if they name one.
    pub(super) fn new(args: &RunArgs, json: bool) -> Result<Option<Self>, Failure> {
        let given = &args.program;
        let (path, field, most) = match (&given.wasm, &given.wgsl) {
            (Some(wasm), _) => (wasm, "wasm", MAX_MODULE),
            (None, Some(wgsl)) => (wgsl, "wgsl", MAX_SHADER),
            (None, None) => return Ok(None),
        };
        if json && args.out.is_none() {
            return Err(Failure::usage(
                "--json and task output cannot share standard output; add --out DIR",
            ));
        }
        if let Some(out) = args.out.as_deref().filter(|out| !out.is_dir()) {
            return Err(Failure::usage(format!(
                "--out {}: is not a directory; make it first",
                output::name(out)
            )));
        }
        let program = read(path, most).map_err(|error| unusable(path, field, &error))?;
        let hash = ProgramHash::of(&program);
        let size = program.len() as u64;
        let program_spec = match field {
            "wasm" => hash.wasm(size),
            _ => wgsl(given, hash, size)?,
        };
        let limits = TaskLimits {
            max_output_bytes: given.max_output.unwrap_or(0),
            deadline_ms: given.deadline.map_or(0, |deadline| {
                u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)
            }),
            memory_bytes: given.memory.unwrap_or(0),
            fuel: given.fuel.unwrap_or(0),
        };
        check_names(&given.input, args.out.as_deref())?;
        Ok(Some(Self {
            spec: TaskSpec {
                program: Some(program_spec),
                limits: Some(limits),
            },
            program,
            inputs: given.input.clone(),
            out: args.out.clone(),
        }))
    }

    /// Runs all tasks. Gives how many have failed.
    pub(super) async fn run(&self, node: &NodeKernel, json: bool) -> Result<usize, WorkError> {
        node.add_program(self.program.clone());
        let (sender, mut results) = node
            .submit(self.spec.clone())
            .map_err(|error| WorkError::from(Failure::run(error)))?
            .split();
        // What the tasks are called, in the order of the inputs.
        let order = RefCell::new(Vec::new());
        let push = async {
            match self.push_all(sender, &order).await {
                // Its results say why it has ended.
                Err(PushFailure::Ended) => Ok(()),
                Err(PushFailure::Input(failure)) => Err(WorkError::from(failure)),
                Ok(()) => Ok(()),
            }
        };
        let take = async {
            let mut waiting = BTreeMap::new();
            let (mut next, mut failed) = (0_usize, 0);
            let mut batch = Vec::new();
            while results
                .next_batch(&mut batch)
                .await
                .map_err(|error| match error {
                    JobError::NoWorkers => WorkError::Alone(error),
                    JobError::Unsupported { message } => Failure::run(message).into(),
                    other => Failure::run(other).into(),
                })?
            {
                for outcome in batch.drain(..) {
                    waiting.insert(outcome.task, outcome);
                }
                // In the order of the inputs, as a pipe wants it.
                while let Some(outcome) = order
                    .borrow()
                    .get(next)
                    .and_then(|task| waiting.remove(task))
                {
                    failed += usize::from(outcome.result.is_err());
                    self.tell(next, &outcome, json)?;
                    next += 1;
                }
            }
            Ok(failed)
        };
        let ((), failed) = futures::future::try_join(push, take).await?;
        Ok(failed)
    }

    async fn push_all(
        &self,
        mut sender: JobSender,
        order: &RefCell<Vec<TaskId>>,
    ) -> Result<(), PushFailure> {
        let none = [PathBuf::new()];
        let inputs = match self.inputs.as_slice() {
            [] => &none,
            inputs => inputs,
        };
        for path in inputs {
            let input = read_input(path).await.map_err(|error| {
                let failure = unusable(path, "input", &error);
                PushFailure::Input(failure)
            })?;
            let pushed = sender.push(vec![NewTask { state: None, input }]).await;
            let task = pushed.map_err(|_| PushFailure::Ended)?;
            order.borrow_mut().extend(task);
        }
        Ok(())
    }

    fn tell(&self, index: usize, outcome: &Outcome, json: bool) -> Result<(), Failure> {
        let input = self.inputs.get(index);
        let name = input.map(|path| output::json_name(path));
        let mut report = TaskReport {
            input: name.as_deref(),
            output: None,
            bytes: None,
            node: outcome.host.as_ref().map(Host::to_string),
            seconds: outcome.run.as_secs_f64(),
            reason: None,
            error: None,
        };
        match &outcome.result {
            Ok(value) => {
                let written = self.write(input.map(PathBuf::as_path), value)?;
                report.output = written.map(|path| output::json_name(&path).into_owned());
                report.bytes = Some(value.len());
                if json { output::json(&report) } else { Ok(()) }
            }
            Err(failure) => {
                let about = name.as_deref().map(|name| format!("{name}: "));
                let about = about.unwrap_or_default();
                output::note(&format!("error: {about}{}", failure.message));
                report.reason = Some(failure.reason.to_string());
                report.error = Some(&failure.message);
                if json { output::json(&report) } else { Ok(()) }
            }
        }
    }

    fn write(&self, input: Option<&Path>, value: &[u8]) -> Result<Option<PathBuf>, Failure> {
        let Some(out) = &self.out else {
            let mut stdout = io::stdout().lock();
            return match stdout.write_all(value).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run(
                    format!("standard output: cannot be written: {error}"),
                )),
                _ => Ok(None),
            };
        };
        let path = out.join(out_name(input));
        let cannot = |error| {
            let name = output::name(&path);
            Failure::run(format!("{name}: cannot be written: {error}"))
        };
        // It is there as a whole or not at all.
        let mut part = tempfile::NamedTempFile::new_in(out).map_err(cannot)?;
        part.write_all(value).map_err(cannot)?;
        part.persist(&path).map_err(|error| cannot(error.error))?;
        Ok(Some(path))
    }
}

/// Why not all tasks have ended.
pub(super) enum WorkError {
    /// Nobody is there to run them.
    Alone(JobError),
    Failed(Failure),
}

impl From<Failure> for WorkError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

enum PushFailure {
    Ended,
    Input(Failure),
}

/// What a task's output is called: its input's name with `.out` behind it.
fn out_name(input: Option<&Path>) -> PathBuf {
    let input = input.filter(|input| input.as_os_str() != STANDARD_INPUT);
    let name = input.and_then(Path::file_name);
    let mut name = name.unwrap_or("output".as_ref()).to_owned();
    name.push(".out");
    name.into()
}

fn check_names(inputs: &[PathBuf], out: Option<&Path>) -> Result<(), Failure> {
    let stdin = inputs.iter().filter(|it| it.as_os_str() == STANDARD_INPUT);
    if stdin.count() > 1 {
        return Err(Failure::usage("--input -: standard input is there once"));
    }
    if out.is_none() {
        return Ok(());
    }
    let mut names = BTreeMap::new();
    for input in inputs {
        if names.insert(out_name(Some(input)), input).is_some() {
            return Err(Failure::usage(format!(
                "two inputs would both be written to {}; run them apart",
                output::name(&out_name(Some(input)))
            ))
            .about(input, "out"));
        }
    }
    Ok(())
}

fn wgsl(given: &ProgramArgs, hash: ProgramHash, size: u64) -> Result<Program, Failure> {
    let uniforms = match &given.uniforms {
        Some(path) => read(path, peercompute_proto::limits::MAX_UNIFORMS)
            .map_err(|error| unusable(path, "uniforms", &error))?,
        None => Bytes::new(),
    };
    let groups = given.workgroups;
    let wgsl = WgslProgram {
        hash: Bytes::copy_from_slice(hash.as_bytes()),
        size,
        entry_point: given.entry.clone(),
        workgroups_x: groups[0],
        workgroups_y: groups[1],
        workgroups_z: groups[2],
        output_bytes: given.output_bytes.unwrap_or(0),
        uniforms,
    };
    Ok(Program {
        program: Some(program::Program::Wgsl(wgsl)),
    })
}

fn unusable(path: &Path, field: &'static str, error: &str) -> Failure {
    Failure::usage(format!("--{field} {}: {error}", output::name(path))).about(path, field)
}

/// The input of one task; nothing where no file is named.
async fn read_input(path: &Path) -> Result<Bytes, String> {
    if path.as_os_str().is_empty() {
        return Ok(Bytes::new());
    }
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        if path.as_os_str() == STANDARD_INPUT {
            bounded(io::stdin().lock(), MAX_TASK_INPUT)
        } else {
            read(&path, MAX_TASK_INPUT)
        }
    });
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Reads a file that may not be longer than `most` bytes.
fn read(path: &Path, most: usize) -> Result<Bytes, String> {
    let cannot = |error| format!("cannot be opened: {error}");
    // Before it is opened, which for a pipe that nobody writes to would never end.
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err("is a directory; name the file".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a regular file; copy it to a file first".to_owned());
    }
    bounded(fs::File::open(path).map_err(cannot)?, most)
}

fn bounded(source: impl io::Read, most: usize) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    let read = source.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > most {
        let most = output::bytes(most as u64);
        return Err(format!("is too long; {most} are the most"));
    }
    Ok(bytes.into())
}
