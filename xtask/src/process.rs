//! Running other programs: shown, awaited, and with an error that says which one failed.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Runs a command to its end; what it prints is shown.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    check(&line, status)
}

/// Like [`run`], but ends the command once `limit` has passed: for what may wait for a network that is not there.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let line = announce(command);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    match wait_within(&mut child, limit)? {
        Some(status) => check(&line, status),
        None => {
            child
                .kill()
                .with_context(|| format!("cannot end `{line}`"))?;
            child.wait()?;
            bail!("`{line}` did not end within {} s", limit.as_secs())
        }
    }
}

/// Like [`run`], and shows each line of standard output to `watch` too.
pub(crate) fn run_watching(command: &mut Command, mut watch: impl FnMut(&str)) -> Result<()> {
    let line = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let output = child
        .stdout
        .take()
        .context("the standard output was just asked for")?;
    for text in BufReader::new(output).lines() {
        let text = text.with_context(|| format!("cannot read the output of `{line}`"))?;
        println!("{text}");
        watch(&text);
    }
    check(&line, child.wait()?)
}

/// Runs a command and gives its standard output; what it says on standard error is in the error.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout)
        .map_err(|_| anyhow!("`{line}` printed something that is not UTF-8"))
}

/// Like [`output_of`], but ends the command once `limit` has passed, and shows what it says on standard error.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Result<String> {
    let line = command_line(command);
    eprintln!("    $ {line}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let mut stdout = child
        .stdout
        .take()
        .context("the standard output was just asked for")?;
    let reader = thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).map(|_| output)
    });
    let status = wait_within(&mut child, limit)?;
    if status.is_none() {
        child
            .kill()
            .with_context(|| format!("cannot end `{line}`"))?;
        child.wait()?;
        bail!("`{line}` did not end within {} s", limit.as_secs());
    }
    let output = reader.join();
    check(&line, status.unwrap_or_default())?;
    output
        .map_err(|_| anyhow!("reading the output of `{line}` broke off"))?
        .with_context(|| format!("cannot read the output of `{line}`"))
}

/// Whether the command can be started and succeeds; what it prints is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Waits until the child has ended or `limit` has passed; `None` for the latter.
pub(crate) fn wait_within(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// The command as one would type it.
pub(crate) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn announce(command: &Command) -> String {
    let line = command_line(command);
    println!("    $ {line}");
    // Standard output may be a pipe: what the command prints itself must come after this line.
    let _ = std::io::stdout().flush();
    line
}

fn check(line: &str, status: ExitStatus) -> Result<()> {
    if status.success() {
        Ok(())
    } else {
        Err(anyhow!("`{line}` failed ({status})"))
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command.args(["bench", "--bench", "*", "it's", ""]);
        assert_eq!(
            command_line(&command),
            r"cargo bench --bench '*' 'it'\''s' ''"
        );
    }

    #[test]
    fn a_failed_command_is_named_with_its_status() {
        let error = run(&mut Command::new("false")).expect_err("false fails");
        assert_eq!(error.to_string(), "`false` failed (exit status: 1)");
    }

    #[test]
    fn a_command_over_its_limit_is_ended() {
        let mut command = Command::new("tail");
        command.args(["-f", "/dev/null"]).stdin(Stdio::null());
        let error =
            run_within(&mut command, Duration::ZERO).expect_err("tail -f does not end by itself");
        assert_eq!(
            error.to_string(),
            "`tail -f /dev/null` did not end within 0 s"
        );
    }

    #[test]
    fn every_line_of_the_output_is_seen() {
        let mut seen = Vec::new();
        run_watching(Command::new("printf").arg("a\\nb\\n"), |line| {
            seen.push(line.to_owned());
        })
        .expect("printf succeeds");
        assert_eq!(seen, ["a", "b"]);
    }
}
