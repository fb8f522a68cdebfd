//! Python with packages from its index, in environments of their own.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{
    context::Context,
    process::{run_within, succeeds},
    tools::{FETCH_LIMIT, from_debian},
};

/// A Python that has these packages and can import these modules, in an environment of this name and these versions; what is missing is installed.
pub(crate) fn python(
    context: &Context,
    name: &str,
    packages: &[&str],
    modules: &str,
) -> Result<PathBuf> {
    let versions: Vec<_> = packages
        .iter()
        .map(|package| package.replace("==", "-"))
        .collect();
    let folder = context
        .tools()
        .join(format!("{name}-{}", versions.join("-")));
    let python = folder.join("bin/python");
    let works = || {
        succeeds(
            context
                .command(&python)
                .args(["-c", &format!("import {modules}")]),
        )
    };
    if works() {
        return Ok(python);
    }
    let make = || {
        let mut venv = context.command("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        run_within(&mut venv, FETCH_LIMIT)
    };
    if make().is_err() {
        from_debian(context, &["python3", "python3-venv"])?;
        make()?;
    }
    let mut install = context.command(&python);
    let pip = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:"];
    install.args(pip).args(packages);
    run_within(&mut install, FETCH_LIMIT)
        .with_context(|| format!("the packages of {name} cannot be installed"))?;
    if works() {
        Ok(python)
    } else {
        bail!(
            "{}: its packages are installed, but cannot be imported",
            python.display()
        )
    }
}
