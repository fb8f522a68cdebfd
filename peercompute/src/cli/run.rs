//! What `peercompute run` takes.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use peercompute_kernel::{NEIGHBOURS, Topology};

use super::{MeetArgs, neighbours, topology};
use crate::{failure::Failure, output, units};

/// What runs instead of an operation.
const PROGRAMS: [&str; 2] = ["wasm", "wgsl"];

/// What needs no operation: a program, and inputs, which go with one only; [`RunArgs::check`] says so.
const NO_OPERATION: [&str; 3] = ["wasm", "wgsl", "input"];

/// With what the options of a shader do not go.
const NO_SHADER: [&str; 2] = ["wasm", "operations"];

/// Where an input may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Split {
    #[default]
    Bytes,
    Lines,
}

/// A program of the user's own, and what its tasks work on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Programs")]
pub(crate) struct ProgramArgs {
    /// Run a WebAssembly module over each --input.
    ///
    /// It follows the task ABI that the crate peercompute-guest describes, and sees nothing of the machine that it runs on.
    #[arg(long, value_name = "FILE", conflicts_with = "wgsl")]
    pub(crate) wasm: Option<PathBuf>,

    /// Run a compute shader in WGSL over each --input.
    ///
    /// It needs --output-bytes. What it looks like is said below.
    #[arg(long, value_name = "FILE", requires = "output_bytes")]
    pub(crate) wgsl: Option<PathBuf>,

    /// An input; repeatable, - for standard input.
    ///
    /// One task, and 8 MiB at most; with --chunk as long as it may be, and as many tasks as it takes. Without any input there is one task whose input is empty.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "operations")]
    pub(crate) input: Vec<PathBuf>,

    /// Where --chunk may cut an input: bytes or lines.
    ///
    /// bytes: anywhere. lines: only behind the end of a line, so that no line is torn; a task then has as many whole lines as go into --chunk.
    #[arg(
        long,
        value_name = "WHERE",
        value_enum,
        hide_possible_values = true,
        default_value_t,
        requires = "chunk",
        conflicts_with = "operations"
    )]
    pub(crate) split: Split,

    /// Combine the results of all tasks into one with this WebAssembly module.
    ///
    /// Its input is a row of up to 64 results, in order, each with its length in 4 bytes (little endian) in front of it; what it gives is combined further until one is left. Which results
    /// come together depends on how many there are and how long they are, so it must be associative.
    #[arg(long, value_name = "FILE", conflicts_with = "operations")]
    pub(crate) reduce: Option<PathBuf>,

    /// How long a task may run [default: 60s].
    ///
    /// Nodes grant an hour, unless their owners have changed it.
    #[arg(long, value_name = "DURATION", value_parser = units::some_time, conflicts_with = "operations")]
    pub(crate) deadline: Option<Duration>,

    /// How much memory a module may have [default: 64MiB].
    ///
    /// Nodes grant 1GiB. With --wgsl it is the memory of the module that --reduce names.
    #[arg(long, value_name = "SIZE", value_parser = units::some, conflicts_with = "operations")]
    pub(crate) memory: Option<u64>,

    /// How much a module may compute [default: 100000000000].
    ///
    /// About one for each instruction. With --wgsl it is the fuel of the module that --reduce names.
    #[arg(long, value_name = "N", value_parser = units::fuel, conflicts_with = "operations", allow_negative_numbers = true)]
    pub(crate) fuel: Option<u64>,

    /// How long a result may be, at most 8MiB [default: 1MiB].
    #[arg(long, value_name = "SIZE", value_parser = units::value, conflicts_with = "operations")]
    pub(crate) max_output: Option<u64>,

    /// The function of a shader that is started.
    #[arg(long, value_name = "NAME", default_value = "main", conflicts_with_all = NO_SHADER)]
    pub(crate) entry: String,

    /// How many workgroups of a shader run.
    ///
    /// One number for each dimension, 65535 at most; those that are left out are 1.
    #[arg(long, value_name = "X,Y,Z", default_value = "1", value_parser = units::groups, conflicts_with_all = NO_SHADER)]
    pub(crate) workgroups: [u32; 3],

    /// How long the result of a shader is, such as 4KiB; at most 8MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::value, conflicts_with_all = NO_SHADER)]
    pub(crate) output_bytes: Option<u64>,

    /// What all tasks of a shader have in common; at most 4096 bytes.
    #[arg(long, value_name = "FILE", conflicts_with_all = NO_SHADER)]
    pub(crate) uniforms: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Operations: crc32c, fnv64, counteq, xor, add, noop, matmul. `--help` says what
they do.

Examples:
  peercompute run --op crc32c --op fnv64 data/*.bin --relay ADDRESS
  peercompute run --op counteq --imm 10 access.log --peer ADDRESS --json
  peercompute run --op xor --imm 255 picture.raw --out flipped")]
#[command(after_long_help = "\
Operations:
  crc32c   CRC-32C of the file
  fnv64    FNV-1a of 64 bits of the file, a chain: one task after another
  counteq  how many bytes are equal to --imm
  xor      every byte with --imm
  add      --imm to every byte
  noop     nothing
  matmul   the product of two matrices, A.npy B.npy

xor and add write their output to standard output, or with --out DIR to a file
of the same name there, with the operation's name behind it if there are
several. These files are put in place when all is done and found right; what is
there is replaced, except inputs. The other operations have no output to write.

matmul reads files of numpy.save, 32-bit floats row by row, and writes one such
to standard output, or to product.npy in --out DIR. Every bit of it is the same
wherever it is computed.

Programs:
The results of --wasm and --wgsl follow each other on standard output, in the
order of their inputs, with nothing between them; with --out DIR each input has
a file of its own, named after it with .out behind it (output.out for --input -
and where there is no input). --json needs --out. What programs give is not
checked against a pass here, as operations are.

A module follows the task ABI of the crate peercompute-guest. A shader is one in
WGSL with these variables, of any types; all but output may be left out:
  @group(0) @binding(0) var<storage, read> input: array<u32>;
  @group(0) @binding(1) var<storage, read_write> output: array<u32>;
  @group(0) @binding(2) var<uniform> settings: vec4<u32>;

  @compute @workgroup_size(64)
  fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      output[id.x] = input[id.x] * settings.x;
  }
input is the task's, settings are --uniforms, both padded with zeros; output has
--output-bytes, zeros at first, and is the result. A GPU that is software, such
as Mesa's lavapipe, is taken only with PEERCOMPUTE_SOFTWARE_GPU=1 in the
environment, here and at the nodes.

Examples:
  peercompute run --op crc32c --op fnv64 data/*.bin --relay ADDRESS
  peercompute run --op counteq --imm 10 access.log --peer ADDRESS --json
  peercompute run --op xor --imm 255 picture.raw --out flipped
  peercompute run --op matmul a.npy b.npy --out results
  peercompute run --wasm program.wasm --input a.bin b.bin --out results
  peercompute run --wasm word-count.wasm --input big.txt --chunk 1MiB \\
    --split lines --reduce sum.wasm
  peercompute run --wgsl shader.wgsl --workgroups 64 --output-bytes 16KiB \\
    --input a.bin
`cargo xtask guests` in a clone builds word-count.wasm and sum.wasm.

Sizes and durations carry a unit, such as 64MiB or 2s.")]
pub(crate) struct RunArgs {
    /// The files to work on.
    ///
    /// They are read piece by piece, whatever their size. Pipes and devices are no files.
    #[arg(value_name = "FILE", required_unless_present_any = NO_OPERATION)]
    pub(crate) files: Vec<PathBuf>,

    /// The operation; repeatable.
    #[arg(long = "op", value_name = "NAME", required_unless_present_any = NO_OPERATION, conflicts_with_all = PROGRAMS)]
    pub(crate) operations: Vec<String>,

    #[command(flatten)]
    pub(crate) program: ProgramArgs,

    /// What counteq, xor and add work with, 0 to 255.
    ///
    /// It is the same for every --op; run twice for two.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=255), conflicts_with_all = PROGRAMS, allow_negative_numbers = true)]
    pub(crate) imm: Option<u32>,

    #[command(flatten)]
    pub(crate) meet: MeetArgs,

    /// Bytes in a task [default for --op: 1MiB].
    ///
    /// At most 8MiB. With it a module or shader gets each --input in pieces of this size, each a task, whatever the length of the whole; their results come out in order, one behind the other.
    #[arg(long, value_name = "SIZE", value_parser = units::chunk)]
    pub(crate) chunk: Option<usize>,

    /// How the work gets to the nodes.
    ///
    /// distributed: straight from here to every node that this one reaches; the fastest where it reaches all of them. emergent: hop by hop between neighbours, also to
    /// nodes that only others reach. hierarchy: the same along a tree alone, so that most of the work is done at its root and next to it.
    #[arg(long, value_name = "NAME", default_value_t = Topology::Distributed, value_parser = topology())]
    pub(crate) topology: Topology,

    /// Neighbours to keep at most, 1 to 32.
    ///
    /// Where work goes hop by hop. In a larger room the node chooses those with whom its links are worth most.
    #[arg(long, value_name = "N", default_value_t = NEIGHBOURS, value_parser = neighbours(), allow_negative_numbers = true)]
    pub(crate) neighbours: usize,

    /// Never run a task here: fail if no node is there.
    ///
    /// The exit status is 1 then. The check, and what it has to do again, runs here all the same.
    #[arg(long)]
    pub(crate) no_local: bool,

    /// How long to look for nodes before running locally.
    ///
    /// As long is waited for another one after the last has gone. A node that is fetching or compiling the program is waited for at least 45 s.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub(crate) patience: Duration,

    /// Check the results against a pass over the files here (the default).
    ///
    /// What is wrong is done again here, so that the run ends right, and who gave it is named. What is wrong on standard output cannot be taken back: the exit status is 1 then. A product of
    /// matrices is written only when it is right.
    #[arg(long, overrides_with = "no_verify", action = ArgAction::SetTrue, conflicts_with_all = PROGRAMS)]
    pub(crate) verify: bool,

    /// Take the results as they come.
    #[arg(long, overrides_with = "verify", action = ArgAction::SetTrue, conflicts_with_all = PROGRAMS)]
    pub(crate) no_verify: bool,

    /// Write the output of xor, add and matmul, or of a program, into this directory.
    ///
    /// It must exist. The other operations have no output. That of a program is named after its input, with .out behind it; what --reduce gives is reduced.out.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Report progress as JSON lines on standard error.
    ///
    /// Several a second, of operations other than matmul.
    #[arg(long, conflicts_with_all = PROGRAMS)]
    pub(crate) events: bool,
}

impl RunArgs {
    /// Refuses what does not go together and clap cannot tell.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let program = &self.program;
        if let ([first, ..], true) = (
            self.files.as_slice(),
            program.wasm.is_some() || program.wgsl.is_some(),
        ) {
            let first = output::name(first);
            return Err(Failure::usage(format!(
                "{first}: a file without an option is one for --op; programs take `--input {first}`"
            )));
        }
        if let ([first, ..], None, None) = (program.input.as_slice(), &program.wasm, &program.wgsl)
        {
            let first = output::name(first);
            return Err(Failure::usage(format!(
                "--input goes with a program: name it with --wasm FILE or --wgsl FILE, or run an operation with `--op NAME {first}`"
            )));
        }
        let without = [
            ("--memory", program.memory.is_some()),
            ("--fuel", program.fuel.is_some()),
        ];
        for (option, is_given) in without {
            if is_given && program.wasm.is_none() && program.reduce.is_none() {
                return Err(Failure::usage(format!(
                    "{option} is a limit of modules; it goes with --wasm or --reduce"
                )));
            }
        }
        Ok(())
    }
}
