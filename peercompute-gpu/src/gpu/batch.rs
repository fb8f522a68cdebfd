use std::{fmt, sync::Arc};

use super::{
    Gpu, GpuError, HotBuffer, Kernel, Span,
    hub::Active,
    pipelines::Compiled,
    profile::{Spans, Stamps},
};

/// Work that is handed to the device in one piece: passes that see each other's results in the order in which they were added. Nothing happens
/// before [`submit`](Self::submit); dropped, it never does.
pub struct Batch {
    pub(super) gpu: Gpu,
    pub(super) active: Arc<Active>,
    pub(super) encoder: wgpu::CommandEncoder,
    stamps: Option<Stamps>,
}

/// A buffer for a binding of a kernel.
#[derive(Clone, Debug)]
pub struct KernelBinding<'a> {
    index: u32,
    buffer: &'a HotBuffer,
    offset: u64,
    bytes: u64,
}

impl<'a> KernelBinding<'a> {
    /// The whole buffer.
    pub fn new(index: u32, buffer: &'a HotBuffer) -> Self {
        Self::part(index, buffer, 0, buffer.bytes())
    }

    /// A part of the buffer, which begins at a multiple of the device's alignment (256 everywhere).
    pub fn part(index: u32, buffer: &'a HotBuffer, offset: u64, bytes: u64) -> Self {
        Self {
            index,
            buffer,
            offset,
            bytes,
        }
    }
}

/// Work that was handed to the device.
#[derive(Debug)]
pub struct Submission {
    spans: Option<Spans>,
}

impl Submission {
    /// How long the passes took, in their order; empty unless the batch was made by [`Gpu::profiled_batch`].
    ///
    /// # Errors
    ///
    /// [`GpuError::Lost`] if the device was lost meanwhile.
    pub async fn spans(self) -> Result<Vec<Span>, GpuError> {
        match self.spans {
            Some(spans) => spans.wait().await,
            None => Ok(Vec::new()),
        }
    }
}

impl Gpu {
    /// An empty batch.
    ///
    /// # Errors
    ///
    /// [`GpuError::Lost`] after the device is lost.
    pub fn batch(&self) -> Result<Batch, GpuError> {
        let active = self.active()?;
        Ok(Batch {
            gpu: self.clone(),
            encoder: active.device.create_command_encoder(&Default::default()),
            active,
            stamps: None,
        })
    }

    /// An empty batch whose passes are measured.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoTimestamps`] if the device does not tell the time; as [`batch`](Self::batch).
    pub fn profiled_batch(&self) -> Result<Batch, GpuError> {
        let mut batch = self.batch()?;
        batch.stamps = Some(Stamps::new(&batch.active)?);
        Ok(batch)
    }
}

impl Batch {
    /// Adds a dispatch of the application's own kernel: `workgroups` along each axis.
    ///
    /// # Errors
    ///
    /// [`GpuError::Bindings`] unless exactly the kernel's bindings are given, [`GpuError::BindingTooLarge`], [`GpuError::OutOfRange`],
    /// [`GpuError::Workgroups`], [`GpuError::Stale`], or [`GpuError::Device`] for what only the device can tell, such as a buffer that is
    /// smaller than the kernel's structure.
    pub fn dispatch(
        &mut self,
        kernel: &Kernel,
        bindings: &[KernelBinding<'_>],
        workgroups: [u32; 3],
    ) -> Result<(), GpuError> {
        kernel.check(&self.active)?;
        let mut found: Vec<u32> = bindings.iter().map(|binding| binding.index).collect();
        found.sort_unstable();
        if found != kernel.bindings() {
            return Err(GpuError::Bindings {
                expected: kernel.bindings().to_vec(),
                found,
            });
        }
        let mut entries = Vec::with_capacity(bindings.len());
        for binding in bindings {
            binding.buffer.check(&self.active)?;
            binding.buffer.check_part(binding.offset, binding.bytes)?;
            self.check_binding(binding.buffer.name(), binding.bytes)?;
            entries.push(wgpu::BindGroupEntry {
                binding: binding.index,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: binding.buffer.raw(),
                    offset: binding.offset,
                    size: wgpu::BufferSize::new(binding.bytes),
                }),
            });
        }
        self.pass("kernel", &kernel.compiled, &entries, workgroups)
    }

    /// Copies the first `bytes` of a buffer to another.
    ///
    /// # Errors
    ///
    /// [`GpuError::OutOfRange`], [`GpuError::Unaligned`], [`GpuError::Stale`], or [`GpuError::Aliased`] if both are the same.
    pub fn copy(&mut self, from: &HotBuffer, to: &HotBuffer, bytes: u64) -> Result<(), GpuError> {
        for buffer in [from, to] {
            buffer.check(&self.active)?;
            buffer.check_part(0, bytes)?;
        }
        if from.is(to) {
            return Err(GpuError::Aliased {
                name: from.name().to_owned(),
            });
        }
        self.encoder
            .copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, Some(bytes));
        Ok(())
    }

    /// Hands the work to the device and does not wait for it.
    ///
    /// # Errors
    ///
    /// [`GpuError::Lost`], or [`GpuError::Device`] for what only the device can tell.
    pub fn submit(mut self) -> Result<Submission, GpuError> {
        if let Some(stamps) = &self.stamps {
            stamps.resolve(&mut self.encoder);
        }
        let active = self.gpu.active()?;
        if active.generation != self.active.generation {
            return Err(GpuError::Stale {
                name: "the batch".to_owned(),
            });
        }
        active
            .scoped(|| active.queue.submit([self.encoder.finish()]))
            .map_err(|error| {
                active.lost_or(GpuError::Device {
                    message: error.to_string(),
                })
            })?;
        let spans = self
            .stamps
            .map(|stamps| stamps.read(&self.gpu, &active))
            .transpose()?;
        Ok(Submission { spans })
    }

    pub(super) fn check_binding(&self, name: &str, bytes: u64) -> Result<(), GpuError> {
        let limit = self.active.limits.max_storage_buffer_binding_size;
        if bytes > limit {
            return Err(GpuError::BindingTooLarge {
                name: name.to_owned(),
                bytes,
                limit,
            });
        }
        Ok(())
    }

    /// Adds a pass of one dispatch.
    pub(super) fn pass(
        &mut self,
        label: &'static str,
        compiled: &Compiled,
        entries: &[wgpu::BindGroupEntry<'_>],
        workgroups: [u32; 3],
    ) -> Result<(), GpuError> {
        let limit = self.active.limits.max_compute_workgroups_per_dimension;
        if workgroups.iter().any(|count| *count > limit) {
            return Err(GpuError::Workgroups {
                asked: workgroups,
                limit,
            });
        }
        if workgroups.contains(&0) {
            return Ok(());
        }
        let group = self
            .active
            .scoped(|| {
                self.active
                    .device
                    .create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some(label),
                        layout: &compiled.layout,
                        entries,
                    })
            })
            .map_err(|error| {
                self.active.lost_or(GpuError::Device {
                    message: error.to_string(),
                })
            })?;
        let timestamp_writes = self
            .stamps
            .as_mut()
            .map(|stamps| stamps.pass(label))
            .transpose()?;
        let mut pass = self
            .encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(label),
                timestamp_writes,
            });
        pass.set_pipeline(&compiled.pipeline);
        pass.set_bind_group(0, &group, &[]);
        let [x, y, z] = workgroups;
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Batch").finish_non_exhaustive()
    }
}
