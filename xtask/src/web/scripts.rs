//! The scripts of the package without what only their readers need.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{context::Context, process::run, tools::terser};

/// What wasm-bindgen calls that which only a module and its script know.
const INTERNAL: &str = "regex=/^__wb/";

/// Puts a line at the beginning of a script.
pub(super) fn begin_with(script: &Path, line: &str) -> Result<()> {
    let rest =
        fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    fs::write(script, format!("{line}{rest}"))
        .with_context(|| format!("cannot write {}", script.display()))
}

/// Shortens a script.
pub(super) fn shorten(context: &Context, script: &Path) -> Result<()> {
    run(&mut command(context, script)?)
}

/// Shortens the script of a module, and gives the shorter names, by the longer ones, of what the module imports and exports.
pub(super) fn shorten_with_module(
    context: &Context,
    script: &Path,
) -> Result<BTreeMap<String, String>> {
    let folder = tempfile::tempdir()?;
    let names = folder.path().join("names.json");
    run(command(context, script)?
        .args(["--mangle-props", INTERNAL, "--name-cache"])
        .arg(&names))?;
    let text = fs::read_to_string(&names)
        .with_context(|| format!("no names are in {}", names.display()))?;
    read_names(&text)
}

/// A script is a module, before and after.
fn command(context: &Context, script: &Path) -> Result<Command> {
    let mut terser = context.command(terser(context)?);
    terser
        .arg(script)
        .args(["--module", "--compress", "passes=2", "--mangle", "--output"])
        .arg(script);
    Ok(terser)
}

#[derive(Deserialize)]
struct Names {
    props: Properties,
}

#[derive(Deserialize)]
struct Properties {
    props: BTreeMap<String, String>,
}

/// The names of properties, before each of which terser puts a `$`.
fn read_names(text: &str) -> Result<BTreeMap<String, String>> {
    let names: Names = serde_json::from_str(text).context("terser's names are of another form")?;
    let all = names.props.props.into_iter();
    Ok(all
        .map(|(long, short)| (long.strip_prefix('$').unwrap_or(&long).to_owned(), short))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_terser_writes_them() {
        let text = r#"{"vars": {"props": {"$init": "a"}}, "props": {"props": {"$__wbg_new_12": "t", "$$odd": "e"}}}"#;
        let names = read_names(text).expect("they are names");
        assert_eq!(names.len(), 2);
        assert_eq!(names["__wbg_new_12"], "t");
        assert_eq!(names["$odd"], "e");
        assert!(read_names("{}").is_err());
    }
}
