//! What the lock file says about one package.

use anyhow::{Result, bail};

/// The one version of `package` in the text of a `Cargo.lock`.
pub(crate) fn locked_version<'a>(lock: &'a str, package: &str) -> Result<&'a str> {
    let name_line = format!("name = \"{package}\"");
    let mut versions = Vec::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if line == name_line {
            versions.extend(
                lines
                    .next()
                    .and_then(|next| next.strip_prefix("version = \"")?.strip_suffix('"')),
            );
        }
    }
    match versions[..] {
        [version] => Ok(version),
        [] => bail!("Cargo.lock: {package} is not in it"),
        _ => bail!(
            "Cargo.lock: {package} is in it as {}; only one can be served",
            versions.join(" and ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "\
[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.108\"\ndependencies = [\n \"once_cell\",\n]\n
[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.58\"\n
[[package]]\nname = \"twice\"\nversion = \"1.0.0\"\n
[[package]]\nname = \"twice\"\nversion = \"2.0.0\"\n";

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        assert_eq!(
            locked_version(LOCK, "wasm-bindgen").expect("is there"),
            "0.2.108"
        );
    }

    #[test]
    fn a_package_with_no_or_two_versions_is_an_error() {
        assert!(locked_version(LOCK, "wasm").is_err());
        let error = locked_version(LOCK, "twice").expect_err("two versions");
        assert_eq!(
            error.to_string(),
            "Cargo.lock: twice is in it as 1.0.0 and 2.0.0; only one can be served"
        );
    }
}
