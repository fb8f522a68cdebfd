use bytes::{Bytes, BytesMut};
use peercompute_proto::v1::{TaskFrame, task_frame::Frame};

/// Payloads of a frame that is not larger than this, in bytes, are left in it; and as much memory small payloads may share.
const SHARED: usize = 64 * 1024;

/// Copies the payloads out of a frame of `size` bytes that is much larger than they are, so that none keeps more than 64 KiB, or twice its own size, alive.
///
/// Decoded payloads are slices of the frame that brought them. That costs nothing while they are most of it; but a stranger may add fields that nobody knows, or
/// lease one large task with many small ones and cancel it, and then each small payload that is held would keep up to 9 MiB. A shell calls this on each
/// frame before it hands it to [`Submitter`](crate::Submitter) or [`Worker`](crate::Worker).
///
/// Payloads of at least half of `size` and those of frames of up to 64 KiB stay where they are.
pub fn detach_payloads(frame: &mut TaskFrame, size: usize) {
    match &mut frame.frame {
        Some(Frame::Leases(leases)) => {
            let inputs = leases.tasks.iter_mut().map(|lease| &mut lease.input);
            detach(inputs, size);
        }
        Some(Frame::Results(results)) => {
            let values = results.results.iter_mut().map(|result| &mut result.value);
            detach(values, size);
        }
        _ => {}
    }
}

fn detach<'a>(payloads: impl Iterator<Item = &'a mut Bytes>, size: usize) {
    if size <= SHARED {
        return;
    }
    let mut shared = BytesMut::new();
    for payload in payloads {
        let length = payload.len();
        if length == 0 || length >= size / 2 {
            continue;
        }
        if length >= SHARED / 2 {
            *payload = Bytes::copy_from_slice(payload);
            continue;
        }
        if shared.capacity() < length {
            shared = BytesMut::with_capacity(SHARED);
        }
        shared.extend_from_slice(payload);
        *payload = shared.split().freeze();
    }
}

#[cfg(test)]
mod tests {
    use peercompute_proto::v1::{TaskLease, TaskLeases, TaskResult, TaskResults};

    use super::*;

    /// Leases whose inputs are slices of one frame of `size` bytes, one after the other.
    fn leases(size: usize, lengths: &[usize]) -> (TaskFrame, Bytes) {
        let memory = Bytes::from((0..size).map(|index| index as u8).collect::<Vec<_>>());
        let mut rest = memory.clone();
        let tasks = lengths
            .iter()
            .map(|length| TaskLease {
                input: rest.split_to(*length),
                ..TaskLease::default()
            })
            .collect();
        let frame = Some(Frame::Leases(TaskLeases { job: 1, tasks }));
        (TaskFrame { frame }, memory)
    }

    fn inputs(frame: &TaskFrame) -> Vec<Bytes> {
        let Some(Frame::Leases(leases)) = &frame.frame else {
            panic!("{frame:?}");
        };
        leases.tasks.iter().map(|task| task.input.clone()).collect()
    }

    fn is_within(part: &Bytes, whole: &Bytes) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn small_payloads_of_a_large_frame_leave_it_and_a_large_one_stays() {
        let lengths = [1000, 3, 700_000, 40_000];
        let (mut frame, memory) = leases(1024 * 1024, &lengths);
        let before = inputs(&frame);
        detach_payloads(&mut frame, memory.len());
        let after = inputs(&frame);
        assert_eq!(before, after);
        let stays: Vec<_> = after
            .iter()
            .map(|input| is_within(input, &memory))
            .collect();
        assert_eq!(stays, [false, false, true, false]);
    }

    #[test]
    fn many_small_payloads_share_pieces_of_bounded_size() {
        let (mut frame, memory) = leases(9 * 1024 * 1024, &[30_000; 50]);
        let before = inputs(&frame);
        detach_payloads(&mut frame, memory.len());
        let after = inputs(&frame);
        assert_eq!(before, after);
        drop(before);
        drop(frame);
        assert!(memory.is_unique());
        let together = after
            .windows(2)
            .filter(|pair| pair[1].as_ptr() as usize == pair[0].as_ptr() as usize + 30_000)
            .count();
        assert_eq!(together, 25);
    }

    #[test]
    fn a_small_frame_is_left_as_it_is() {
        let (mut frame, memory) = leases(SHARED, &[1, 2, 3]);
        detach_payloads(&mut frame, memory.len());
        assert!(inputs(&frame).iter().all(|input| is_within(input, &memory)));
    }

    #[test]
    fn values_of_results_leave_the_frame_too() {
        let memory = Bytes::from(vec![7; 1024 * 1024]);
        let result = TaskResult {
            value: memory.slice(100..108),
            ..TaskResult::default()
        };
        let results = TaskResults {
            job: 1,
            results: vec![result],
        };
        let mut frame = TaskFrame {
            frame: Some(Frame::Results(results)),
        };
        detach_payloads(&mut frame, memory.len());
        assert!(memory.is_unique());
        let Some(Frame::Results(results)) = frame.frame else {
            panic!("the frame has changed its kind");
        };
        assert_eq!(results.results[0].value, [7; 8][..]);
    }
}
