//! The crates as they would be published, and what their manifests say.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    context::Context,
    process::{output_of, run},
};

/// Packs every crate that is published and builds each from its package.
pub(crate) fn package(context: &Context) -> Result<()> {
    let mut cargo = context.cargo(["package", "--workspace", "--locked"]);
    for name in unpublished(&metadata(context)?)? {
        cargo.args(["--exclude", &name]);
    }
    if !context.ci {
        // A person may try what is not committed yet; a CI machine has nothing else than what is.
        cargo.arg("--allow-dirty");
    }
    run(&mut cargo)
}

/// The crates that have default features.
pub(crate) fn features_packages(context: &Context) -> Result<Vec<String>> {
    let metadata = metadata(context)?;
    names(&metadata, |package| {
        package["features"]["default"]
            .as_array()
            .is_some_and(|default| !default.is_empty())
    })
}

fn metadata(context: &Context) -> Result<Value> {
    let text = output_of(&mut context.cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?;
    serde_json::from_str(&text).context("`cargo metadata` printed no JSON")
}

/// The crates with `publish = false`.
fn unpublished(metadata: &Value) -> Result<Vec<String>> {
    names(metadata, |package| {
        package["publish"].as_array().is_some_and(Vec::is_empty)
    })
}

fn names(metadata: &Value, wanted: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` names no packages")?;
    Ok(packages
        .iter()
        .filter(|package| wanted(package))
        .filter_map(|package| package["name"].as_str())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_published_is_told_from_what_is() {
        let metadata = serde_json::json!({"packages": [
            {"name": "xtask", "publish": []}, {"name": "peercompute", "publish": null}, {"name": "inner", "publish": ["somewhere"]},
        ]});
        assert_eq!(unpublished(&metadata).expect("well-formed"), ["xtask"]);
    }
}
