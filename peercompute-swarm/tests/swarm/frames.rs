//! Short ways to write and read frames.

use peercompute_proto::v1::{
    Capabilities, StreamBinding, TaskCancel, TaskClaim, TaskFailure, TaskFailureReason,
    TaskFailures, TaskFrame, TaskHello, TaskLease, TaskLeaseRenewal, TaskLeases, TaskOffer,
    TaskResult, TaskResults, TaskSpec, task_frame::Frame,
};

use peercompute_swarm::{Worker, WorkerEvent};

use crate::scene::binding;

/// Takes what a worker has to tell, and accepts all jobs.
pub(crate) fn accept(worker: &mut Worker) {
    while let Some(event) = worker.poll_event() {
        if let WorkerEvent::JobOpened { job, .. } = event {
            worker.accept_job(job);
        }
    }
}

pub(crate) fn frame(frame: Frame) -> TaskFrame {
    TaskFrame { frame: Some(frame) }
}

pub(crate) fn hello(binding: StreamBinding) -> TaskFrame {
    frame(Frame::Hello(TaskHello {
        binding: Some(binding),
        capabilities: None,
    }))
}

pub(crate) fn good_hello() -> TaskFrame {
    hello(binding())
}

pub(crate) fn hello_with(capabilities: Capabilities) -> TaskFrame {
    frame(Frame::Hello(TaskHello {
        binding: Some(binding()),
        capabilities: Some(capabilities),
    }))
}

pub(crate) fn offer(job: u32) -> TaskFrame {
    frame(Frame::Offer(TaskOffer {
        job,
        spec: Some(TaskSpec::default()),
        lease_ms: 9_000,
    }))
}

pub(crate) fn claim(job: u32, window: u32, window_bytes: u64) -> TaskFrame {
    frame(Frame::Claim(TaskClaim {
        job,
        window,
        window_bytes,
    }))
}

/// Leases of these names, each with so many bytes of input.
pub(crate) fn leases(job: u32, names: impl IntoIterator<Item = u64>, size: usize) -> TaskFrame {
    let lease = |task| TaskLease {
        task,
        state: None,
        input: vec![0; size].into(),
    };
    frame(Frame::Leases(TaskLeases {
        job,
        tasks: names.into_iter().map(lease).collect(),
    }))
}

pub(crate) fn renewal(job: u32, names: &[u64]) -> TaskFrame {
    frame(Frame::Renewal(TaskLeaseRenewal {
        job,
        tasks: names.to_vec(),
    }))
}

pub(crate) fn results(job: u32, names: impl IntoIterator<Item = u64>) -> TaskFrame {
    let result = |task| TaskResult {
        task,
        value: Vec::new().into(),
        run_us: 5,
    };
    frame(Frame::Results(TaskResults {
        job,
        results: names.into_iter().map(result).collect(),
    }))
}

pub(crate) fn failures(job: u32, tasks: &[Option<u64>], reason: TaskFailureReason) -> TaskFrame {
    let failure = |&task| TaskFailure {
        task,
        reason: reason.into(),
        message: "because".into(),
    };
    frame(Frame::Failures(TaskFailures {
        job,
        failures: tasks.iter().map(failure).collect(),
    }))
}

pub(crate) fn failure(job: u32, name: u64, reason: TaskFailureReason) -> TaskFrame {
    failures(job, &[Some(name)], reason)
}

pub(crate) fn job_failure(job: u32, reason: TaskFailureReason) -> TaskFrame {
    failures(job, &[None], reason)
}

pub(crate) fn cancel(job: u32, names: &[u64]) -> TaskFrame {
    frame(Frame::Cancel(TaskCancel {
        job,
        tasks: names.to_vec(),
    }))
}

/// The names in a frame of leases.
pub(crate) fn leased(frame: &TaskFrame) -> Vec<u64> {
    match &frame.frame {
        Some(Frame::Leases(leases)) => leases.tasks.iter().map(|lease| lease.task).collect(),
        _ => Vec::new(),
    }
}
