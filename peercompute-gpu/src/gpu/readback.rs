//! Reading back without a stall: copies to staging buffers that are mapped when the device is done.

use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use super::{
    Gpu, GpuError, HotBuffer,
    hub::Active,
    signal::{Signal, lock},
};

/// Reads under way at most; another one is refused with [`GpuError::StagingFull`].
pub const MAX_STAGING: usize = 64;

/// The smallest staging buffer, so that small ones serve each other's reads.
const SMALLEST: u64 = 4096;

/// The staging buffers of a hub.
#[derive(Debug)]
pub(super) struct Staging {
    limit: u64,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    generation: u64,
    free: Vec<wgpu::Buffer>,
    in_flight: usize,
    /// Bytes of all, free or not.
    held: u64,
}

/// A staging buffer on loan.
#[derive(Debug)]
struct Lent {
    buffer: wgpu::Buffer,
    generation: u64,
    staging: Arc<Staging>,
}

impl Staging {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            ring: Mutex::default(),
        }
    }

    pub(super) fn clear(&self, generation: u64) {
        *lock(&self.ring) = Ring {
            generation,
            ..Ring::default()
        };
    }

    fn lend(self: &Arc<Self>, active: &Active, bytes: u64) -> Result<Lent, GpuError> {
        let mut ring = lock(&self.ring);
        let full = |ring: &Ring| GpuError::StagingFull {
            bytes,
            in_flight: ring.in_flight,
            held: ring.held - ring.free.iter().map(wgpu::Buffer::size).sum::<u64>(),
            limit: self.limit,
        };
        if ring.in_flight >= MAX_STAGING || bytes > self.limit {
            return Err(full(&ring));
        }
        // The smallest that is large enough and no waste.
        let fitting = ring
            .free
            .iter()
            .enumerate()
            .filter(|(_, free)| {
                (bytes..=bytes.saturating_mul(4).max(SMALLEST)).contains(&free.size())
            })
            .min_by_key(|(_, free)| free.size())
            .map(|(at, _)| at);
        let buffer = if let Some(at) = fitting {
            ring.free.swap_remove(at)
        } else {
            let size = bytes
                .next_power_of_two()
                .clamp(SMALLEST, self.limit.max(SMALLEST))
                .max(bytes);
            let size = size.next_multiple_of(4);
            while ring.held + size > self.limit.max(SMALLEST) {
                let Some(free) = ring.free.pop() else {
                    return Err(full(&ring));
                };
                ring.held -= free.size();
            }
            let buffer = active
                .scoped(|| {
                    active.device.create_buffer(&wgpu::BufferDescriptor {
                        label: Some("peercompute-gpu staging"),
                        size,
                        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                        mapped_at_creation: false,
                    })
                })
                .map_err(|_| active.lost_or(GpuError::OutOfMemory { bytes: size }))?;
            ring.held += size;
            buffer
        };
        ring.in_flight += 1;
        Ok(Lent {
            buffer,
            generation: ring.generation,
            staging: Arc::clone(self),
        })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Ends a mapping, and also one that has not come yet.
        self.buffer.unmap();
        let mut ring = lock(&self.staging.ring);
        if ring.generation == self.generation {
            ring.in_flight -= 1;
            ring.free.push(self.buffer.clone());
        }
    }
}

/// Bytes on their way back from the device: a future. Dropped, it gives up the read.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Read {
    lent: Option<Lent>,
    bytes: u64,
    active: Arc<Active>,
    signal: Signal<Result<(), wgpu::BufferAsyncError>>,
}

impl Future for Read {
    type Output = Result<Mapped, GpuError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.signal.poll(&self.active.loss, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(Ok(()))) => {
                let lent = self
                    .lent
                    .take()
                    .expect("a future is not polled after it was ready");
                let view = lent.buffer.slice(..self.bytes).get_mapped_range();
                Poll::Ready(Ok(Mapped {
                    view: Some(view),
                    _lent: lent,
                }))
            }
            Poll::Ready(Ok(Err(error))) => {
                Poll::Ready(Err(self.active.lost_or(GpuError::Device {
                    message: error.to_string(),
                })))
            }
        }
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Read")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Bytes that came back. They hold a staging buffer until they are dropped.
#[derive(Debug)]
pub struct Mapped {
    // Before the buffer is unmapped the view must be gone: the order of the fields is that of their drops.
    view: Option<wgpu::BufferView>,
    _lent: Lent,
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.view.as_deref().expect("only a drop takes it")
    }
}

impl Mapped {
    /// The bytes as numbers, in the order of the device, which is little-endian.
    pub fn to_vec_of<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self) -> Vec<T> {
        bytemuck::pod_collect_to_vec(self)
    }
}

impl Gpu {
    /// Reads a part of a buffer as it is after all that was submitted before. Nothing waits: the bytes come with the future.
    ///
    /// # Errors
    ///
    /// [`GpuError::StagingFull`] while too many reads are under way: leave this one out, or await some; [`GpuError::Unaligned`],
    /// [`GpuError::OutOfRange`], [`GpuError::Stale`], [`GpuError::Lost`].
    pub fn read(&self, buffer: &HotBuffer, offset: u64, bytes: u64) -> Result<Read, GpuError> {
        let active = self.active()?;
        buffer.check(&active)?;
        buffer.check_part(offset, bytes)?;
        self.read_raw(&active, buffer.raw(), offset, bytes)
    }

    pub(super) fn read_raw(
        &self,
        active: &Arc<Active>,
        buffer: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
    ) -> Result<Read, GpuError> {
        let lent = self.shared.staging.lend(active, bytes)?;
        let signal = Signal::new(&active.loss);
        active
            .scoped(|| {
                let mut encoder = active.device.create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(buffer, offset, &lent.buffer, 0, Some(bytes));
                active.queue.submit([encoder.finish()]);
                let done = signal.clone();
                let watch = active.watch();
                lent.buffer
                    .slice(..bytes)
                    .map_async(wgpu::MapMode::Read, move |outcome| {
                        done.set(outcome);
                        drop(watch);
                    });
            })
            .map_err(|error| {
                active.lost_or(GpuError::Device {
                    message: error.to_string(),
                })
            })?;
        Ok(Read {
            lent: Some(lent),
            bytes,
            active: Arc::clone(active),
            signal,
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::{Poller, Watch, block_on};

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::{
        sync::{
            Arc, Condvar, Mutex,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Poll, Wake, Waker},
        thread::{self, JoinHandle, Thread},
        time::Duration,
    };

    use super::{super::signal::Loss, Gpu, GpuError, lock};

    /// Between two looks at the device, at first and at most. A thread that waits inside the driver instead would keep others from submitting.
    const SOONEST: Duration = Duration::from_micros(20);
    const LATEST: Duration = Duration::from_millis(1);

    /// How long whoever blocks waits inside the driver, which keeps others from submitting.
    const BLOCK: Duration = Duration::from_millis(1);

    /// How long whoever blocks sleeps where the device has nothing to do.
    const PARK: Duration = Duration::from_micros(500);

    /// A thread that asks the device for news while somebody waits for some.
    pub(in super::super) struct Poller {
        watched: Arc<Watched>,
        thread: Option<JoinHandle<()>>,
    }

    #[derive(Default)]
    struct Watched {
        state: Mutex<State>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct State {
        count: usize,
        begun: u64,
        stop: bool,
    }

    /// Somebody waits.
    pub(in super::super) struct Watch(Arc<Watched>);

    impl Poller {
        pub(in super::super) fn start(device: wgpu::Device, loss: Loss) -> Result<Self, GpuError> {
            let watched = Arc::new(Watched::default());
            let looked = Arc::clone(&watched);
            let thread = thread::Builder::new()
                .name("peercompute-gpu".to_owned())
                .spawn(move || look(&device, &loss, &looked))
                .map_err(|error| GpuError::NoThread {
                    message: error.to_string(),
                })?;
            Ok(Self {
                watched,
                thread: Some(thread),
            })
        }

        pub(in super::super) fn watch(&self) -> Watch {
            let mut state = lock(&self.watched.state);
            state.count += 1;
            state.begun += 1;
            if state.count == 1 {
                self.watched.changed.notify_one();
            }
            Watch(Arc::clone(&self.watched))
        }
    }

    impl Drop for Poller {
        fn drop(&mut self) {
            lock(&self.watched.state).stop = true;
            self.watched.changed.notify_one();
            // The thread may have the last handle to the device, and with it to the driver's library: unloaded while the process ends, that
            // would end it with a fault. A callback of the device, which runs on the thread itself, cannot wait for it.
            if let Some(thread) = self.thread.take()
                && thread.thread().id() != thread::current().id()
            {
                // A panic there has been reported there.
                let _ = thread.join();
            }
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            lock(&self.0.state).count -= 1;
        }
    }

    fn look(device: &wgpu::Device, loss: &Loss, watched: &Watched) {
        let mut pause = SOONEST;
        let mut seen = 0;
        loop {
            let mut state = lock(&watched.state);
            while state.count == 0 && !state.stop {
                state = watched
                    .changed
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            if state.stop {
                return;
            }
            if state.begun != seen {
                seen = state.begun;
                pause = SOONEST;
            }
            drop(state);
            // A device that does not answer brings nothing that is awaited.
            if let Err(error) = device.poll(wgpu::PollType::Poll) {
                loss.set(|| error.to_string());
            }
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(LATEST);
        }
    }

    struct Sleeper {
        thread: Thread,
        woken: AtomicBool,
    }

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    pub(in super::super) fn block_on<T>(gpu: &Gpu, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let sleeper = Arc::new(Sleeper {
            thread: thread::current(),
            woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&sleeper));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            while !sleeper.woken.swap(false, Ordering::AcqRel) {
                let wait = wgpu::PollType::Wait {
                    submission_index: None,
                    timeout: Some(BLOCK),
                };
                let idle = !matches!(
                    gpu.current().device.poll(wait),
                    Err(wgpu::PollError::Timeout)
                );
                if idle && !sleeper.woken.load(Ordering::Acquire) {
                    thread::park_timeout(PARK);
                }
            }
        }
    }
}
