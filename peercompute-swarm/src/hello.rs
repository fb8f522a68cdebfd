//! The handshake: what both roles say and check first, and the names of frames.

use peercompute_proto::v1::{StreamBinding, TaskFrame, TaskHello, task_frame::Frame};

use crate::{ProtocolViolation, limits::MAX_TASKS_PER_FRAME};

/// Which hellos have passed.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    pub(crate) sent: bool,
    pub(crate) received: bool,
}

impl Handshake {
    /// Checks the other end's hello, which must be the first.
    pub(crate) fn receive(
        &mut self,
        ours: &StreamBinding,
        hello: &TaskHello,
    ) -> Result<(), ProtocolViolation> {
        if self.received {
            return Err(ProtocolViolation::SecondHello);
        }
        let theirs = hello
            .binding
            .as_ref()
            .ok_or(ProtocolViolation::MissingBinding)?;
        if theirs.version != ours.version {
            return Err(ProtocolViolation::Version {
                theirs: theirs.version,
                ours: ours.version,
            });
        }
        if theirs.scope != ours.scope {
            return Err(ProtocolViolation::Scope);
        }
        self.received = true;
        Ok(())
    }

    /// Checks that the hello came before any other frame.
    pub(crate) fn expect_received(&self, frame: &Frame) -> Result<(), ProtocolViolation> {
        if self.received {
            Ok(())
        } else {
            Err(ProtocolViolation::HelloExpected { frame: name(frame) })
        }
    }
}

pub(crate) fn frame(frame: Frame) -> TaskFrame {
    TaskFrame { frame: Some(frame) }
}

/// The schema's name of a frame.
pub(crate) fn name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello(_) => "TaskHello",
        Frame::Offer(_) => "TaskOffer",
        Frame::Claim(_) => "TaskClaim",
        Frame::Leases(_) => "TaskLeases",
        Frame::Renewal(_) => "TaskLeaseRenewal",
        Frame::Results(_) => "TaskResults",
        Frame::Failures(_) => "TaskFailures",
        Frame::Cancel(_) => "TaskCancel",
    }
}

/// Checks the number of entries of a frame. The decoder does so too; a frame need not have come through it.
pub(crate) fn expect_count(frame: &'static str, count: usize) -> Result<(), ProtocolViolation> {
    let max = MAX_TASKS_PER_FRAME;
    if count > max {
        Err(ProtocolViolation::TooManyEntries { frame, count, max })
    } else {
        Ok(())
    }
}
