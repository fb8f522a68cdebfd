//! `peercompute run --wasm` and `--wgsl`: a program of the user's own over inputs, one task for each or for each piece of one.

mod cut;
mod map;
mod outputs;
mod reduce;
mod target;

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, Metadata},
    io::Read as _,
    path::{Path, PathBuf},
    time::Instant,
};

use bytes::Bytes;
use peercompute_compute::{DEFAULT_MEMORY, ModuleError, ProgramHash, WasmExecutor};
use peercompute_gpu::wgsl::{self, SHADER_STACK, WgslLimits};
use peercompute_kernel::{JobError, JobResults, JobSender, NodeKernel};
use peercompute_proto::{
    limits::{MAX_MODULE, MAX_SHADER, MAX_TASK_INPUT},
    v1::{Program, TaskLimits, TaskSpec, WgslProgram, program},
};
use tokio::sync::mpsc;

use self::{
    cut::{Cut, CutError},
    map::Taker,
    outputs::Outputs,
    reduce::{ReduceReport, Reducer},
};
use super::{
    Done,
    input::{FileId, Unusable},
    print_unusable,
};
use crate::{
    cli::{ProgramArgs, RunArgs, Split},
    failure::Failure,
    output,
};
pub(super) use target::Target;

/// What is read from standard input is named so.
pub(super) const STANDARD_INPUT: &str = "-";

/// What all tasks run, and what they work on.
pub(super) struct Work {
    spec: TaskSpec,
    program: Bytes,
    /// One without a name if none was given.
    inputs: Vec<PathBuf>,
    /// Inputs that were given and are not among them.
    unusable: usize,
    cut: Cut,
    reducer: Option<Reducer>,
    out: Option<PathBuf>,
}

impl Work {
    /// The program that the arguments name, if they name one. Nothing has been sent or started then, and a file that cannot be used has been refused.
    pub(super) fn new(args: &RunArgs, json: bool) -> Result<Option<Self>, Failure> {
        let given = &args.program;
        let (path, field) = match (&given.wasm, &given.wgsl) {
            (Some(wasm), _) => (wasm, "wasm"),
            (None, Some(wgsl)) => (wgsl, "wgsl"),
            (None, None) => return Ok(None),
        };
        if json && args.out.is_none() {
            return Err(Failure::usage(
                "--json and task output cannot share standard output; add --out DIR",
            ));
        }
        args.out.as_deref().map_or(Ok(()), check_directory)?;
        let (program, program_spec) = match field {
            "wasm" => module(path, field, given.memory)?,
            _ => shader(path, given)?,
        };
        let cut = match (args.chunk, given.split) {
            (None, _) => Cut::Whole,
            (Some(chunk), Split::Bytes) => Cut::Bytes(chunk),
            (Some(chunk), Split::Lines) => Cut::Lines(chunk),
        };
        let inputs = usable_inputs(given, cut, json)?;
        let unusable = given.input.len() - inputs.len();
        let limits = limits(given);
        let reducer = given.reduce.as_ref().map(|path| {
            let (program, spec) = module(path, "reduce", given.memory)?;
            Ok(Reducer {
                path: path.clone(),
                program,
                spec: TaskSpec {
                    program: Some(spec),
                    limits: Some(limits),
                },
            })
        });
        let reducer = reducer.transpose()?;
        if let Some(out) = args.out.as_deref() {
            check_names(given, &inputs, out)?;
        }
        let inputs = match inputs.as_slice() {
            [] => vec![PathBuf::new()],
            _ => inputs,
        };
        Ok(Some(Self {
            spec: TaskSpec {
                program: Some(program_spec),
                limits: Some(limits),
            },
            program,
            inputs,
            unusable,
            cut,
            reducer,
            out: args.out.clone(),
        }))
    }

    /// Runs all tasks.
    pub(super) async fn run(&self, node: &NodeKernel, json: bool) -> Result<Done, WorkError> {
        let begun = Instant::now();
        let (sender, results) = submit(node, &self.program, &self.spec)?;
        let Some(reducer) = &self.reducer else {
            let mut outputs = Outputs::new(self, json);
            let mut taker = Taker::Outputs(&mut outputs);
            let (_, shares) = map::run(self, sender, results, &mut taker).await?;
            return Ok(Done {
                shares,
                seconds: begun.elapsed().as_secs_f64(),
                verified: None,
                failed: outputs.failed(),
                unusable: self.unusable + outputs.unusable(),
            });
        };
        let (reduce_sender, reduce_results) = submit(node, &reducer.program, &reducer.spec)?;
        let (parts, all_parts) = mpsc::channel(reduce::PARTS);
        let map = async {
            // Dropped at the end, which says that there are no more.
            let mut taker = Taker::Parts(parts);
            map::run(self, sender, results, &mut taker).await
        };
        let reduce = reduce::run(reducer, reduce_sender, reduce_results, all_parts);
        let ((tasks, mut shares), (value, reductions, more)) =
            futures::future::try_join(map, reduce).await?;
        shares.add(&more);
        let seconds = begun.elapsed().as_secs_f64();
        let bytes = value.len();
        let mut target = Target::new(self.out.as_deref(), reduce::NAME.as_ref()).await?;
        target.append(value).await?;
        let written = target.finish()?;
        if json {
            output::json(&ReduceReport {
                output: written.map(|path| output::json_name(&path).into_owned()),
                bytes,
                tasks,
                reductions,
                seconds: output::seconds(seconds),
                shares: shares.to_json(),
            })?;
        }
        Ok(Done {
            shares,
            seconds,
            verified: None,
            failed: 0,
            unusable: 0,
        })
    }

    fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }

    /// The file that an input is, if it is named.
    fn path(&self, input: usize) -> Option<&Path> {
        let path = self.inputs()[input].as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }

    /// What people call it.
    fn name(&self, input: usize) -> Option<String> {
        self.path(input).map(output::name)
    }
}

fn submit(
    node: &NodeKernel,
    program: &Bytes,
    spec: &TaskSpec,
) -> Result<(JobSender, JobResults), WorkError> {
    node.add_program(program.clone());
    let job = node.submit(spec.clone()).map_err(Failure::run)?;
    Ok(job.split())
}

fn limits(given: &ProgramArgs) -> TaskLimits {
    TaskLimits {
        max_output_bytes: given.max_output.unwrap_or(0),
        deadline_ms: given.deadline.map_or(0, |deadline| {
            u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)
        }),
        memory_bytes: given.memory.unwrap_or(0),
        fuel: given.fuel.unwrap_or(0),
    }
}

/// Why not all tasks have ended.
pub(super) enum WorkError {
    /// Nobody is there to run them.
    Alone(JobError),
    /// Whoever read the output has had enough of it.
    Unwanted,
    Failed(Failure),
}

impl From<Failure> for WorkError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

pub(super) fn job_failure(error: JobError) -> WorkError {
    match error {
        JobError::NoWorkers => WorkError::Alone(error),
        JobError::Unsupported { message } => Failure::run(message).into(),
        other => Failure::run(other).into(),
    }
}

/// A module that the front door of those who run modules lets in, and for which that much memory is enough to begin with.
fn module(
    path: &Path,
    field: &'static str,
    memory: Option<u64>,
) -> Result<(Bytes, Program), Failure> {
    let module = read(path, MAX_MODULE).map_err(|error| unusable(path, field, &error))?;
    let refused = |error: ModuleError| unusable(path, field, &error.to_string());
    let needed = WasmExecutor::check(&module).map_err(refused)?;
    let limit = memory.unwrap_or(DEFAULT_MEMORY);
    if needed > limit {
        return Err(refused(ModuleError::MemoryTooSmall { needed, limit }));
    }
    let spec = ProgramHash::of(&module).wasm(module.len() as u64);
    Ok((module, spec))
}

fn check_shader(text: &str, entry: &str) -> Result<(), String> {
    std::thread::scope(|scope| {
        let check = || wgsl::check(text, entry, &WgslLimits::new()).map(drop);
        let thread = std::thread::Builder::new().stack_size(SHADER_STACK);
        let checked = thread.spawn_scoped(scope, check);
        let checked = checked.map_err(|error| format!("cannot be looked at: {error}"))?;
        match checked.join() {
            Ok(checked) => checked.map_err(|error| error.to_string()),
            Err(_) => Err("cannot be looked at: the compiler panicked on it".to_owned()),
        }
    })
}

/// A shader that the front door of those who run shaders lets in.
fn shader(path: &Path, given: &ProgramArgs) -> Result<(Bytes, Program), Failure> {
    let refused = |error: String| unusable(path, "wgsl", &error);
    let shader = read(path, MAX_SHADER).map_err(refused)?;
    if shader.starts_with(b"\0asm") {
        return Err(refused(
            "is a WebAssembly module; did you mean --wasm?".to_owned(),
        ));
    }
    let text = std::str::from_utf8(&shader)
        .map_err(|error| refused(format!("is no text in UTF-8: {error}")))?;
    check_shader(text, &given.entry).map_err(refused)?;
    let uniforms = match &given.uniforms {
        Some(path) => read(path, peercompute_proto::limits::MAX_UNIFORMS)
            .map_err(|error| unusable(path, "uniforms", &error))?,
        None => Bytes::new(),
    };
    let groups = given.workgroups;
    let wgsl = WgslProgram {
        hash: Bytes::copy_from_slice(ProgramHash::of(&shader).as_bytes()),
        size: shader.len() as u64,
        entry_point: given.entry.clone(),
        workgroups_x: groups[0],
        workgroups_y: groups[1],
        workgroups_z: groups[2],
        output_bytes: given.output_bytes.unwrap_or(0),
        uniforms,
    };
    let spec = Program {
        program: Some(program::Program::Wgsl(wgsl)),
    };
    Ok((shader, spec))
}

/// What a task's output is called: its input's name with `.out` behind it.
fn out_name(input: Option<&Path>) -> PathBuf {
    let input = input.filter(|input| input.as_os_str() != STANDARD_INPUT);
    let name = input.and_then(Path::file_name);
    let mut name = name.unwrap_or("output".as_ref()).to_owned();
    name.push(".out");
    name.into()
}

/// The inputs that can be read, and that before the first of them is: the last one may come after hours. The others do not keep them from being worked on, unless all are to
/// be combined into one.
fn usable_inputs(given: &ProgramArgs, cut: Cut, json: bool) -> Result<Vec<PathBuf>, Failure> {
    let is_stdin = |input: &PathBuf| input.as_os_str() == STANDARD_INPUT;
    if given.input.iter().filter(|input| is_stdin(input)).count() > 1 {
        return Err(Failure::usage("--input -: standard input is there once"));
    }
    let mut inputs = Vec::new();
    for input in &given.input {
        let checked = match is_stdin(input) {
            true => Ok(()),
            false => check_input(input, cut),
        };
        match checked {
            Ok(()) => inputs.push(input.clone()),
            Err(error) if given.reduce.is_some() => return Err(unusable(input, "input", &error)),
            Err(error) => {
                let path = input.clone();
                print_unusable(&Unusable { path, error }, "input", json)?;
            }
        }
    }
    if inputs.is_empty() && !given.input.is_empty() {
        return Err(Failure::usage("none of the inputs can be used").told());
    }
    Ok(inputs)
}

fn check_input(input: &Path, cut: Cut) -> Result<(), String> {
    let (_, metadata) = regular_file(input)?;
    if cut == Cut::Whole && metadata.len() > MAX_TASK_INPUT as u64 {
        return Err(CutError::TooLong.to_string());
    }
    Ok(())
}

pub(super) fn check_directory(out: &Path) -> Result<(), Failure> {
    let why = match fs::metadata(out) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            format!("cannot be used: {error}")
        }
        _ => "is not a directory; make it first".to_owned(),
    };
    Err(Failure::usage(format!(
        "--out {}: {why}",
        output::name(out)
    )))
}

/// The files of these names, under whatever name.
pub(super) fn ids(files: &[PathBuf]) -> HashSet<FileId> {
    files.iter().filter_map(|file| id(file)).collect()
}

/// Whether a file is there and one of these.
pub(super) fn is_one_of(file: &Path, files: &HashSet<FileId>) -> bool {
    id(file).is_some_and(|id| files.contains(&id))
}

fn id(file: &Path) -> Option<FileId> {
    let metadata = fs::metadata(file).ok()?;
    Some(FileId::of(&metadata))
}

/// Whether every input has an output of its own unless there is one for all, and none of these is a file that is read.
fn check_names(given: &ProgramArgs, inputs: &[PathBuf], out: &Path) -> Result<(), Failure> {
    let is_reduced = given.reduce.is_some();
    let programs = [&given.wasm, &given.wgsl, &given.reduce, &given.uniforms];
    let programs = programs.into_iter().flatten().cloned();
    let read: Vec<PathBuf> = inputs.iter().cloned().chain(programs).collect();
    let ids = ids(&read);
    let mut names = BTreeMap::new();
    for input in inputs {
        let name = match is_reduced {
            true => PathBuf::from(reduce::NAME),
            false => out_name(Some(input)),
        };
        let target = out.join(&name);
        if is_one_of(&target, &ids) {
            return Err(Failure::usage(format!(
                "its output would go to {}, which is an input or a program and would be lost; choose another --out",
                output::name(&target)
            ))
            .at(output::name(input))
            .about(input, "out"));
        }
        if names.insert(name, input).is_some() && !is_reduced {
            return Err(Failure::usage(format!(
                "two inputs would both be written to {}; run them apart",
                output::name(&out_name(Some(input)))
            ))
            .about(input, "out"));
        }
    }
    Ok(())
}

fn unusable(path: &Path, field: &'static str, error: &str) -> Failure {
    Failure::usage(error)
        .at(format_args!("--{field} {}", output::name(path)))
        .about(path, field)
}

/// Reads a file that may not be longer than `most` bytes.
fn read(path: &Path, most: usize) -> Result<Bytes, String> {
    let (file, _) = regular_file(path)?;
    let mut bytes = Vec::new();
    let read = file.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > most {
        let most = output::bytes(most as u64);
        return Err(format!("is too long; {most} are the most"));
    }
    Ok(bytes.into())
}

pub(super) fn regular_file(path: &Path) -> Result<(File, Metadata), String> {
    let cannot = |error| format!("cannot be opened: {error}");
    // Before it is opened, which for a pipe that nobody writes to would never end.
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err("is a directory; name the file".to_owned());
    }
    if !metadata.is_file() {
        return Err(
            "is not a regular file; copy it to a file first, or pipe it into --input -".to_owned(),
        );
    }
    Ok((File::open(path).map_err(cannot)?, metadata))
}
