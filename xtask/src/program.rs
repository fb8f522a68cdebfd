//! The program of this workspace, as users have it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{context::Context, process::run, tools::Tool};

/// Builds the release of `peercompute` and says where it is.
pub(crate) fn release(context: &Context) -> Result<PathBuf> {
    Tool::Linker.ensure(context)?;
    println!("==> building the program");
    run(&mut context.cargo([
        "build",
        "--release",
        "--package",
        "peercompute",
        "--bin",
        "peercompute",
        "--locked",
    ]))?;
    Ok(context.target.join("release/peercompute"))
}
