//! The check of every result against a pass over the file on this machine, and the mending of those that are wrong.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
};

use peercompute_kernel::Host;

use super::{
    Plan,
    ledger::Comparison,
    reference::{self, Pass},
    report::FileResult,
    sink::writes_bytes,
};
use crate::output;

/// Why a wrong result stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Obstacle {
    /// The nodes may have been right.
    #[error("the file has changed since the run began; run it again")]
    Changed,
    #[error(
        "what is wrong has gone to standard output and cannot be taken back; run it again with --out DIR, where this machine does again what is wrong"
    )]
    Gone,
}

/// What people are told of a result that was mended.
pub(super) const MENDED: &str =
    "warning: what came of its tasks was wrong, and this machine has done it again";

/// Who gave wrong results, and of how many tasks, for people.
pub(super) fn liars(wrong: &BTreeMap<Host, u64>) -> String {
    if wrong.is_empty() {
        return "; who gave it is not known".to_owned();
    }
    let liars: Vec<_> = wrong
        .iter()
        .map(|(host, tasks)| format!("{} of {host}", output::count(*tasks, "task")))
        .collect();
    format!("; wrong were {}", liars.join(", "))
}

/// The same for programs.
pub(super) fn by_name(wrong: &BTreeMap<Host, u64>) -> BTreeMap<String, u64> {
    wrong
        .iter()
        .map(|(host, tasks)| (host.to_string(), *tasks))
        .collect()
}

/// Why a file could not be gone over.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("cannot be read again to verify: {0}")]
    Read(#[from] io::Error),
    #[error(
        "{target}: what other nodes gave is wrong, and what this machine makes instead cannot be written: {error}; make room there or choose another --out"
    )]
    Write { target: String, error: io::Error },
}

/// Checks every result, one file after the other, and mends those that are wrong.
pub(super) async fn verify(plan: &Plan, files: &mut [FileResult]) {
    for file in files {
        if file.failure.as_ref().is_none_or(|lack| lack.is_false) {
            verify_file(plan, file).await;
        }
    }
}

async fn verify_file(plan: &Plan, file: &mut FileResult) {
    let (path, operation) = (file.path.clone(), file.operation);
    let expected = match apart(move || reference::pass(&path, operation, |_| Ok(()))).await {
        Ok(pass) => pass,
        Err(error) => return file.failure = Some(error.to_string().into()),
    };
    if file.failure.is_none() && file.summary == expected.summary {
        file.verified = Some(true);
        return;
    }
    file.verified = Some(false);
    if expected.stamp != file.stamp {
        file.obstacle = Some(Obstacle::Changed);
        return;
    }
    mend(plan, file, expected).await;
}

/// Goes over the file once more, to find out who gave what was wrong and to write the output anew.
async fn mend(plan: &Plan, file: &mut FileResult, expected: Pass) {
    let (path, operation) = (file.path.clone(), file.operation);
    let part = plan.sink.part(&file.path, operation);
    let is_gone = writes_bytes(&operation) && part.is_none();
    let given = std::mem::take(&mut file.given);
    let mut comparison = Comparison::new(given, operation, plan.chunk);
    let again = apart(move || {
        let (target, part) = part.unzip();
        let write_error = |error| PassError::Write {
            target: target.clone().unwrap_or_default(),
            error,
        };
        let open = |part| File::options().write(true).truncate(true).open(part);
        let mut output = part.map(open).transpose().map_err(write_error)?;
        let pass = reference::pass(&path, operation, |block| {
            comparison.take(block);
            match &mut output {
                Some(output) => output.write_all(block).map_err(write_error),
                None => Ok(()),
            }
        })?;
        Ok((pass, comparison.finish()))
    });
    match again.await {
        Err(error) => file.failure = Some(error.to_string().into()),
        Ok((pass, _)) if pass != expected => file.obstacle = Some(Obstacle::Changed),
        Ok((pass, wrong)) => {
            file.wrong = wrong;
            if is_gone {
                file.obstacle = Some(Obstacle::Gone);
                return;
            }
            file.summary = pass.summary;
            file.digest = reference::digest(operation, pass.summary.number);
            file.failure = None;
            file.verified = Some(true);
            file.mended = true;
        }
    }
}

/// A slow disk must not hold up the network, which runs on the calling thread.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PassError> + Send + 'static,
) -> Result<T, PassError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| PassError::Read(error.into()))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::PathBuf};

    use bytes::Bytes;
    use peercompute_compute::{Combiner, Control, Digest, Operation, Program as _, TaskInput};
    use peercompute_net::PeerId;

    use super::{
        super::{
            input::open_all, ledger::Ledger, progress::Progress, reference::Summary, report::Lack,
            sink::Sink,
        },
        *,
    };

    const CHUNK: usize = 10;
    const XOR: Operation = Operation::Xor(1);

    /// A file `a` with this content, an empty directory `out` beside it, and a plan for both.
    fn scene(content: &[u8], operation: Operation, is_out: bool) -> (tempfile::TempDir, Plan) {
        let dir = tempfile::tempdir().unwrap();
        let (path, out) = (dir.path().join("a"), dir.path().join("out"));
        fs::write(&path, content).unwrap();
        fs::create_dir(&out).unwrap();
        let (inputs, _) = open_all(&[path]);
        let sink = Sink::new(is_out.then_some(out), &inputs, &[operation]).unwrap();
        let plan = Plan {
            inputs,
            chunk: CHUNK,
            progress: Progress::new(0, false, true),
            sink,
            verify: true,
        };
        (dir, plan)
    }

    /// What comes of the file if these hosts take turns at its chunks, of whom the second gives `lie` of each result.
    async fn worked_on(
        plan: &Plan,
        operation: Operation,
        hosts: [Host; 2],
        lie: fn(Bytes) -> Bytes,
    ) -> FileResult {
        let input = &plan.inputs[0];
        let mut combiner = Combiner::new(operation);
        let mut ledger = Ledger::new(1);
        let (mut written, mut failure) = (Combiner::new(Operation::Crc32c), None);
        for (place, piece) in fs::read(&input.path).unwrap().chunks(CHUNK).enumerate() {
            let length = piece.len() as u64;
            let task =
                TaskInput::new(Bytes::copy_from_slice(piece)).with_state(combiner.next_state());
            let mut value = operation.run(task, &Control::unlimited()).unwrap();
            if place % 2 == 1 {
                value = lie(value);
            }
            let number = reference::number_of_value(operation, length, &value);
            ledger.note(0, Some(hosts[place % 2]), number);
            match combiner.push(length, value) {
                Ok(output) => {
                    if let (Some(number), false) = (number, output.is_empty()) {
                        reference::append_crc(&mut written, length, number);
                    }
                    if plan.sink.part(&input.path, operation).is_some() {
                        plan.sink.write(input, operation, output).await.unwrap();
                    }
                }
                Err(error) => failure = Some(Lack::from(error)),
            }
        }
        let digest = combiner.digest();
        let summary = Summary {
            bytes: combiner.bytes(),
            number: digest.or(written.digest()).map_or(0, reference::number),
        };
        let given = ledger.finish().next().unwrap();
        FileResult::new(input, operation, summary, digest, failure, given)
    }

    fn hosts() -> [Host; 2] {
        [(); 2].map(|()| Host::Peer(PeerId::random()))
    }

    fn flipped(value: Bytes) -> Bytes {
        let mut value = value.to_vec();
        value[0] ^= 1;
        value.into()
    }

    fn content() -> Vec<u8> {
        (0..45).collect()
    }

    async fn verified(plan: &Plan, file: FileResult) -> FileResult {
        let mut files = [file];
        verify(plan, &mut files).await;
        plan.sink.commit(&mut files);
        files.into_iter().next().unwrap()
    }

    fn out(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("out/a")
    }

    #[track_caller]
    fn assert_mended(file: &FileResult, liar: Host, wrong: u64) {
        assert!(file.failure.is_none(), "{:?}", file.failure);
        assert!(file.mended);
        assert_eq!(file.verified, Some(true));
        assert_eq!(file.wrong, [(liar, wrong)].into(), "{}", file.operation);
        assert_eq!(file.summary.bytes, 45);
    }

    #[tokio::test]
    async fn a_wrong_number_is_mended_and_whoever_gave_part_of_it_named() {
        let crc = Digest::Crc32c(crc32c::crc32c(&content()));
        for (operation, digest) in [
            (Operation::Crc32c, Some(crc)),
            (Operation::CountEq(3), Some(Digest::Count(1))),
            // A chain: who starts from what is wrong is not wrong.
            (Operation::Fnv64, None),
        ] {
            let (_dir, plan) = scene(&content(), operation, false);
            let hosts = hosts();
            let file = worked_on(&plan, operation, hosts, flipped).await;
            let honest = worked_on(&plan, operation, hosts, |value| value).await;
            let file = verified(&plan, file).await;
            assert_mended(&file, hosts[1], 2);
            assert_eq!(file.digest, digest.or(honest.digest));
            assert_eq!(file.digest, honest.digest);
        }
    }

    #[tokio::test]
    async fn what_is_right_is_not_mended() {
        for content in [content(), Vec::new()] {
            let (dir, plan) = scene(&content, XOR, true);
            let file = worked_on(&plan, XOR, hosts(), |value| value).await;
            let file = verified(&plan, file).await;
            assert_eq!((file.verified, file.mended), (Some(true), false));
            assert_eq!(fs::metadata(out(&dir)).unwrap().len(), file.summary.bytes);
        }
    }

    #[tokio::test]
    async fn wrong_output_is_written_anew() {
        let right: Vec<u8> = content().iter().map(|byte| byte ^ 1).collect();
        let lies: [fn(Bytes) -> Bytes; 4] = [
            flipped,
            |value| value.slice(1..),
            |value| [&value[..], b"more"].concat().into(),
            |_| Bytes::new(),
        ];
        for lie in lies {
            let (dir, plan) = scene(&content(), XOR, true);
            let hosts = hosts();
            let file = worked_on(&plan, XOR, hosts, lie).await;
            let file = verified(&plan, file).await;
            assert_mended(&file, hosts[1], 2);
            assert_eq!(fs::read(out(&dir)).unwrap(), right);
        }
    }

    #[tokio::test]
    async fn output_that_is_gone_stays_wrong_and_its_giver_is_named() {
        let lies: [fn(Bytes) -> Bytes; 2] = [flipped, |value| value.slice(1..)];
        for lie in lies {
            let (_dir, plan) = scene(&content(), XOR, false);
            let hosts = hosts();
            let file = worked_on(&plan, XOR, hosts, lie).await;
            let file = verified(&plan, file).await;
            assert_eq!((file.verified, file.mended), (Some(false), false));
            assert_eq!(file.obstacle, Some(Obstacle::Gone));
            assert_eq!(file.wrong, [(hosts[1], 2)].into());
        }
    }

    #[tokio::test]
    async fn nobody_is_blamed_for_a_file_that_has_changed() {
        for (changed, is_false) in [(&b"other"[..], false), (b"", false), (b"other", true)] {
            let (dir, plan) = scene(&content(), XOR, true);
            let mut file = worked_on(&plan, XOR, hosts(), flipped).await;
            file.failure = is_false.then(|| Lack {
                reason: "too short".to_owned(),
                is_false,
            });
            let path = &plan.inputs[0].path;
            fs::remove_file(path).unwrap();
            fs::write(path, changed).unwrap();
            let file = verified(&plan, file).await;
            assert_eq!((file.verified, file.mended), (Some(false), false));
            assert_eq!(file.obstacle, Some(Obstacle::Changed));
            assert_eq!(file.wrong, [].into());
            assert!(!out(&dir).exists());
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_full_disk_is_named_with_the_file_and_the_remedy() {
        let (dir, plan) = scene(&content(), XOR, true);
        let file = worked_on(&plan, XOR, hosts(), flipped).await;
        let (name, part) = plan.sink.part(&plan.inputs[0].path, XOR).unwrap();
        fs::remove_file(&part).unwrap();
        symlink("/dev/full", &part).unwrap();
        let file = verified(&plan, file).await;
        let reason = file.failure.unwrap().reason;
        for part in [&name, "No space left", "another --out"] {
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!((file.verified, file.mended), (Some(false), false));
        assert!(!out(&dir).exists());
    }

    #[tokio::test]
    async fn a_file_that_is_gone_has_no_result() {
        let (_dir, plan) = scene(&content(), Operation::Crc32c, false);
        let file = worked_on(&plan, Operation::Crc32c, hosts(), flipped).await;
        fs::remove_file(&plan.inputs[0].path).unwrap();
        let reason = verified(&plan, file).await.failure.unwrap().reason;
        assert!(reason.contains("cannot be read again"), "{reason}");
    }
}
