//! This crate's own kernels, on buffers that stay on the device.

mod automaton;
mod matmul;
mod particles;
mod reduce;
mod stencil;

pub use matmul::MatmulShape;

use super::{Batch, GpuError, HotBuffer, pipelines::Checks};

impl Batch {
    /// Fails unless the buffer is of this device and its first `bytes` can be bound.
    fn need(&self, buffer: &HotBuffer, bytes: u64) -> Result<(), GpuError> {
        buffer.check(&self.active)?;
        buffer.check_part(0, bytes)?;
        self.check_binding(buffer.name(), bytes)
    }

    /// Fails if what is written is also read.
    fn apart(written: &HotBuffer, read: &[&HotBuffer]) -> Result<(), GpuError> {
        match read.iter().find(|buffer| buffer.is(written)) {
            Some(buffer) => Err(GpuError::Aliased {
                name: buffer.name().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Adds a pass of one of this crate's kernels: binding 0 is `uniform`, then come the buffers with the bytes that it sees of each.
    fn own_pass(
        &mut self,
        label: &'static str,
        source: &str,
        uniform: &[u8],
        buffers: &[(&wgpu::Buffer, u64)],
        workgroups: u64,
    ) -> Result<(), GpuError> {
        let compiled = self
            .gpu
            .compile(&self.active, source, "main", Checks::Off)?;
        let uniform = self.uniform(uniform);
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: uniform.as_entire_binding(),
        }];
        for (binding, (buffer, bytes)) in (1..).zip(buffers) {
            entries.push(wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 0,
                    size: wgpu::BufferSize::new(*bytes),
                }),
            });
        }
        let folded = self.fold(workgroups)?;
        self.pass(label, &compiled, &entries, folded)
    }

    fn uniform(&self, contents: &[u8]) -> wgpu::Buffer {
        let buffer = self.active.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("peercompute-gpu uniform"),
            size: (contents.len() as u64).next_multiple_of(16),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        buffer
            .slice(..contents.len() as u64)
            .get_mapped_range_mut()
            .copy_from_slice(contents);
        buffer.unmap();
        buffer
    }

    /// Memory for what passes hand to each other. It goes when the device is done with it.
    fn scratch(&self, bytes: u64) -> Result<wgpu::Buffer, GpuError> {
        self.active
            .scoped(|| {
                self.active.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("peercompute-gpu scratch"),
                    size: bytes.next_multiple_of(4).max(16),
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_DST
                        | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                })
            })
            .map_err(|_| self.active.lost_or(GpuError::OutOfMemory { bytes }))
    }

    /// Lays a row of workgroups out along two axes where one is too short; the kernels know by `num_workgroups`, and leave out what is too many.
    fn fold(&self, workgroups: u64) -> Result<[u32; 3], GpuError> {
        let limit = u64::from(self.active.limits.max_compute_workgroups_per_dimension);
        let rows = workgroups.div_ceil(limit).max(1);
        let along = workgroups.div_ceil(rows);
        if rows > limit {
            return Err(GpuError::Workgroups {
                asked: [u32::MAX; 3],
                limit: limit as u32,
            });
        }
        Ok([along as u32, rows as u32, 1])
    }
}

/// What the kernels begin with: the number of a workgroup that [`Batch::fold`] laid out.
const FOLDED: &str = "
fn folded(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
";

/// A number of elements as the kernels count them.
fn index(count: usize, buffer: &HotBuffer) -> Result<u32, GpuError> {
    // Below the largest number, so that a few steps beyond the end do not begin anew.
    u32::try_from(count)
        .ok()
        .filter(|count| *count <= u32::MAX / 4)
        .ok_or_else(|| GpuError::BindingTooLarge {
            name: buffer.name().to_owned(),
            bytes: count as u64 * 4,
            limit: u64::from(u32::MAX),
        })
}

#[cfg(test)]
fn check_source(source: &str) {
    if let Err(diagnostic) = crate::wgsl::parse(source) {
        panic!("{diagnostic}");
    }
}
