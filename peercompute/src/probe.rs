//! `peercompute probe`: what this machine is and how fast it computes. Nodes tell others of it.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use peercompute_compute::{GpuProfile, Profile};
use peercompute_kernel::Machine;
use serde::{Deserialize, Serialize};

use crate::{cache, cli::ProbeArgs, failure::Failure, output};

/// Bytes of a file that may hold what was measured earlier.
const MOST_KEPT: u64 = 64 * 1024;

/// How long a node waits for what it is told of its machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is measured, and what it was measured with. It is what the cache holds, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    version: String,
    cores: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    gpus: Vec<GpuProbe>,
    integer_steps_per_ms: f64,
    float_ops_per_ms: f64,
    memory_bytes_per_s: f64,
    /// WebAssembly operations per millisecond over all cores.
    ops_score: u64,
    /// Of the first GPU that is no software; 0 where there is none.
    gpu_f32_ops_per_s: f64,
    /// Seconds since 1970; 0 where that is not known.
    #[serde(default)]
    measured_at_unix_s: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GpuProbe {
    name: String,
    backend: String,
    software: bool,
    max_buffer_bytes: u64,
    max_workgroup_bytes: u32,
    max_workgroup_invocations: u32,
}

impl From<GpuProfile> for GpuProbe {
    fn from(gpu: GpuProfile) -> Self {
        Self {
            name: gpu.name,
            backend: gpu.backend,
            software: gpu.software,
            max_buffer_bytes: gpu.max_buffer_bytes,
            max_workgroup_bytes: gpu.max_workgroup_bytes,
            max_workgroup_invocations: gpu.max_workgroup_invocations,
        }
    }
}

pub(crate) async fn probe(args: ProbeArgs, json: bool) -> Result<(), Failure> {
    let path = path();
    let known = path.as_deref().filter(|_| !args.again).and_then(read);
    let probe = match known {
        Some(probe) => probe,
        None => {
            let measured = tokio::task::spawn_blocking(Profile::measure).await;
            let profile = measured.map_err(Failure::run)?;
            let probe = Probe::new(profile);
            if let Some(path) = &path {
                write(path, &probe);
            }
            probe
        }
    };
    if json {
        return output::json(&probe);
    }
    output::line(&probe.text())?;
    output::note(&probe.origin(path.as_deref()));
    Ok(())
}

/// Where it is kept.
fn path() -> Option<PathBuf> {
    Some(cache::directory()?.join("profile.json"))
}

/// What was measured earlier.
pub(crate) fn known() -> Option<Probe> {
    read(&path()?)
}

/// Measures in a process of its own: drivers are asked that may bring it down. None where that does not succeed.
pub(crate) async fn measure_apart() -> Option<Probe> {
    let measure = async {
        let program = std::env::current_exe()?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(["probe", "--json"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let told = command.output().await?;
        Ok::<Probe, std::io::Error>(serde_json::from_slice(&told.stdout)?)
    };
    match tokio::time::timeout(PATIENCE, measure).await {
        Ok(Ok(probe)) => Some(probe),
        Ok(Err(error)) => {
            tracing::info!(%error, "the machine could not be measured");
            None
        }
        Err(_) => {
            tracing::info!(limit = ?PATIENCE, "measuring the machine took too long");
            None
        }
    }
}

impl Probe {
    /// What others are told of it.
    pub(crate) fn machine(&self) -> Machine {
        let mut machine = Machine::default();
        machine.memory_bytes = self.memory_bytes.unwrap_or(0);
        machine.gpu = self.gpus.iter().any(|gpu| !gpu.software);
        machine.ops_score = self.ops_score;
        machine
    }

    fn new(profile: Profile) -> Self {
        let scores = profile.scores;
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cores: profile.cores,
            memory_bytes: profile.memory_bytes,
            gpus: profile.gpus.into_iter().map(GpuProbe::from).collect(),
            integer_steps_per_ms: scores.integer.round(),
            float_ops_per_ms: scores.float.round(),
            memory_bytes_per_s: scores.memory.round(),
            ops_score: scores.wasm as u64,
            gpu_f32_ops_per_s: scores.gpu.round(),
            measured_at_unix_s: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }

    /// When it was measured, and where it is kept, if it is.
    fn origin(&self, path: Option<&Path>) -> String {
        let when = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.measured_at_unix_s));
        let when = match when.filter(|_| self.measured_at_unix_s > 0) {
            Some(when) => format!("measured {}", humantime::format_rfc3339_seconds(when)),
            None => "measured earlier".to_owned(),
        };
        let kept = path.filter(|path| path.exists()).map_or_else(
            || "not kept".to_owned(),
            |path| format!("kept in {}", output::name(path)),
        );
        format!("{when}, {kept}; --again measures anew")
    }

    fn text(&self) -> String {
        let memory = self.memory_bytes.map_or_else(
            || "not known".to_owned(),
            |bytes| output::bytes(bytes).to_string(),
        );
        let mut lines = vec![
            format!("cores    {}", self.cores),
            format!("memory   {memory}"),
        ];
        if self.gpus.is_empty() {
            lines.push("gpu      none that Vulkan, Metal or DirectX 12 knows".to_owned());
        }
        for gpu in &self.gpus {
            let software = if gpu.software { ", in software" } else { "" };
            lines.push(format!(
                "gpu      {} ({}{software}), buffers of up to {}",
                gpu.name,
                gpu.backend,
                output::bytes(gpu.max_buffer_bytes)
            ));
        }
        let mut scores = vec![
            (
                "integer",
                millions(self.integer_steps_per_ms),
                "steps of xorshift a second, one core",
            ),
            (
                "float",
                millions(self.float_ops_per_ms),
                "operations of 64 bits a second, one core",
            ),
            (
                "copying",
                format!("{:.0}", self.memory_bytes_per_s / 1e6),
                "bytes a second, one core",
            ),
            (
                "wasm",
                millions(self.ops_score as f64),
                "operations a second, all cores",
            ),
        ];
        if self.gpu_f32_ops_per_s > 0.0 {
            let operations = format!("{:.0}", self.gpu_f32_ops_per_s / 1e6);
            let of = "operations of 32 bits a second, multiplying matrices";
            scores.push(("gpu", operations, of));
        }
        lines.push(String::new());
        lines.extend(
            scores
                .iter()
                .map(|(what, number, of)| format!("{what:<8} {number:>12} million {of}")),
        );
        lines.join("\n")
    }
}

/// Thousands a second, from things a millisecond, in millions.
fn millions(per_ms: f64) -> String {
    format!("{:.0}", per_ms / 1e3)
}

/// What was measured earlier by the same version on as many cores. Anything else is measured anew.
fn read(path: &Path) -> Option<Probe> {
    // Before it is opened, which for a pipe that nobody writes to would never end.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(MOST_KEPT).read_to_end(&mut text).ok()?;
    let probe: Probe = serde_json::from_slice(&text).ok()?;
    let cores = std::thread::available_parallelism().ok()?.get();
    (probe.version == env!("CARGO_PKG_VERSION") && probe.cores == cores).then_some(probe)
}

/// Whoever cannot keep it measures again next time.
fn write(path: &Path, probe: &Probe) {
    let kept = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut part = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut part, probe)?;
        part.persist(path)?;
        Ok(())
    };
    if let Err(error) = kept() {
        tracing::info!(path = %path.display(), %error, "the profile is not kept");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn probe() -> Probe {
        Probe {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cores: std::thread::available_parallelism().unwrap().get(),
            memory_bytes: Some(8 << 30),
            gpus: Vec::new(),
            integer_steps_per_ms: 1e6,
            float_ops_per_ms: 2e6,
            memory_bytes_per_s: 1e10,
            ops_score: 3_000_000,
            gpu_f32_ops_per_s: 0.0,
            measured_at_unix_s: 1_700_000_000,
        }
    }

    #[test]
    fn what_was_measured_is_known_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/profile.json");
        assert_eq!(read(&path), None);
        write(&path, &probe());
        assert_eq!(read(&path), Some(probe()));
        for other in [
            Probe {
                version: "0.0.0".to_owned(),
                ..probe()
            },
            Probe {
                cores: probe().cores + 1,
                ..probe()
            },
        ] {
            write(&path, &other);
            assert_eq!(read(&path), None);
        }
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path), None);
    }

    #[test]
    fn the_text_names_what_was_found() {
        let text = probe().text();
        assert!(
            text.contains("8.0 GiB") && text.contains("3000 million operations"),
            "{text}"
        );
        assert!(text.contains("gpu      none"), "{text}");
        let scores = text.lines().filter(|line| line.contains(" million "));
        let columns: BTreeSet<_> = scores.map(|line| line.find(" million ")).collect();
        assert_eq!(columns.len(), 1, "{text}");
    }

    #[test]
    fn the_text_says_when_it_was_measured_and_where_it_is_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let origin = probe().origin(Some(file.path()));
        assert!(origin.starts_with("measured 2023-11-14T"), "{origin}");
        assert!(origin.contains(file.path().to_str().unwrap()), "{origin}");
        assert!(probe().origin(None).contains("not kept"));
    }
}
