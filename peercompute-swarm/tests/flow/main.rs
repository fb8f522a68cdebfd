//! Networks of exchanges on virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod choosing;
mod fair;
mod hostile;
mod liars;
mod losses;
mod sizes;
mod ways;
mod world;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_proto::v1::{BuiltinProgram, NativeProgram, Program, TaskSpec, program};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn crc() -> TaskSpec {
    TaskSpec {
        program: Some(Program {
            program: Some(program::Program::Builtin(BuiltinProgram {
                operation: "crc32c".to_owned(),
                immediate: 0,
            })),
        }),
        limits: None,
    }
}

fn native() -> TaskSpec {
    let name = "closure".to_owned();
    TaskSpec {
        program: Some(Program {
            program: Some(program::Program::Native(NativeProgram { name })),
        }),
        limits: None,
    }
}
