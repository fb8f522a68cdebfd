//! The fuzz targets on a stable toolchain: the corpus, then random and mutated inputs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use peercompute_fuzz::{TARGETS, Target, entities};
use peercompute_sched::codec::{EntityId, Interest, Tick};

/// Rounds for each target; `PEERCOMPUTE_FUZZ_ROUNDS` sets another number.
const ROUNDS: u64 = 1500;
/// Where the random numbers start; `PEERCOMPUTE_FUZZ_SEED` sets another one.
const SEED: u64 = 20_261_121;
/// Bytes of the largest random input.
const LARGEST: usize = 600;

/// What a target may hold at once: so many times its input, and the fullest lists of the shortest elements.
const HELD_PER_BYTE: usize = 16;
const HELD_AT_ALL: usize = 2 << 20;

/// Counts what the running thread holds, and its most.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: every call is handed on to the system's allocator as it is; the counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Random numbers (xorshift64*), the same for the same seed everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64, target: usize) -> Self {
        let mixed = (seed ^ (target as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let size = self.below(LARGEST);
        (0..size).map(|_| self.byte()).collect()
    }

    /// One of the corpus with a few changes.
    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut data = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            let end = at + self.below((data.len() - at).min(64) + 1);
            match self.below(7) {
                0 => data.truncate(at),
                1 => drop(data.drain(at..end)),
                2 => data.insert(at, self.byte()),
                3 if at < data.len() => data[at] = self.byte(),
                4 if at < data.len() => data[at] ^= 1 << self.below(8),
                5 => {
                    let part = data[at..end].to_vec();
                    data.splice(at..at, part);
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below((other.len() - from).min(256) + 1);
                    data.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        data
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {value:?}, no number")),
        Err(_) => default,
    }
}

fn corpus(target: Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("corpus").join(target.name))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

/// Runs a target on an input and says what is wrong, if anything is.
fn run(target: Target, data: &[u8]) -> Result<(), String> {
    let before = HELD.get();
    MOST.set(before);
    if catch_unwind(AssertUnwindSafe(|| (target.run)(data))).is_err() {
        return Err("it panicked, see above".to_owned());
    }
    let held = (MOST.get() - before).unsigned_abs();
    let allowed = HELD_AT_ALL + HELD_PER_BYTE * data.len();
    if held > allowed {
        return Err(format!(
            "it held {held} bytes for an input of {}",
            data.len()
        ));
    }
    Ok(())
}

#[test]
fn the_corpus_passes() {
    for target in TARGETS {
        for (path, data) in corpus(*target) {
            if let Err(wrong) = run(*target, &data) {
                panic!("{}: {wrong}: {}", target.name, path.display());
            }
        }
    }
}

#[test]
fn random_and_mutated_inputs_pass() {
    let seed = setting("PEERCOMPUTE_FUZZ_SEED", SEED);
    let rounds = setting("PEERCOMPUTE_FUZZ_ROUNDS", ROUNDS);
    for (index, target) in TARGETS.iter().enumerate() {
        let mut random = Random::new(seed, index);
        let corpus: Vec<Vec<u8>> = corpus(*target).into_iter().map(|(_, data)| data).collect();
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for round in 0..rounds {
            let data = if round % 4 == 0 {
                random.bytes()
            } else {
                random.mutated(&corpus)
            };
            if let Err(wrong) = run(*target, &data) {
                let folder = root().join("artifacts").join(target.name);
                let path = folder.join(format!("failed-{seed}"));
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &data).unwrap();
                panic!(
                    "{}: {wrong}: round {round} of PEERCOMPUTE_FUZZ_SEED={seed}, the input is in {}",
                    target.name,
                    path.display()
                );
            }
        }
    }
}

/// The golden vectors that `target` takes, as it takes them.
fn golden(target: Target) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("../peercompute-proto/golden");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
    let mut vectors = Vec::new();
    if target.name == "wasm_module" {
        return hostile_modules();
    }
    if target.name == "snapshot_codec" {
        return snapshots_of_entities();
    }
    for entry in index {
        let path = entry["bytes"].as_str().unwrap();
        let message = entry["message"]
            .as_str()
            .unwrap()
            .rsplit('.')
            .next()
            .unwrap();
        let framed = entry["framed"].as_bool().unwrap_or(false);
        let name = path.replace('/', "-");
        let bytes = std::fs::read(folder.join(path)).unwrap();
        match (target.name, framed) {
            (_, false) if target.message == Some(message) => vectors.push((name, bytes)),
            ("kept_room", false) if message == "KeptPeer" => {
                let size = u16::try_from(bytes.len()).unwrap().to_le_bytes();
                vectors.push((name, [&size[..], &bytes].concat()));
            }
            ("kept_room", false) if message == "KeptEvent" => {
                vectors.push((name, [&[0, 0], &bytes[..]].concat()));
            }
            ("task_stream", true) if message == "TaskFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("rendezvous_stream", true) if message == "RendezvousFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("realtime_stream", true) if message == "RealtimeFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("lockstep_stream", true) if message == "LockstepFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("sync_stream", true) if message == "SyncFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("cell_stream", true) if message == "CellFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("link_stream", true) if message == "LinkFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("blob_stream", true) if message == "BlobFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            ("flow_stream", true) if message == "FlowFrame" => {
                vectors.push((name, with_step(&bytes)));
            }
            _ => {}
        }
    }
    vectors
}

/// The modules that the tests of `peercompute-compute` have as text.
fn hostile_modules() -> Vec<(String, Vec<u8>)> {
    let tests = root().join("../peercompute-compute/tests/wasm");
    let mut modules = Vec::new();
    for folder in ["corpus", "programs"] {
        for entry in std::fs::read_dir(tests.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            modules.push((format!("{name}.wasm"), wat::parse_file(&path).unwrap()));
        }
    }
    modules.sort();
    modules
}

/// What an encoder writes for each schema while entities come, move, rest and go, where every third snapshot is lost.
fn snapshots_of_entities() -> Vec<(String, Vec<u8>)> {
    let mut streams = Vec::new();
    for schema in 0..entities::SCHEMAS {
        let codec = entities::codec(schema);
        let (mut world, mut encoder) = (codec.world(), codec.encoder());
        let mut stream = vec![schema];
        let mut tick_before = 0;
        for tick in 1..=12u32 {
            let ids: Vec<EntityId> = (tick / 4..8 + tick / 3).map(EntityId).collect();
            for id in &ids {
                let moved = (tick * (id.0 % 3)) as i32;
                // Small numbers suit all columns but those of flags.
                let rows = [4, 2].map(|most| {
                    let mut row = codec.schema().row();
                    for (column, value) in row.iter_mut().enumerate() {
                        *value = (*value + moved + column as i32) % most;
                    }
                    row
                });
                let row = rows.iter().find(|row| codec.schema().check(row).is_ok());
                let row = row.unwrap();
                world.set(*id, row).unwrap();
            }
            world.commit(Tick(tick)).unwrap();
            let interest = Interest {
                entities: &ids,
                ..Interest::default()
            };
            let mut bytes = Vec::new();
            let budget = (tick % 5 == 0).then_some(12);
            let report = encoder
                .encode(&world, interest, budget, &mut bytes)
                .unwrap();
            if tick % 3 == 0 {
                continue;
            }
            encoder.acknowledge(Tick(tick));
            let back = report.baseline.map_or(0, |baseline| tick - baseline.0);
            let size = u16::try_from(bytes.len()).unwrap().to_le_bytes();
            stream.extend([(tick - tick_before) as u8, back as u8]);
            stream.extend(size);
            stream.extend(bytes);
            tick_before = tick;
        }
        streams.push((format!("schema-{schema}.bin"), stream));
    }
    streams
}

/// A stream that is read seven bytes at a time.
fn with_step(stream: &[u8]) -> Vec<u8> {
    [&[7], stream].concat()
}

#[test]
fn snapshots_of_the_corpus_are_taken() {
    for (name, stream) in snapshots_of_entities() {
        let mut decoder = entities::codec(stream[0]).decoder();
        let (mut rest, mut tick) = (&stream[1..], 0);
        while let Some((header, after)) = rest.split_first_chunk::<{ entities::HEADER }>() {
            let size = usize::from(u16::from_le_bytes([header[2], header[3]]));
            tick += u32::from(header[0]);
            let baseline = (header[1] > 0).then(|| Tick(tick - u32::from(header[1])));
            let view = decoder.decode(Tick(tick), baseline, &after[..size]);
            assert!(view.is_ok_and(|view| !view.is_empty()), "{name}: {tick}");
            rest = &after[size..];
        }
        assert_eq!(tick, 11);
    }
}

#[test]
fn every_golden_vector_is_in_the_corpus() {
    let write = std::env::var_os("PEERCOMPUTE_GOLDEN").is_some_and(|mode| mode == "write");
    for target in TARGETS {
        let folder = root().join("corpus").join(target.name);
        for (name, bytes) in golden(*target) {
            let path = folder.join(name);
            if write {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &bytes).unwrap();
            }
            assert!(
                std::fs::read(&path).is_ok_and(|there| there == bytes),
                "{} is missing or old; run with PEERCOMPUTE_GOLDEN=write",
                path.display()
            );
        }
    }
}

#[test]
fn every_target_has_a_binary_and_a_corpus_and_nothing_else_is_there() {
    let names = |folder: &Path| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort_unstable();
    assert_eq!(names(&root().join("fuzz_targets")), targets);
    assert_eq!(names(&root().join("corpus")), targets);
}
