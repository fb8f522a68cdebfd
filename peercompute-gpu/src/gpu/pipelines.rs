use std::{collections::HashMap, fmt, sync::Arc};

use super::{Gpu, GpuError, hub::Active, signal::lock};

/// Pipelines that a hub holds; the one that was used longest ago goes for a new one, and is compiled again when it is wanted again.
pub const MAX_PIPELINES: usize = 256;

/// Compiled shaders by their text.
#[derive(Default)]
pub(super) struct Pipelines {
    compiled: HashMap<Key, (Arc<Compiled>, u64)>,
    used: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    source: String,
    entry: String,
    checks: Checks,
}

/// Whether the device watches what a shader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Checks {
    /// Every access is held inside its array, and loops end.
    On,
    /// For this crate's own shaders, which stay inside by themselves.
    Off,
}

pub(super) struct Compiled {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    /// The bindings that it uses, in ascending order.
    pub(super) bindings: Vec<u32>,
}

impl Pipelines {
    pub(super) fn clear(&mut self) {
        self.compiled.clear();
    }

    fn find(&mut self, key: &Key) -> Option<Arc<Compiled>> {
        self.used += 1;
        let (compiled, used) = self.compiled.get_mut(key)?;
        *used = self.used;
        Some(Arc::clone(compiled))
    }

    fn insert(&mut self, key: Key, compiled: Arc<Compiled>) {
        if self.compiled.len() >= MAX_PIPELINES {
            let oldest = self.compiled.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.compiled.remove(&key);
            }
        }
        self.compiled.insert(key, (compiled, self.used));
    }
}

/// An entry point of a shader, compiled for a device.
#[derive(Clone)]
pub struct Kernel {
    pub(super) compiled: Arc<Compiled>,
    generation: u64,
    entry: String,
}

impl Kernel {
    /// The bindings in group 0 that it uses, in ascending order.
    pub fn bindings(&self) -> &[u32] {
        &self.compiled.bindings
    }

    pub(super) fn check(&self, active: &Active) -> Result<(), GpuError> {
        if self.generation == active.generation {
            Ok(())
        } else {
            Err(GpuError::Stale {
                name: format!("kernel {:?}", self.entry),
            })
        }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Kernel")
            .field("entry", &self.entry)
            .field("bindings", &self.bindings())
            .finish_non_exhaustive()
    }
}

impl Gpu {
    /// Compiles an entry point of a shader in WGSL, or finds it among those that were compiled before. All its bindings are in group 0. Accesses
    /// are held inside their arrays. It is for shaders of the application: what strangers write belongs into the helper process.
    ///
    /// # Errors
    ///
    /// [`GpuError::Shader`] with line and caret, [`GpuError::Pipeline`] if the device does not take it, [`GpuError::Lost`].
    pub fn kernel(&self, source: &str, entry: &str) -> Result<Kernel, GpuError> {
        let active = self.active()?;
        Ok(Kernel {
            compiled: self.compile(&active, source, entry, Checks::On)?,
            generation: active.generation,
            entry: entry.to_owned(),
        })
    }

    pub(super) fn compile(
        &self,
        active: &Active,
        source: &str,
        entry: &str,
        checks: Checks,
    ) -> Result<Arc<Compiled>, GpuError> {
        let key = Key {
            source: source.to_owned(),
            entry: entry.to_owned(),
            checks,
        };
        if let Some(compiled) = lock(&self.shared.pipelines).find(&key) {
            return Ok(compiled);
        }
        let bindings = bindings(source, entry)?;
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(entry),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let pipeline = active
            .scoped(|| {
                let module = match checks {
                    Checks::On => active.device.create_shader_module(descriptor),
                    // SAFETY: only this crate's own shaders come here. Each compares its indices with the sizes that it gets, which the batch
                    // compares with those of the buffers; their loops end.
                    Checks::Off => unsafe {
                        active.device.create_shader_module_trusted(
                            descriptor,
                            wgpu::ShaderRuntimeChecks::unchecked(),
                        )
                    },
                };
                pipeline(active, &module, entry, checks)
            })
            .map_err(|error| {
                active.lost_or(GpuError::Pipeline {
                    entry: entry.to_owned(),
                    message: error.to_string(),
                })
            })?;
        let compiled = Arc::new(Compiled {
            layout: pipeline.get_bind_group_layout(0),
            pipeline,
            bindings,
        });
        lock(&self.shared.pipelines).insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

pub(super) fn pipeline(
    active: &Active,
    module: &wgpu::ShaderModule,
    entry: &str,
    checks: Checks,
) -> wgpu::ComputePipeline {
    active
        .device
        .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: None,
            module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: checks == Checks::On,
                ..Default::default()
            },
            cache: None,
        })
}

/// The bindings that an entry point uses.
fn bindings(source: &str, entry: &str) -> Result<Vec<u32>, GpuError> {
    let parsed =
        crate::wgsl::parse(source).map_err(|diagnostic| GpuError::Shader { diagnostic })?;
    let found = parsed
        .module
        .entry_points
        .iter()
        .position(|point| point.name == entry && point.stage == naga::ShaderStage::Compute);
    let pipeline_error = |message: String| GpuError::Pipeline {
        entry: entry.to_owned(),
        message,
    };
    let Some(index) = found else {
        let names: Vec<_> = parsed
            .module
            .entry_points
            .iter()
            .map(|point| point.name.as_str())
            .collect();
        return Err(pipeline_error(format!(
            "the shader has no such compute entry point; it has {names:?}"
        )));
    };
    let used = parsed.info.get_entry_point(index);
    let mut bindings = Vec::new();
    for (handle, variable) in parsed.module.global_variables.iter() {
        let Some(binding) = &variable.binding else {
            continue;
        };
        if used[handle].is_empty() {
            continue;
        }
        if binding.group != 0 {
            return Err(pipeline_error(format!(
                "binding {} is in group {}; all must be in group 0",
                binding.binding, binding.group
            )));
        }
        bindings.push(binding.binding);
    }
    bindings.sort_unstable();
    Ok(bindings)
}
