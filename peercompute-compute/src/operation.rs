mod kernels;

use std::{fmt, str::FromStr};

use bytes::Bytes;
use peercompute_proto::v1;

use crate::{
    Control, Portable, Program, TaskError, TaskInput, Unsupported, executor::kind, text::quote,
};

/// A built-in operation over a range of bytes: what every worker can run.
///
/// Results are little endian: `crc32c` gives 4 bytes, `fnv64` and `counteq` 8, `xor` and `add` as many as they were given, `noop` none.
/// [`Combiner`](crate::Combiner) joins the results of the chunks of something longer.
///
/// As text it is its name, with the immediate after a colon where it takes one: `crc32c`, `counteq:10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// The CRC-32 with Castagnoli's polynomial (RFC 3720, appendix B.4).
    Crc32c,
    /// FNV-1a of 64 bits (draft-eastlake-fnv). Its starting state is the result of the chunk before, so that its chunks run one after the other.
    Fnv64,
    /// How many bytes are equal to this one.
    CountEq(u8),
    /// Every byte, exclusive or this one.
    Xor(u8),
    /// Every byte, plus this one modulo 256.
    Add(u8),
    /// Nothing: what a task costs by itself.
    Noop,
}

/// The state that FNV-1a starts from.
pub const FNV64_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The longest input of which a run surely takes but a few microseconds, so that the pool may gather the results of several.
const BRIEF_BYTES: usize = 4096;

impl Operation {
    /// The names of all operations over bytes; [`Matmul`](crate::Matmul), which multiplies matrices, is a program of its own.
    pub const NAMES: [&'static str; 6] = ["crc32c", "fnv64", "counteq", "xor", "add", "noop"];

    /// The operation of this name and immediate.
    ///
    /// # Errors
    ///
    /// [`OperationError`] for a name that is none of [`Operation::NAMES`], or an immediate that is missing, beyond 255, or given to an operation that takes none.
    pub fn parse(name: &str, immediate: Option<u32>) -> Result<Self, OperationError> {
        let plain = |operation: Self| match immediate {
            None => Ok(operation),
            Some(immediate) => Err(OperationError::UnexpectedImmediate {
                operation: operation.name(),
                immediate,
            }),
        };
        let with_byte = |operation: fn(u8) -> Self| {
            let name = operation(0).name();
            let immediate =
                immediate.ok_or(OperationError::MissingImmediate { operation: name })?;
            u8::try_from(immediate).map(operation).map_err(|_| {
                OperationError::ImmediateOutOfRange {
                    operation: name,
                    immediate,
                }
            })
        };
        match name {
            "crc32c" => plain(Self::Crc32c),
            "fnv64" => plain(Self::Fnv64),
            "counteq" => with_byte(Self::CountEq),
            "xor" => with_byte(Self::Xor),
            "add" => with_byte(Self::Add),
            "noop" => plain(Self::Noop),
            _ => Err(OperationError::Unknown { name: quote(name) }),
        }
    }

    /// Its name, without the immediate.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32c => "crc32c",
            Self::Fnv64 => "fnv64",
            Self::CountEq(_) => "counteq",
            Self::Xor(_) => "xor",
            Self::Add(_) => "add",
            Self::Noop => "noop",
        }
    }

    /// Its immediate, if it takes one.
    pub const fn immediate(self) -> Option<u8> {
        match self {
            Self::CountEq(byte) | Self::Xor(byte) | Self::Add(byte) => Some(byte),
            Self::Crc32c | Self::Fnv64 | Self::Noop => None,
        }
    }

    /// Whether a chunk can start only when the one before is done, because it starts from that one's result.
    pub const fn is_chained(self) -> bool {
        matches!(self, Self::Fnv64)
    }

    /// The length in bytes of the result of `input` bytes.
    pub const fn result_len(self, input: u64) -> u64 {
        match self {
            Self::Crc32c => 4,
            Self::Fnv64 | Self::CountEq(_) => 8,
            Self::Xor(_) | Self::Add(_) => input,
            Self::Noop => 0,
        }
    }
}

impl Program for Operation {
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        let TaskInput { state, bytes } = input;
        if state.is_some() && !self.is_chained() {
            return Err(TaskError::InvalidInput {
                program: self.to_string(),
                reason: "it takes no starting state; leave the state out".to_owned(),
            });
        }
        control.check_output(self.result_len(bytes.len() as u64))?;
        match *self {
            Self::Crc32c => kernels::crc32c(&bytes, control).map(|crc| number(&crc.to_le_bytes())),
            Self::Fnv64 => kernels::fnv64(state.unwrap_or(FNV64_START), &bytes, control)
                .map(|hash| number(&hash.to_le_bytes())),
            Self::CountEq(byte) => {
                kernels::count_eq(&bytes, byte, control).map(|count| number(&count.to_le_bytes()))
            }
            Self::Xor(byte) => kernels::map(bytes, control, |b| b ^ byte),
            Self::Add(byte) => kernels::map(bytes, control, |b| b.wrapping_add(byte)),
            Self::Noop => control.check().map(|()| Bytes::new()),
        }
    }

    fn portable(&self) -> Option<Portable> {
        Some(Portable::Builtin((*self).into()))
    }

    fn is_brief(&self, input: &TaskInput) -> bool {
        matches!(self, Self::Noop) || input.bytes.len() <= BRIEF_BYTES
    }
}

fn number(little_endian: &[u8]) -> Bytes {
    Bytes::copy_from_slice(little_endian)
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.immediate() {
            Some(byte) => write!(f, "{}:{byte}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

impl FromStr for Operation {
    type Err = OperationError;

    fn from_str(text: &str) -> Result<Self, OperationError> {
        match text.split_once(':') {
            None => Self::parse(text, None),
            Some((name, immediate)) => match immediate.parse() {
                Ok(immediate) => Self::parse(name, Some(immediate)),
                Err(_) if !Self::NAMES.contains(&name) => Self::parse(name, None),
                Err(_) => Err(OperationError::ImmediateNotANumber { text: quote(text) }),
            },
        }
    }
}

impl TryFrom<&v1::BuiltinProgram> for Operation {
    type Error = OperationError;

    fn try_from(program: &v1::BuiltinProgram) -> Result<Self, OperationError> {
        let name = program.operation.as_str();
        // On the wire a missing immediate and 0 are the same: 0 counts as missing where none is taken, and as 0 where one is.
        match (Self::parse(name, None), program.immediate) {
            (Ok(operation), 0) => Ok(operation),
            (Err(OperationError::Unknown { name }), _) => Err(OperationError::Unknown { name }),
            (_, immediate) => Self::parse(name, Some(immediate)),
        }
    }
}

impl TryFrom<&v1::Program> for Operation {
    type Error = Unsupported;

    fn try_from(program: &v1::Program) -> Result<Self, Unsupported> {
        match &program.program {
            Some(v1::program::Program::Builtin(builtin)) => Ok(Self::try_from(builtin)?),
            Some(_) => Err(Unsupported::UnknownProgram {
                program: kind(program).to_owned(),
            }),
            None => Err(Unsupported::NoProgram),
        }
    }
}

impl From<Operation> for v1::Program {
    fn from(operation: Operation) -> Self {
        Self {
            program: Some(v1::program::Program::Builtin(v1::BuiltinProgram {
                operation: operation.name().to_owned(),
                immediate: operation.immediate().unwrap_or(0).into(),
            })),
        }
    }
}

impl From<Operation> for v1::TaskSpec {
    /// A job of this operation without limits of its own.
    fn from(operation: Operation) -> Self {
        Self {
            program: Some(operation.into()),
            limits: None,
        }
    }
}

/// Why there is no such [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// No operation has this name.
    #[error("there is no operation {name}; known are {}, and matmul for matrices", Operation::NAMES.join(", "))]
    Unknown {
        /// The name, quoted and cut to a length fit for a message.
        name: String,
    },
    /// The operation works with a byte, and none was given.
    #[error("the operation {operation} needs an immediate; give a number from 0 to 255")]
    MissingImmediate {
        /// The operation's name.
        operation: &'static str,
    },
    /// The immediate is not a byte.
    #[error(
        "the immediate {immediate} of the operation {operation} is out of range; give a number from 0 to 255"
    )]
    ImmediateOutOfRange {
        /// The operation's name.
        operation: &'static str,
        /// What was given.
        immediate: u32,
    },
    /// The operation takes no immediate.
    #[error(
        "the operation {operation} takes no immediate, but {immediate} was given; leave it out"
    )]
    UnexpectedImmediate {
        /// The operation's name.
        operation: &'static str,
        /// What was given.
        immediate: u32,
    },
    /// What follows the colon is no number.
    #[error(
        "the operation {text} has something else than a number after its colon; give a number from 0 to 255"
    )]
    ImmediateNotANumber {
        /// The text, quoted and cut to a length fit for a message.
        text: String,
    },
}

#[cfg(test)]
mod tests;
