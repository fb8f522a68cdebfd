//! Who gave which result, so that what turns out to be wrong has a name.

use std::{collections::BTreeMap, sync::Arc};

use peercompute_compute::Operation;
use peercompute_kernel::Host;

use super::reference;

/// Tasks of an operation whose givers are kept: with tasks of the usual size those of a tebibyte. Who gave the results of later ones is not known.
const KEPT: usize = 1 << 20;

/// The results of an operation's tasks, by file.
#[derive(Debug)]
pub(super) struct Ledger {
    hosts: BTreeMap<Option<Host>, u32>,
    files: Vec<Vec<Entry>>,
    room: usize,
}

/// What came of one task.
#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u64,
    /// The place of who gave it among the hosts.
    host: u32,
    /// Some input has this result.
    is_possible: bool,
}

/// What was given for one file, in the order of its chunks.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    entries: Vec<Entry>,
    hosts: Arc<[Option<Host>]>,
}

impl Ledger {
    /// An empty one for so many files.
    pub(super) fn new(files: usize) -> Self {
        Self {
            hosts: BTreeMap::new(),
            files: vec![Vec::new(); files],
            room: KEPT,
        }
    }

    /// Notes what `host` gave for the next chunk of a file, as a [number](reference::number_of_value); none if that is no result.
    pub(super) fn note(&mut self, file: usize, host: Option<Host>, number: Option<u64>) {
        if self.room == 0 {
            return;
        }
        self.room -= 1;
        let next = u32::try_from(self.hosts.len()).expect("there are no more hosts than tasks");
        self.files[file].push(Entry {
            number: number.unwrap_or_default(),
            host: *self.hosts.entry(host).or_insert(next),
            is_possible: number.is_some(),
        });
    }

    /// What was given, file after file.
    pub(super) fn finish(self) -> impl Iterator<Item = Given> {
        let mut hosts = vec![None; self.hosts.len()];
        for (host, place) in self.hosts {
            hosts[place as usize] = host;
        }
        let hosts: Arc<[_]> = hosts.into();
        self.files.into_iter().map(move |entries| Given {
            entries,
            hosts: hosts.clone(),
        })
    }
}

/// Finds the wrong among the results that were given for a file, while a pass goes over it once more.
#[derive(Debug)]
pub(super) struct Comparison {
    given: Given,
    operation: Operation,
    /// Bytes in a chunk; the last one may be shorter.
    chunk: usize,
    /// The chunk that the pass is in, how much of it is behind the pass, and what that gives.
    at: usize,
    length: usize,
    number: u64,
    wrong: BTreeMap<Host, u64>,
}

impl Comparison {
    pub(super) fn new(given: Given, operation: Operation, chunk: usize) -> Self {
        Self {
            given,
            operation,
            chunk,
            at: 0,
            length: 0,
            number: reference::start(operation),
            wrong: BTreeMap::new(),
        }
    }

    /// Takes what the operation leaves of the next bytes of the file.
    pub(super) fn take(&mut self, mut block: &[u8]) {
        while !block.is_empty() && self.at < self.given.entries.len() {
            let (now, rest) = block.split_at(block.len().min(self.chunk - self.length));
            self.number = reference::add(self.number, self.operation, now);
            self.length += now.len();
            block = rest;
            if self.length == self.chunk {
                self.close();
            }
        }
    }

    /// Tasks with wrong results, by who gave these.
    pub(super) fn finish(mut self) -> BTreeMap<Host, u64> {
        if self.length > 0 {
            self.close();
        }
        self.wrong
    }

    fn close(&mut self) {
        let entry = self.given.entries[self.at];
        if (!entry.is_possible || entry.number != self.number)
            && let Some(host) = self.given.hosts[entry.host as usize]
        {
            *self.wrong.entry(host).or_default() += 1;
        }
        self.at += 1;
        self.length = 0;
        // The next task of a chain started from what this one gave, right or wrong.
        self.number = if self.operation.is_chained() {
            entry.number
        } else {
            reference::start(self.operation)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Option<Host> = Some(Host::Local);

    fn wrong(ledger: Ledger, content: &[u8], chunk: usize) -> u64 {
        let given = ledger.finish().next().unwrap();
        let mut comparison = Comparison::new(given, Operation::CountEq(b'a'), chunk);
        // Blocks end where they like.
        content.chunks(3).for_each(|block| comparison.take(block));
        comparison.finish().values().sum()
    }

    #[test]
    fn each_chunk_is_compared_with_what_was_given_for_it() {
        for (numbers, count) in [([2, 2, 1], 0), ([2, 1, 1], 1), ([1, 2, 2], 2)] {
            let mut ledger = Ledger::new(1);
            for number in numbers {
                ledger.note(0, LOCAL, Some(number));
            }
            assert_eq!(wrong(ledger, b"aabaabab", 3), count, "{numbers:?}");
        }
        let mut ledger = Ledger::new(1);
        ledger.note(0, LOCAL, None);
        ledger.note(0, None, None);
        assert_eq!(wrong(ledger, b"aabb", 2), 1);
    }

    #[test]
    fn of_a_long_job_the_givers_of_the_first_tasks_are_known() {
        let mut ledger = Ledger::new(1);
        ledger.room = 1;
        ledger.note(0, LOCAL, Some(7));
        ledger.note(0, LOCAL, Some(7));
        assert_eq!(wrong(ledger, b"aa", 1), 1);
    }
}
