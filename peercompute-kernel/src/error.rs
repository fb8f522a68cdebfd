use peercompute_compute::ProgramHash;
use peercompute_net::{Multiaddr, NetworkStartError, PrivateRoomError, ProtocolTaken, ReadError};
use peercompute_proto::ScopeError;

use crate::{MAX_NEIGHBOURS, RealtimeError};

/// Why a node cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The game or the room has no usable name.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The engine for WebAssembly modules does not start.
    #[cfg(feature = "wasm")]
    #[error(transparent)]
    Wasm(#[from] peercompute_compute::WasmError),
    /// The helper process for shaders cannot be started.
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    #[error(transparent)]
    Wgsl(#[from] peercompute_compute::SandboxError),
    /// Addresses were given to a node that has no network.
    #[error(
        "`{address}` cannot be used: the node has no transport; give it one with NodeBuilder::transport"
    )]
    NoTransport {
        /// The first of them.
        address: Multiaddr,
    },
    /// There is no private room of this name and password.
    #[error(transparent)]
    PrivateRoom(#[from] PrivateRoomError),
    /// The live room cannot be as it was asked for.
    #[error(transparent)]
    Realtime(#[from] RealtimeError),
    /// A node has at least one neighbour, and no more than it can look after.
    #[error("{neighbours} neighbours are not possible; choose from 1 to {MAX_NEIGHBOURS}")]
    Neighbours {
        /// So many were asked for.
        neighbours: usize,
    },
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The network did not start.
    #[error(transparent)]
    Net(Box<NetworkStartError>),
    /// Something else on the same transport serves tasks already.
    #[error(transparent)]
    ProtocolTaken(#[from] ProtocolTaken),
    /// The system refuses the pool a thread.
    #[error(transparent)]
    Pool(#[from] peercompute_compute::SpawnError),
    /// It runs already, or has been stopped.
    #[error("the node was started before; build a new one")]
    StartedBefore,
}

impl From<NetworkStartError> for StartError {
    fn from(error: NetworkStartError) -> Self {
        Self::Net(Box::new(error))
    }
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The node does not run.
    #[error("the node is not running; call NodeKernel::start first")]
    NotRunning,
    /// The job names a program by its hash, and the node does not have it.
    #[error("the program {hash} is not here; give it to NodeKernel::add_program first")]
    MissingProgram {
        /// What the job names.
        hash: ProgramHash,
    },
    /// Too many jobs at once.
    #[error(transparent)]
    TooManyJobs(#[from] peercompute_swarm::OpenJobError),
}

/// Why tasks were not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// More in one call than a job ever holds.
    #[error(
        "{tasks} tasks of {bytes} bytes are more than a job holds at a time; push fewer at once"
    )]
    TooMany {
        /// Tasks in the call.
        tasks: usize,
        /// Bytes in the call.
        bytes: usize,
    },
    /// The swarm does not take a task.
    #[error(transparent)]
    Refused(#[from] peercompute_swarm::PushError),
    /// The job has ended.
    #[error("the job has ended")]
    Ended,
}

/// Why a job ended before its tasks did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is nobody to run it.
    #[error("no node is there to run the job, and running it here was ruled out")]
    NoWorkers,
    /// Whoever is there cannot run its program.
    #[error("no node runs the job's program: {message}")]
    Unsupported {
        /// What the last one that was asked said.
        message: String,
    },
    /// It was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The node was stopped.
    #[error("the node was stopped while the job ran")]
    NodeStopped,
}

/// Why a link to one node ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the link broke while writing: {0}")]
    Write(#[from] std::io::Error),
    #[error("the other end has gone")]
    Ended,
    #[error(transparent)]
    NotAdded(#[from] peercompute_swarm::AddWorkerError),
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] peercompute_swarm::ProtocolViolation),
    #[error("there is another stream to the same peer")]
    Doubled,
    #[error("both ends have given the link up")]
    Parted,
    #[error("the other end says no hello")]
    Mute,
    #[error("the other end does not fit: {0}")]
    Binding(#[from] peercompute_proto::BindingError),
    #[error("the peer broke the protocol of live rooms")]
    Malformed,
    #[error("the peer broke the protocol of links: {0}")]
    LinkViolation(#[from] peercompute_swarm::LinkViolation),
    #[error(transparent)]
    NotANeighbour(#[from] peercompute_swarm::AddNeighbourError),
    #[error("the neighbour broke the protocol: {0}")]
    FlowViolation(#[from] peercompute_swarm::FlowViolation),
    #[error(transparent)]
    Open(#[from] peercompute_net::OpenError),
    #[error(transparent)]
    Pool(#[from] peercompute_compute::SpawnError),
}

impl LinkError {
    /// Whether the other end is at fault, and not the network.
    pub(crate) fn is_violation(&self) -> bool {
        match self {
            Self::Violation(_)
            | Self::FlowViolation(_)
            | Self::LinkViolation(_)
            | Self::Malformed => true,
            Self::Read(error) => error.is_violation(),
            _ => false,
        }
    }
}
