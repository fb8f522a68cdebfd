#![doc = include_str!("../README.md")]
//!
//! # The states of a task
//!
//! ```text
//!         push            poll_transmit               result
//!   ──────────────▶ pending ──────────▶ leased ───────────────────▶ done
//!                    ▲ │ ▲               │ │ ▲                       ▲
//!                    │ │ │ worker lost,  │ │ │ late renewal          │
//!                    │ │ │ refusal, to   │ │ │ of the old lease      │
//!                    │ │ └─be retried────┘ │ │                       │
//!                    │ └─────────────────────┘                       │
//!                    ├───lease expired─────┤                         │
//!                    │                     └───▶ failed              │
//!                    │                      attempts used up,        │
//!                    │                      INVALID                  │
//!                    └─────late result of the old lease──────────────┘
//! ```
//!
//! Every lease of a task has a name of its own on the wire, so that an answer tells which lease it belongs to. The first result counts, whichever lease it
//! belongs to; the other copies are cancelled and their answers ignored.
//!
//! # Windows
//!
//! A worker claims a window in each job: so many tasks, so many bytes of input, leased and not answered. It should cover what the worker does in one round trip,
//! so that the next task is there when one ends; more only takes work from others. A lease that has expired counts for the window until it is answered or
//! cancelled, so that a hung worker gets no more than its window once. Of the last tasks of a job no worker is given more than its share.

pub mod cell;
mod detach;
mod exchange;
mod failure;
mod hello;
mod ids;
pub mod limits;
pub mod sim;
mod slab;
mod submitter;
mod violation;
mod worker;

pub use detach::detach_payloads;
pub use exchange::{
    AddNeighbourError, CandidateStatus, Exchange, ExchangeConfig, ExchangeEvent, ExchangeStatus,
    FlowAssignment, FlowJobStatus, FlowStatus, FlowViolation, HeardNote, JobKey, LinkOrder,
    LinkTalk, LinkViolation, MAX_JOBS, NeighbourId, NeighbourStatus, Neighbourhood,
    NeighbourhoodStatus, RunBy, Ways,
};
pub use failure::{Failure, FailureReason};
pub use ids::{JobId, TaskId, Ticket, WorkerId};
pub use submitter::{
    AddWorkerError, JobStatus, NewTask, OpenJobError, PushError, Room, Submitter, SubmitterConfig,
    SubmitterEvent, UnknownJob, WorkerStatus,
};
pub use violation::ProtocolViolation;
pub use worker::{Assignment, WINDOW, Worker, WorkerConfig, WorkerEvent};
