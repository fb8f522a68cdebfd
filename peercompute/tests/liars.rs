//! Nodes that give back something else than what they were asked for: found out, named, and without consequence.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Finished, crc, file, names, run, save};
use peercompute::{
    compute::{
        BuiltinExecutor, Control, Executor as _, Isolate, Isolates, Portable, TaskError, TaskInput,
    },
    kernel::{LocalFallback, NodeKernel},
    net::{Identity, Libp2pConfig, Libp2pTransport},
    proto::v1::TaskSpec,
    rt::{BoxFuture, Runtime},
};
use serde_json::Value;

/// What becomes of a result of this input. Those of inputs of up to 4096 bytes are not asked for: they are brief, and run without an isolate.
type Lie = fn(&Bytes, Bytes) -> Result<Bytes, TaskError>;

#[derive(Clone, Copy)]
struct Lies(Lie);

impl Isolates for Lies {
    fn open(&self) -> Box<dyn Isolate> {
        Box::new(*self)
    }
}

impl Isolate for Lies {
    fn run(
        &mut self,
        program: Portable,
        input: TaskInput,
    ) -> BoxFuture<'_, Result<Bytes, TaskError>> {
        let Portable::Builtin(program) = program else {
            panic!("operations only");
        };
        let spec = TaskSpec {
            program: Some(program),
            limits: None,
        };
        let program = BuiltinExecutor.prepare(&spec).unwrap();
        let bytes = input.bytes.clone();
        let value = program.run(input, &Control::unlimited());
        Box::pin(std::future::ready(
            value.and_then(|value| (self.0)(&bytes, value)),
        ))
    }
}

/// A node of the default room whose results are lies.
struct Liar {
    node: NodeKernel,
    address: String,
    peer: String,
    runtime: tokio::runtime::Runtime,
}

impl Liar {
    fn start(lie: Lie) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(async {
            let rt = Runtime::tokio();
            let config = Libp2pConfig::new(Identity::generate(&rt));
            let node = NodeKernel::builder()
                .room("default", "default")
                .transport(Arc::new(Libp2pTransport::start(config, &rt).unwrap()))
                .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
                .isolates(Arc::new(Lies(lie)))
                .local_fallback(LocalFallback::Never {
                    patience: Duration::ZERO,
                })
                .build(rt)
                .unwrap();
            node.start().await.unwrap();
            node
        });
        let status = node.status();
        Self {
            node,
            address: status.addresses[0].to_string(),
            peer: status.peer.unwrap().to_string(),
            runtime,
        }
    }

    /// A run of operations for which there is nobody else.
    fn works_at(&self, args: &[&str]) -> Finished {
        let base = ["run", "--no-local", "--peer", &self.address];
        run(&[&base[..], args].concat())
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.runtime.block_on(self.node.stop());
    }
}

fn flip(_: &Bytes, value: Bytes) -> Result<Bytes, TaskError> {
    let mut value = value.to_vec();
    if let Some(first) = value.first_mut() {
        *first ^= 1;
    }
    Ok(value.into())
}

/// All of it is right, and this process ran no task.
#[track_caller]
fn assert_right(report: &Value) {
    assert_eq!(report["verified"], true, "{report}");
    assert_eq!(report["local_fallback"], false, "{report}");
}

#[test]
fn a_job_ends_right_however_many_lies_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (
        file(dir.path(), "a", 3_000_000),
        file(dir.path(), "b", 5_000),
    );
    let empty = file(dir.path(), "empty", 0);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let liar = Liar::start(flip);
    let operations = ["crc32c", "fnv64", "counteq", "xor", "add"].map(|name| ["--op", name]);
    let files = [
        "--json",
        "--imm",
        "3",
        "--out",
        out.to_str().unwrap(),
        &a,
        &b,
        &empty,
    ];
    let args = [operations.as_flattened(), &files].concat();
    let report = liar.works_at(&args).expect(0).json();
    assert_right(&report);
    let honest = run(&[&["run"][..], &args].concat()).expect(0).json();
    for (place, result) in report["results"].as_array().unwrap().iter().enumerate() {
        assert_eq!(result["value"], honest["results"][place]["value"]);
        assert_eq!(result["bytes"], honest["results"][place]["bytes"]);
        assert_eq!(result["verified"], true);
        if result["file"] == empty.as_str() {
            assert_eq!(result.get("mended"), None, "{result}");
            assert_eq!(result.get("wrong_by_node"), None, "{result}");
        } else {
            let tasks = if result["file"] == a.as_str() { 3 } else { 1 };
            assert_eq!(result["mended"], true, "{result}");
            assert_eq!(result["wrong_by_node"][&liar.peer], tasks, "{result}");
        }
    }
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert_eq!(honest["results"][0].get("mended"), None);
}

#[test]
fn output_is_that_of_the_file_whatever_came() {
    let lies: [Lie; 4] = [
        flip,
        |_, value| Ok(value.slice(..value.len() / 2)),
        |_, value| Ok([value, Bytes::from_static(b"more")].concat().into()),
        |_, _| {
            Err(TaskError::InvalidInput {
                program: "xor".to_owned(),
                reason: "no".to_owned(),
            })
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let a = file(dir.path(), "a", 3_000_000);
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let liar = Liar::start(lie);
        let args = ["--op", "xor", "--imm", "255", "--json"];
        let to = ["--out", out.to_str().unwrap(), &a];
        let report = liar.works_at(&[&args[..], &to].concat()).expect(0).json();
        assert_right(&report);
        assert_eq!(report["results"][0]["mended"], true, "{number}: {report}");
        assert_eq!(report["results"][0]["bytes"], 3_000_000);
        assert_eq!(names(&out), ["a"]);
        let right: Vec<u8> = fs::read(&a).unwrap().iter().map(|byte| !byte).collect();
        assert!(fs::read(out.join("a")).unwrap() == right, "{number}");
    }
}

#[test]
fn only_what_is_wrong_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    fs::write(&good, format!("{:5000}", "good").repeat(10)).unwrap();
    fs::write(&bad, format!("{:5000}{:5000}", "good", "!bad").repeat(5)).unwrap();
    let liar = Liar::start(|input, value| match input.starts_with(b"!") {
        true => flip(input, value),
        false => Ok(value),
    });
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for operation in ["crc32c", "fnv64"] {
        let args = ["--op", operation, "--chunk", "5000B", "--json", good, bad];
        let report = liar.works_at(&args).expect(0).json();
        assert_right(&report);
        assert_eq!(report["results"][0].get("mended"), None, "{report}");
        assert_eq!(report["results"][1]["mended"], true, "{report}");
        let wrong = report["results"][1]["wrong_by_node"].as_object().unwrap();
        assert_eq!(wrong.len(), 1, "{report}");
        assert_eq!(wrong[&liar.peer], 5, "{report}");
        assert_eq!(report["by_node"][&liar.peer]["tasks"], 20);
    }
}

#[test]
fn people_are_told_who_lied_in_what() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 3_000_000);
    let liar = Liar::start(flip);
    let told = liar.works_at(&["--op", "crc32c", &a]).expect(0);
    assert_eq!(told.text(), format!("{}  {a}\n", crc(&a)));
    let warning = format!(
        "{a}: crc32c: warning: what came of its tasks was wrong, and this machine has done it again; wrong were 3 tasks of {}\n",
        liar.peer
    );
    assert!(told.stderr.contains(&warning), "{}", told.stderr);
    assert!(told.stderr.contains("all verified"), "{}", told.stderr);
}

#[test]
fn output_that_has_gone_to_standard_output_stays_wrong_and_the_remedy_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 3_000_000);
    let lies: [Lie; 2] = [flip, |_, value| Ok(value.slice(1..))];
    for lie in lies {
        let liar = Liar::start(lie);
        let told = liar.works_at(&["--op", "xor", "--imm", "1", &a]).expect(1);
        for part in ["cannot be taken back", "--out DIR", &liar.peer] {
            assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
        }
    }
}

#[test]
fn a_product_is_right_whatever_came() {
    let ones = [1.0; 40 * 40];
    let lies: [Lie; 3] = [
        flip,
        |_, value| Ok(value.slice(1..)),
        |_, _| {
            Err(TaskError::InvalidInput {
                program: "matmul".to_owned(),
                reason: "no".to_owned(),
            })
        },
    ];
    for lie in lies {
        let dir = tempfile::tempdir().unwrap();
        let a = save(dir.path(), "a.npy", (40, 40), &ones);
        let right = save(
            dir.path(),
            "right.npy",
            (40, 40),
            &ones.map(|one| one * 40.0),
        );
        let liar = Liar::start(lie);
        let args = ["--op", "matmul", "--chunk", "4KiB", "--json", &a, &a];
        let out = ["--out", dir.path().to_str().unwrap()];
        let report = liar.works_at(&[&args[..], &out].concat()).expect(0).json();
        assert_right(&report);
        assert_eq!(report["mended"], true, "{report}");
        let tasks = &report["tasks"];
        assert!(tasks.as_u64() > Some(1), "{report}");
        // A failure comes from nobody.
        if report["by_node"][&liar.peer].is_object() {
            assert_eq!(&report["wrong_by_node"][&liar.peer], tasks, "{report}");
        }
        let product = dir.path().join("product.npy");
        assert_eq!(fs::read(product).unwrap(), fs::read(right).unwrap());
    }
}

#[test]
fn who_does_not_ask_for_the_check_takes_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 5_000);
    let liar = Liar::start(flip);
    let args = ["--op", "crc32c", "--no-verify", "--json", &a];
    let report = liar.works_at(&args).expect(0).json();
    assert_eq!(report["verified"], Value::Null);
    assert_ne!(report["results"][0]["value"], crc(&a));
    let short = Liar::start(|_, value| Ok(value.slice(1..)));
    let report = short.works_at(&args).expect(1).json();
    assert_eq!(report["verified"], false);
    assert!(report["results"][0]["error"].is_string(), "{report}");
}
