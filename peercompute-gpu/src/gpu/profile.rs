use std::time::Duration;

use super::{Gpu, GpuError, Read, hub::Active};

/// Passes that a batch measures at most; one more is refused with [`GpuError::TooManySpans`].
pub const MAX_SPANS: usize = 512;

/// Bytes of a timestamp.
const STAMP: u64 = 8;

/// How long the device took for one pass of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// What the pass did, such as `matmul`.
    pub label: &'static str,
    /// How long it took, from its beginning to its end.
    pub duration: Duration,
}

/// The timestamps of a batch.
pub(super) struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    labels: Vec<&'static str>,
}

impl Stamps {
    pub(super) fn new(active: &Active) -> Result<Self, GpuError> {
        if !active
            .device
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY)
        {
            return Err(GpuError::NoTimestamps);
        }
        let count = 2 * MAX_SPANS as u32;
        let set = active.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("peercompute-gpu spans"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = active.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("peercompute-gpu spans"),
            size: u64::from(count) * STAMP,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Ok(Self {
            set,
            resolved,
            labels: Vec::new(),
        })
    }

    pub(super) fn pass(
        &mut self,
        label: &'static str,
    ) -> Result<wgpu::ComputePassTimestampWrites<'_>, GpuError> {
        if self.labels.len() >= MAX_SPANS {
            return Err(GpuError::TooManySpans { limit: MAX_SPANS });
        }
        let first = 2 * self.labels.len() as u32;
        self.labels.push(label);
        Ok(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        if !self.labels.is_empty() {
            let end = 2 * self.labels.len() as u32;
            encoder.resolve_query_set(&self.set, 0..end, &self.resolved, 0);
        }
    }

    /// What was measured, on its way back.
    pub(super) fn read(
        self,
        gpu: &Gpu,
        active: &std::sync::Arc<Active>,
    ) -> Result<Spans, GpuError> {
        let bytes = 2 * self.labels.len() as u64 * STAMP;
        let read = (bytes > 0)
            .then(|| gpu.read_raw(active, &self.resolved, 0, bytes))
            .transpose()?;
        Ok(Spans {
            read,
            labels: self.labels,
            nanoseconds: active.queue.get_timestamp_period(),
        })
    }
}

/// Spans on their way back.
#[derive(Debug)]
pub(super) struct Spans {
    read: Option<Read>,
    labels: Vec<&'static str>,
    nanoseconds: f32,
}

impl Spans {
    pub(super) async fn wait(self) -> Result<Vec<Span>, GpuError> {
        let Some(read) = self.read else {
            return Ok(Vec::new());
        };
        let stamps: Vec<u64> = read.await?.to_vec_of();
        let spans = self.labels.into_iter().zip(stamps.chunks_exact(2));
        Ok(spans
            .map(|(label, stamps)| {
                let ticks = stamps[1].saturating_sub(stamps[0]) as f64;
                Span {
                    label,
                    duration: Duration::from_nanos((ticks * f64::from(self.nanoseconds)) as u64),
                }
            })
            .collect())
    }
}
