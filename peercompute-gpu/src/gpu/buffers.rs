use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, Weak},
};

use super::{Gpu, GpuError, hub::Active, signal::lock};

/// Named buffers at most; another one is refused with [`GpuError::TooManyBuffers`].
pub const MAX_HOT_BUFFERS: usize = 65_536;

/// Bytes of a buffer's name at most.
pub const MAX_NAME: usize = 256;

/// How long a buffer lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as somebody has a handle to it.
    #[default]
    Handles,
    /// Until [`Gpu::remove_buffer`], and then as long as somebody has a handle to it.
    Kept,
}

/// What a buffer is used for besides being written, read back and bound to kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferUse {
    usage: Option<wgpu::BufferUsages>,
}

impl BufferUse {
    /// Nothing else.
    pub fn storage() -> Self {
        Self::default()
    }

    /// A renderer's vertices, too.
    #[must_use]
    pub fn and_vertices(self) -> Self {
        self.and(wgpu::BufferUsages::VERTEX)
    }

    /// A renderer's indices, too.
    #[must_use]
    pub fn and_indices(self) -> Self {
        self.and(wgpu::BufferUsages::INDEX)
    }

    /// The sizes of dispatches or draws, too.
    #[must_use]
    pub fn and_indirect(self) -> Self {
        self.and(wgpu::BufferUsages::INDIRECT)
    }

    /// Uniforms, too.
    #[must_use]
    pub fn and_uniform(self) -> Self {
        self.and(wgpu::BufferUsages::UNIFORM)
    }

    fn and(self, more: wgpu::BufferUsages) -> Self {
        Self {
            usage: Some(self.usage.unwrap_or(wgpu::BufferUsages::empty()) | more),
        }
    }

    fn usages(self) -> wgpu::BufferUsages {
        self.usage.unwrap_or(wgpu::BufferUsages::empty())
            | wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST
    }
}

/// A handle to a buffer on the device. Clones are handles to the same buffer.
#[derive(Clone)]
pub struct HotBuffer {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    buffer: wgpu::Buffer,
    bytes: u64,
    generation: u64,
    /// Bytes that count towards the bound: none where the memory is the application's.
    counted: u64,
    registry: Weak<Mutex<Registry>>,
}

impl HotBuffer {
    /// Its name; empty for one without.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// The buffer itself, to share with a renderer.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.inner.buffer
    }

    /// Whether both are handles to the same buffer.
    pub fn is(&self, other: &Self) -> bool {
        self.inner.buffer == other.inner.buffer
    }

    /// Fails if the buffer went with a device that was lost.
    pub(super) fn check(&self, active: &Active) -> Result<(), GpuError> {
        if self.inner.generation == active.generation {
            Ok(())
        } else {
            Err(GpuError::Stale {
                name: format!("buffer {:?}", self.inner.name),
            })
        }
    }

    /// Fails unless the part is in the buffer, and its start and size are multiples of four.
    pub(super) fn check_part(&self, offset: u64, bytes: u64) -> Result<(), GpuError> {
        let name = || self.inner.name.to_string();
        for (what, value, may_be_zero) in [("the offset", offset, true), ("a part", bytes, false)] {
            if value % 4 != 0 || value == 0 && !may_be_zero {
                return Err(GpuError::Unaligned {
                    name: name(),
                    what,
                    bytes: value,
                });
            }
        }
        match offset.checked_add(bytes) {
            Some(end) if end <= self.inner.bytes => Ok(()),
            end => Err(GpuError::OutOfRange {
                name: name(),
                offset,
                end: end.unwrap_or(u64::MAX),
                size: self.inner.bytes,
            }),
        }
    }
}

impl fmt::Debug for HotBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HotBuffer")
            .field("name", &self.name())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            lock(&registry).forget(&self.name, self.counted, self.generation);
        }
    }
}

/// The named buffers of a hub.
pub(super) struct Registry {
    limit: u64,
    used: u64,
    /// Of which device the buffers are; those of former ones count no more.
    generation: u64,
    named: BTreeMap<Arc<str>, Entry>,
}

struct Entry {
    buffer: Weak<Inner>,
    kept: Option<HotBuffer>,
}

impl Registry {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            generation: 0,
            named: BTreeMap::new(),
        }
    }

    /// Forgets all buffers, and gives the names of those that still were there, with the handles that were kept: to be dropped once the registry
    /// is not locked any more, since the last handle of a buffer looks here when it goes.
    pub(super) fn clear(&mut self, generation: u64) -> (Vec<String>, Vec<HotBuffer>) {
        self.generation = generation;
        self.used = 0;
        std::mem::take(&mut self.named)
            .into_iter()
            .filter(|(_, entry)| entry.buffer.strong_count() > 0)
            .fold(
                Default::default(),
                |(mut names, mut kept): (Vec<_>, Vec<_>), (name, entry)| {
                    names.push(name.to_string());
                    kept.extend(entry.kept);
                    (names, kept)
                },
            )
    }

    fn reserve(&mut self, name: &str, bytes: u64) -> Result<(), GpuError> {
        if name.len() > MAX_NAME {
            return Err(GpuError::NameTooLong {
                bytes: name.len(),
                limit: MAX_NAME,
            });
        }
        if self
            .named
            .get(name)
            .is_some_and(|entry| entry.buffer.strong_count() > 0)
        {
            return Err(GpuError::NameTaken {
                name: name.to_owned(),
            });
        }
        if self.named.len() >= MAX_HOT_BUFFERS {
            return Err(GpuError::TooManyBuffers {
                limit: MAX_HOT_BUFFERS,
            });
        }
        if bytes > self.limit - self.used {
            return Err(GpuError::HotBytesFull {
                name: name.to_owned(),
                wanted: bytes,
                used: self.used,
                limit: self.limit,
            });
        }
        self.used += bytes;
        Ok(())
    }

    fn forget(&mut self, name: &str, counted: u64, generation: u64) {
        if generation != self.generation {
            return;
        }
        self.used -= counted;
        if self
            .named
            .get(name)
            .is_some_and(|entry| entry.buffer.strong_count() == 0)
        {
            self.named.remove(name);
        }
    }
}

impl Gpu {
    /// Makes a buffer of `bytes`, filled with zeros. An empty name is no name: the buffer is not found by it, and any number of them may be.
    ///
    /// # Errors
    ///
    /// [`GpuError::Unaligned`] unless `bytes` is a positive multiple of 4, [`GpuError::NameTaken`], [`GpuError::HotBytesFull`] at the bound of
    /// [`GpuOptions::with_hot_bytes`](super::GpuOptions::with_hot_bytes), [`GpuError::BufferTooLarge`] and [`GpuError::OutOfMemory`] at the
    /// device's.
    pub fn create_buffer(
        &self,
        name: &str,
        bytes: u64,
        usage: BufferUse,
        lifetime: Lifetime,
    ) -> Result<HotBuffer, GpuError> {
        let active = self.active()?;
        if bytes == 0 || !bytes.is_multiple_of(4) {
            return Err(GpuError::Unaligned {
                name: name.to_owned(),
                what: "the size",
                bytes,
            });
        }
        let limit = active.limits.max_buffer_size;
        if bytes > limit {
            return Err(GpuError::BufferTooLarge {
                name: name.to_owned(),
                bytes,
                limit,
            });
        }
        lock(&self.shared.buffers).reserve(name, bytes)?;
        let created = active.scoped(|| {
            active.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(name),
                size: bytes,
                usage: usage.usages(),
                mapped_at_creation: false,
            })
        });
        match created {
            Ok(buffer) => self.register(name, buffer, bytes, bytes, lifetime, &active),
            Err(error) => {
                lock(&self.shared.buffers).forget("", bytes, active.generation);
                Err(active.lost_or(match error {
                    wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { bytes },
                    error => GpuError::Device {
                        message: error.to_string(),
                    },
                }))
            }
        }
    }

    /// Makes a buffer with these contents, as [`create_buffer`](Self::create_buffer) and [`write`](Self::write) do.
    ///
    /// # Errors
    ///
    /// As those.
    pub fn upload(
        &self,
        name: &str,
        contents: &[u8],
        usage: BufferUse,
        lifetime: Lifetime,
    ) -> Result<HotBuffer, GpuError> {
        let buffer = self.create_buffer(name, contents.len() as u64, usage, lifetime)?;
        self.write(&buffer, 0, contents)?;
        Ok(buffer)
    }

    /// Takes in a buffer of the application, such as a renderer's vertices. Its bytes count towards no bound. Kernels need the usage `STORAGE`,
    /// writes `COPY_DST`, reads `COPY_SRC`.
    ///
    /// # Errors
    ///
    /// [`GpuError::NameTaken`], [`GpuError::NameTooLong`] or [`GpuError::TooManyBuffers`].
    pub fn adopt_buffer(
        &self,
        name: &str,
        buffer: wgpu::Buffer,
        lifetime: Lifetime,
    ) -> Result<HotBuffer, GpuError> {
        let active = self.active()?;
        lock(&self.shared.buffers).reserve(name, 0)?;
        let bytes = buffer.size();
        self.register(name, buffer, bytes, 0, lifetime, &active)
    }

    fn register(
        &self,
        name: &str,
        buffer: wgpu::Buffer,
        bytes: u64,
        counted: u64,
        lifetime: Lifetime,
        active: &Active,
    ) -> Result<HotBuffer, GpuError> {
        let name: Arc<str> = name.into();
        let hot = HotBuffer {
            inner: Arc::new(Inner {
                name: Arc::clone(&name),
                buffer,
                bytes,
                generation: active.generation,
                counted,
                registry: Arc::downgrade(&self.shared.buffers),
            }),
        };
        if !name.is_empty() {
            let entry = Entry {
                buffer: Arc::downgrade(&hot.inner),
                kept: (lifetime == Lifetime::Kept).then(|| hot.clone()),
            };
            let mut registry = lock(&self.shared.buffers);
            let there = |entry: &Entry| entry.buffer.strong_count() > 0;
            if registry.named.get(&name).is_some_and(there) {
                // Somebody else was quicker. The handles go after the lock.
                drop(registry);
                drop(entry);
                return Err(GpuError::NameTaken {
                    name: name.to_string(),
                });
            }
            // The device may have been lost and replaced meanwhile; then the handle is stale, and nobody finds it by its name.
            if registry.generation == active.generation {
                registry.named.insert(name, entry);
            }
        }
        Ok(hot)
    }

    /// The buffer of that name.
    pub fn buffer(&self, name: &str) -> Option<HotBuffer> {
        let registry = lock(&self.shared.buffers);
        let inner = registry.named.get(name)?.buffer.upgrade()?;
        Some(HotBuffer { inner })
    }

    /// Takes the name from a buffer; it lives on as long as somebody has a handle to it. Says whether there was one.
    pub fn remove_buffer(&self, name: &str) -> bool {
        let entry = lock(&self.shared.buffers).named.remove(name);
        // Outside the lock: with it the last handle may go.
        entry.is_some()
    }

    /// Bytes that buffers of this hub hold.
    pub fn hot_bytes(&self) -> u64 {
        lock(&self.shared.buffers).used
    }

    /// Writes to a buffer. What is submitted afterwards sees it; nothing waits.
    ///
    /// # Errors
    ///
    /// [`GpuError::Unaligned`] unless offset and length are multiples of 4, [`GpuError::OutOfRange`], [`GpuError::Stale`], [`GpuError::Lost`].
    pub fn write(&self, buffer: &HotBuffer, offset: u64, contents: &[u8]) -> Result<(), GpuError> {
        let active = self.active()?;
        buffer.check(&active)?;
        buffer.check_part(offset, contents.len() as u64)?;
        active
            .scoped(|| active.queue.write_buffer(buffer.raw(), offset, contents))
            .map_err(|error| {
                active.lost_or(GpuError::Device {
                    message: error.to_string(),
                })
            })
    }
}
