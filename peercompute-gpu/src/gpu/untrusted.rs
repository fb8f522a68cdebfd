//! Running a shader of a stranger on a device, in slices. A shader that never ends hangs the device: natively this runs in the helper process.

use std::time::Duration;

use thiserror::Error;

use super::{
    Gpu, GpuError,
    pipelines::{Checks, pipeline},
};
use crate::wgsl::{Checked, INPUT, OUTPUT, SLICE, SPENT, Slices, UNIFORM};

/// What a slice should take, so that whoever draws with the same device goes on drawing, and a cancelled task ends soon.
pub const UNTRUSTED_SLICE: Duration = Duration::from_millis(20);

/// Workgroups of the first slice, before anything is known of the shader.
pub const FIRST_SLICE: u64 = 64;

/// Workgroups of a slice at most where the rounds of loops are counted: all of them may go through as many as they are granted. The first slice is of one.
const COUNTED_SLICE: u64 = 1024;

/// A run of a stranger's shader.
#[derive(Clone, Copy, Debug)]
pub struct UntrustedRun<'a> {
    /// The task's input.
    pub input: &'a [u8],
    /// The task's uniforms.
    pub uniforms: &'a [u8],
    /// Workgroups along each axis.
    pub workgroups: [u32; 3],
    /// Bytes of the result.
    pub output_bytes: u64,
}

/// Why a run gave no result.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UntrustedError {
    /// Nothing is to be run, or nothing is to come out.
    #[error("{name} is 0; give at least 1")]
    Zero {
        /// What of the run.
        name: &'static str,
    },
    /// Input or uniforms for a shader that declares none.
    #[error(
        "{bytes} bytes of {what}, and the shader declares no such binding; give none, or declare it"
    )]
    NotDeclared {
        /// Which of the two.
        what: &'static str,
        /// How many bytes.
        bytes: u64,
    },
    /// It was told to stop.
    #[error("stopped before its end")]
    Stopped,
    /// An invocation has spent the [rounds](Checked::with_rounds) that it was granted.
    #[error(
        "its loops went through more than {limit} rounds; look for one that does not end, cut the work into more invocations, or run it where rounds are not counted"
    )]
    Rounds {
        /// How many it was granted.
        limit: u32,
    },
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Runs a shader that passed [`check`](crate::wgsl::check), and gives its output. Between two slices it asks `stop`.
///
/// # Errors
///
/// [`UntrustedError`].
pub async fn run_untrusted(
    gpu: &Gpu,
    checked: &Checked,
    run: UntrustedRun<'_>,
    stop: impl Fn() -> bool,
) -> Result<Vec<u8>, UntrustedError> {
    if run.output_bytes == 0 {
        return Err(UntrustedError::Zero {
            name: "output_bytes",
        });
    }
    if run.workgroups.contains(&0) {
        return Err(UntrustedError::Zero { name: "workgroups" });
    }
    let active = gpu.active()?;
    let limit = active.limits.max_compute_workgroups_per_dimension;
    if run.workgroups.iter().any(|side| *side > limit) {
        return Err(GpuError::Workgroups {
            asked: run.workgroups,
            limit,
        }
        .into());
    }
    let device_says = |error: wgpu::Error| {
        active.lost_or(match error {
            wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory {
                bytes: run.output_bytes + run.input.len() as u64,
            },
            error => GpuError::Device {
                message: error.to_string(),
            },
        })
    };
    let compiled = active
        .settled(|| {
            let module = active
                .device
                .create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some("a stranger's"),
                    source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(
                        checked.module.clone(),
                    )),
                });
            pipeline(&active, &module, "main", Checks::On)
        })
        .await
        .map_err(|error| {
            active.lost_or(GpuError::Pipeline {
                entry: "main".to_owned(),
                message: error.to_string(),
            })
        })?;
    let used = used_bindings(checked);

    // What the shader declares and does not use is not bound, since the layout has what is used.
    let storage = wgpu::BufferUsages::STORAGE;
    let mut buffers = Vec::new();
    for (binding, declared, contents, what, usage) in [
        (INPUT, checked.input_bytes(), run.input, "input", storage),
        (
            UNIFORM,
            checked.uniform_bytes(),
            run.uniforms,
            "uniforms",
            wgpu::BufferUsages::UNIFORM,
        ),
    ] {
        let Some(least) = declared else {
            if contents.is_empty() {
                continue;
            }
            return Err(UntrustedError::NotDeclared {
                what,
                bytes: contents.len() as u64,
            });
        };
        let bytes = (contents.len() as u64)
            .max(least.into())
            .next_multiple_of(16);
        let limit = if binding == INPUT {
            active.limits.max_storage_buffer_binding_size
        } else {
            active.limits.max_uniform_buffer_binding_size
        };
        fits(what, bytes, limit)?;
        let buffer = active
            .settled(|| {
                let buffer = active.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(what),
                    size: bytes,
                    usage,
                    mapped_at_creation: true,
                });
                if !contents.is_empty() {
                    buffer
                        .slice(..(contents.len() as u64).next_multiple_of(4))
                        .get_mapped_range_mut()
                        .slice(..contents.len())
                        .copy_from_slice(contents);
                }
                buffer.unmap();
                buffer
            })
            .await
            .map_err(device_says)?;
        buffers.push((binding, buffer));
    }
    let output_bytes = run
        .output_bytes
        .max(checked.output_bytes().into())
        .checked_next_multiple_of(16)
        .unwrap_or(u64::MAX);
    fits(
        "output",
        output_bytes,
        active.limits.max_storage_buffer_binding_size,
    )?;
    let make = async |label, size, usage| {
        active
            .settled(|| {
                active.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            })
            .await
            .map_err(device_says)
    };
    let output = make(
        "output",
        output_bytes,
        storage | wgpu::BufferUsages::COPY_SRC,
    )
    .await?;
    let slice_buffer = make(
        "slice",
        32,
        wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
    )
    .await?;
    buffers.push((OUTPUT, output.clone()));
    buffers.push((SLICE, slice_buffer.clone()));
    let spent = match checked.rounds() {
        Some(limit) if used.contains(&SPENT) => {
            let usage = storage | wgpu::BufferUsages::COPY_SRC;
            let buffer = make("spent", 16, usage).await?;
            buffers.push((SPENT, buffer.clone()));
            Some((limit, buffer))
        }
        _ => None,
    };
    let entries: Vec<_> = buffers
        .iter()
        .filter(|(binding, _)| used.contains(binding))
        .map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding: *binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    let group = active
        .settled(|| {
            active.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("a stranger's"),
                layout: &compiled.get_bind_group_layout(0),
                entries: &entries,
            })
        })
        .await
        .map_err(device_says)?;

    let mut slices = Slices::new(run.workgroups);
    let (mut most, at_most) = match spent {
        Some(_) => (1, COUNTED_SLICE),
        None => (FIRST_SLICE, u64::MAX),
    };
    while let Some(slice) = slices.next(most) {
        if stop() {
            return Err(UntrustedError::Stopped);
        }
        let begun = Clock::now();
        let [x, y, z] = slice.offset;
        let [all_x, all_y, all_z] = run.workgroups;
        let numbers: [u32; 8] = [x, y, z, 0, all_x, all_y, all_z, 0];
        active
            .settled(|| {
                active
                    .queue
                    .write_buffer(&slice_buffer, 0, bytemuck::bytes_of(&numbers));
                let mut encoder = active.device.create_command_encoder(&Default::default());
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&compiled);
                pass.set_bind_group(0, &group, &[]);
                let [x, y, z] = slice.size;
                pass.dispatch_workgroups(x, y, z);
                drop(pass);
                active.queue.submit([encoder.finish()]);
            })
            .await
            .map_err(device_says)?;
        match &spent {
            Some((limit, buffer)) => {
                let mapped = gpu.read_raw(&active, buffer, 0, 4)?.await?;
                if mapped.iter().any(|byte| *byte != 0) {
                    return Err(UntrustedError::Rounds { limit: *limit });
                }
            }
            None => gpu.finished()?.await?,
        }
        let took = begun.elapsed();
        if took * 2 < UNTRUSTED_SLICE {
            most = most.saturating_mul(2).min(at_most);
        } else if took > UNTRUSTED_SLICE {
            most = (most / 2).max(1);
        }
    }
    let mut result = Vec::new();
    // In parts, so that whatever the bound of the reads is, it fits.
    while (result.len() as u64) < run.output_bytes {
        let offset = result.len() as u64;
        let wanted = (run.output_bytes - offset).min(PART);
        let mapped = gpu
            .read_raw(&active, &output, offset, wanted.next_multiple_of(4))?
            .await?;
        result.extend_from_slice(&mapped[..wanted as usize]);
    }
    Ok(result)
}

/// Bytes of the result that are read at a time.
const PART: u64 = 4 << 20;

fn fits(name: &str, bytes: u64, limit: u64) -> Result<(), GpuError> {
    if bytes > limit {
        return Err(GpuError::BindingTooLarge {
            name: name.to_owned(),
            bytes,
            limit,
        });
    }
    Ok(())
}

/// The bindings of group 0 that the entry point uses.
fn used_bindings(checked: &Checked) -> Vec<u32> {
    let info = crate::wgsl::info(&checked.module);
    checked
        .module
        .global_variables
        .iter()
        .filter(|(handle, _)| !info.get_entry_point(0)[*handle].is_empty())
        .filter_map(|(_, variable)| variable.binding.map(|binding| binding.binding))
        .collect()
}

/// The time, as well as the platform tells it.
struct Clock {
    #[cfg(not(target_arch = "wasm32"))]
    begun: std::time::Instant,
    /// In milliseconds since 1970.
    #[cfg(target_arch = "wasm32")]
    begun: f64,
}

#[cfg(not(target_arch = "wasm32"))]
impl Clock {
    fn now() -> Self {
        Self {
            begun: std::time::Instant::now(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

#[cfg(target_arch = "wasm32")]
impl Clock {
    fn now() -> Self {
        Self {
            begun: js_sys::Date::now(),
        }
    }

    /// Nothing where the clock was set back.
    fn elapsed(&self) -> Duration {
        let millis = js_sys::Date::now() - self.begun;
        Duration::from_millis(millis.max(0.0) as u64)
    }
}
