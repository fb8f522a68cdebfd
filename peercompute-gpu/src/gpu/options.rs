use std::fmt;

use super::GpuError;

/// Bytes that named buffers may hold by default: 2 GiB. A buffer that does not fit is refused with [`GpuError::HotBytesFull`].
pub const HOT_BYTES: u64 = 2 << 30;

/// Bytes that reads under way may hold by default: 256 MiB. A read that does not fit is refused with [`GpuError::StagingFull`].
pub const STAGING_BYTES: u64 = 256 << 20;

/// Through which interface the device is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendChoice {
    /// Whichever the platform has.
    #[default]
    Any,
    /// Vulkan, on Linux, Windows and Android.
    Vulkan,
    /// Metal, on Apple's systems.
    Metal,
    /// Direct3D 12, on Windows.
    Dx12,
    /// WebGPU, in a browser.
    Browser,
}

impl BackendChoice {
    pub(super) fn backends(self) -> wgpu::Backends {
        match self {
            Self::Any => wgpu::Backends::PRIMARY,
            Self::Vulkan => wgpu::Backends::VULKAN,
            Self::Metal => wgpu::Backends::METAL,
            Self::Dx12 => wgpu::Backends::DX12,
            Self::Browser => wgpu::Backends::BROWSER_WEBGPU,
        }
    }
}

/// Which of several devices is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Power {
    /// The fastest.
    #[default]
    High,
    /// The most frugal.
    Low,
}

/// Which device is opened, and its bounds. By default the fastest one that is hardware.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GpuOptions {
    pub(super) backend: BackendChoice,
    pub(super) name: Option<String>,
    pub(super) index: Option<usize>,
    pub(super) power: Power,
    pub(super) software: bool,
    pub(super) hot_bytes: u64,
    pub(super) staging_bytes: u64,
}

impl GpuOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            backend: BackendChoice::Any,
            name: None,
            index: None,
            power: Power::High,
            software: false,
            hot_bytes: HOT_BYTES,
            staging_bytes: STAGING_BYTES,
        }
    }

    /// Only devices behind this interface.
    #[must_use]
    pub fn with_backend(mut self, backend: BackendChoice) -> Self {
        self.backend = backend;
        self
    }

    /// Only devices whose name contains this, in whatever case; software devices too.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The device with this number in what [`adapters`] gives for the same backend; software devices too.
    #[must_use]
    pub fn with_index(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    /// Which of several is taken. [`Power::High`] by default.
    #[must_use]
    pub fn with_power(mut self, power: Power) -> Self {
        self.power = power;
        self
    }

    /// Whether a device that is software (Mesa's lavapipe, WARP, SwiftShader) is taken where there is no other. It is slower than this crate's
    /// kernels on the processor, and serves to test shaders. False by default.
    #[must_use]
    pub fn with_software(mut self, software: bool) -> Self {
        self.software = software;
        self
    }

    /// Bytes that named buffers may hold together. [`HOT_BYTES`] by default.
    #[must_use]
    pub fn with_hot_bytes(mut self, bytes: u64) -> Self {
        self.hot_bytes = bytes;
        self
    }

    /// Bytes that reads under way may hold together. [`STAGING_BYTES`] by default.
    #[must_use]
    pub fn with_staging_bytes(mut self, bytes: u64) -> Self {
        self.staging_bytes = bytes;
        self
    }

    /// What chooses the device, for another process.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn choice(&self) -> (BackendChoice, Power, bool, Option<usize>, Option<&str>) {
        let Self {
            backend,
            name,
            index,
            power,
            software,
            ..
        } = self;
        (*backend, *power, *software, *index, name.as_deref())
    }

    pub(super) fn check(&self) -> Result<(), GpuError> {
        for (name, value) in [
            ("hot_bytes", self.hot_bytes),
            ("staging_bytes", self.staging_bytes),
        ] {
            if value == 0 {
                return Err(GpuError::Zero { name });
            }
        }
        Ok(())
    }

    fn wanted(&self) -> String {
        let mut parts = Vec::new();
        match self.backend {
            BackendChoice::Any => {}
            backend => parts.push(format!("behind {backend:?}")),
        }
        if let Some(name) = &self.name {
            parts.push(format!("with {name:?} in its name"));
        }
        if let Some(index) = self.index {
            parts.push(format!("with the number {index}"));
        }
        if !self.software && self.name.is_none() && self.index.is_none() {
            parts.push("that is hardware".to_owned());
        }
        format!("is there {}", parts.join(", "))
            .trim_end()
            .to_owned()
    }
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterSummary {
    /// Its name, as the driver has it. Empty in browsers that do not tell.
    pub name: String,
    /// Through which interface it is reached, such as `vulkan`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether it is software that runs on the processor.
    pub software: bool,
    /// Bytes of the largest buffer that a kernel can see at once.
    pub max_binding: u64,
    /// Bytes of memory that the invocations of a workgroup can share.
    pub max_workgroup_memory: u32,
    /// Invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Whether it tells how long passes take.
    pub timestamps: bool,
    /// Whether shaders may compute in half precision.
    pub half: bool,
}

impl AdapterSummary {
    pub(super) fn new(
        info: &wgpu::AdapterInfo,
        limits: &wgpu::Limits,
        features: wgpu::Features,
    ) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_binding: limits.max_storage_buffer_binding_size,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            half: features.contains(wgpu::Features::SHADER_F16),
        }
    }

    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        Self::new(&adapter.get_info(), &adapter.limits(), adapter.features())
    }
}

impl fmt::Display for AdapterSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "a device without a name"
        } else {
            &self.name
        };
        write!(formatter, "{name} ({}", self.backend)?;
        if self.software {
            write!(formatter, ", software")?;
        }
        write!(formatter, ")")
    }
}

/// The devices that are there; empty where no driver is installed.
pub async fn adapters(backend: BackendChoice) -> Vec<AdapterSummary> {
    let instance = instance(backend);
    let adapters = instance.enumerate_adapters(backend.backends()).await;
    adapters.iter().map(AdapterSummary::of).collect()
}

pub(super) fn instance(backend: BackendChoice) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backend.backends();
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// The adapter that the options choose.
pub(super) async fn choose(options: &GpuOptions) -> Result<wgpu::Adapter, GpuError> {
    let instance = instance(options.backend);
    if cfg!(target_arch = "wasm32") {
        return ask(&instance, options).await;
    }
    let all = instance
        .enumerate_adapters(options.backend.backends())
        .await;
    let summaries: Vec<_> = all.iter().map(AdapterSummary::of).collect();
    let named = |summary: &AdapterSummary| {
        options
            .name
            .as_ref()
            .is_none_or(|name| summary.name.to_lowercase().contains(&name.to_lowercase()))
    };
    let explicit = options.name.is_some() || options.index.is_some();
    let candidates = summaries.iter().enumerate().filter(|(at, summary)| {
        named(summary)
            && options.index.is_none_or(|index| index == *at)
            && (explicit || options.software || !summary.software)
    });
    // The first of the best.
    let best =
        candidates.min_by_key(|(at, _)| rank(all[*at].get_info().device_type, options.power));
    match best {
        Some((at, _)) => Ok(all[at].clone()),
        None => Err(no_adapter(options, &summaries)),
    }
}

/// A browser chooses by itself.
async fn ask(instance: &wgpu::Instance, options: &GpuOptions) -> Result<wgpu::Adapter, GpuError> {
    let request = wgpu::RequestAdapterOptions {
        power_preference: match options.power {
            Power::High => wgpu::PowerPreference::HighPerformance,
            Power::Low => wgpu::PowerPreference::LowPower,
        },
        ..Default::default()
    };
    instance
        .request_adapter(&request)
        .await
        .map_err(|_| no_adapter(options, &[]))
}

fn rank(kind: wgpu::DeviceType, power: Power) -> u8 {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    match (kind, power) {
        (DiscreteGpu, Power::High) | (IntegratedGpu, Power::Low) => 0,
        (DiscreteGpu, Power::Low) | (IntegratedGpu, Power::High) => 1,
        (VirtualGpu, _) => 2,
        (Other, _) => 3,
        (Cpu, _) => 4,
    }
}

fn no_adapter(options: &GpuOptions, found: &[AdapterSummary]) -> GpuError {
    let names: Vec<_> = found.iter().map(ToString::to_string).collect();
    GpuError::NoAdapter {
        wanted: options.wanted(),
        found: if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        },
        remedy: if found.is_empty() {
            REMEDY
        } else {
            "Set PEERCOMPUTE_SOFTWARE_GPU=1 to have the program `peercompute` take one that is software; in a program of your own, choose one of those by name or index, \
             or allow software with `GpuOptions::with_software`"
        },
    }
}

#[cfg(target_os = "linux")]
const REMEDY: &str = "Install the Vulkan loader and a driver (Debian: libvulkan1 and mesa-vulkan-drivers, or NVIDIA's driver with nvidia_icd.json), \
    and see that the process may open /dev/dri or /dev/nvidia*";
#[cfg(target_arch = "wasm32")]
const REMEDY: &str = "WebGPU needs a browser that has it, and a page from https or localhost";
#[cfg(not(any(target_os = "linux", target_arch = "wasm32")))]
const REMEDY: &str = "Install or update the driver of the graphics card";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_found_says_what_was_wanted_and_what_to_do() {
        let options = GpuOptions::new().with_name("Radeon");
        let text = no_adapter(&options, &[]).to_string();
        assert!(
            text.starts_with("no GPU is there with \"Radeon\" in its name; found: none. "),
            "{text}"
        );
        assert!(
            text.contains("nstall") || text.contains("browser"),
            "{text}"
        );
    }

    #[test]
    fn all_that_was_wanted_is_named_and_the_remedy_for_software_comes_first() {
        let options = GpuOptions::new().with_name("Radeon").with_index(3);
        let text = no_adapter(&options, &[]).to_string();
        assert!(
            text.starts_with("no GPU is there with \"Radeon\" in its name, with the number 3; "),
            "{text}"
        );
        let software = AdapterSummary {
            name: "llvmpipe".to_owned(),
            backend: "vulkan".to_owned(),
            driver: String::new(),
            software: true,
            max_binding: 0,
            max_workgroup_memory: 0,
            max_workgroup_invocations: 0,
            timestamps: false,
            half: false,
        };
        let text = no_adapter(&GpuOptions::new(), &[software]).to_string();
        assert!(
            text.starts_with(
                "no GPU is there that is hardware; found: llvmpipe (vulkan, software). Set PEERCOMPUTE_SOFTWARE_GPU=1 "
            ),
            "{text}"
        );
    }

    #[test]
    fn bounds_of_zero_are_refused_by_name() {
        let error = GpuOptions::new().with_hot_bytes(0).check();
        assert_eq!(error, Err(GpuError::Zero { name: "hot_bytes" }));
        let error = GpuOptions::new().with_staging_bytes(0).check();
        assert_eq!(
            error,
            Err(GpuError::Zero {
                name: "staging_bytes"
            })
        );
    }
}
