use std::{
    fmt,
    sync::{Arc, Mutex, RwLock},
};

use super::{
    AdapterSummary, Finished, GpuError, GpuOptions,
    buffers::Registry,
    options,
    pipelines::Pipelines,
    readback::Staging,
    signal::{Loss, Signal, lock},
};

/// One device for all who compute on it. Clones share it.
///
/// On a device of its own a thread asks for news while something is awaited, so that its futures complete on whatever executor. On a device of
/// the application they complete when the application polls it, or calls [`poll`](Self::poll).
#[derive(Clone)]
pub struct Gpu {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    options: GpuOptions,
    active: RwLock<Arc<Active>>,
    pub(super) buffers: Arc<Mutex<Registry>>,
    pub(super) pipelines: Mutex<Pipelines>,
    pub(super) staging: Arc<Staging>,
}

/// A device while it lives.
pub(super) struct Active {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) summary: AdapterSummary,
    pub(super) limits: wgpu::Limits,
    /// Which of the devices that this hub has had.
    pub(super) generation: u64,
    pub(super) loss: Loss,
    foreign: bool,
    #[cfg(not(target_arch = "wasm32"))]
    poller: Option<super::readback::Poller>,
}

/// The device and queue of an application, such as its renderer's.
#[derive(Clone, Debug)]
pub struct ForeignDevice {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

impl ForeignDevice {
    /// The device and queue of an application.
    pub fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self { device, queue }
    }
}

/// What a device that was lost took with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The named buffers, in the order of their names. Their contents are gone: make them anew.
    pub buffers: Vec<String>,
}

impl Gpu {
    /// Opens the device that the options choose, with all its limits.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoAdapter`] if there is none, [`GpuError::Driver`] if its driver fails, [`GpuError::Zero`] for options of zero.
    pub async fn open(options: GpuOptions) -> Result<Self, GpuError> {
        options.check()?;
        let active = own(&options, 0).await?;
        Ok(Self::with(options, active))
    }

    /// Computes on the device of an application. Of the options the bounds count alone. Its errors and its loss are still the application's to
    /// handle: after a loss it calls [`mark_lost`](Self::mark_lost).
    ///
    /// # Errors
    ///
    /// [`GpuError::Zero`] for options of zero.
    pub fn from_device(foreign: ForeignDevice, options: GpuOptions) -> Result<Self, GpuError> {
        options.check()?;
        let active = foreign_active(foreign, 0);
        Ok(Self::with(options, active))
    }

    fn with(options: GpuOptions, active: Active) -> Self {
        Self {
            shared: Arc::new(Shared {
                buffers: Arc::new(Mutex::new(Registry::new(options.hot_bytes))),
                pipelines: Mutex::new(Pipelines::default()),
                staging: Arc::new(Staging::new(options.staging_bytes)),
                active: RwLock::new(Arc::new(active)),
                options,
            }),
        }
    }

    /// What device it is.
    pub fn adapter(&self) -> AdapterSummary {
        self.current().summary.clone()
    }

    /// The device, for what this crate does not do. Do not destroy it.
    pub fn device(&self) -> wgpu::Device {
        self.current().device.clone()
    }

    /// The queue, for what this crate does not do.
    pub fn queue(&self) -> wgpu::Queue {
        self.current().queue.clone()
    }

    /// Why the device is lost, if it is.
    pub fn lost(&self) -> Option<String> {
        self.current().loss.reason()
    }

    /// Says that the device is lost, where the application learns of it: on a device of its own.
    pub fn mark_lost(&self, reason: impl Into<String>) {
        self.current().loss.set(|| reason.into());
    }

    /// Asks the device once for news, without waiting. Futures that are ready then wake their tasks. In a browser this does nothing: the event
    /// loop does it.
    ///
    /// # Errors
    ///
    /// [`GpuError::Lost`] after the device is lost.
    pub fn poll(&self) -> Result<(), GpuError> {
        let active = self.active()?;
        active
            .device
            .poll(wgpu::PollType::Poll)
            .map(drop)
            .map_err(|error| {
                active.lost_or(GpuError::Device {
                    message: error.to_string(),
                })
            })
    }

    /// Ready when the device has done what was submitted before.
    ///
    /// # Errors
    ///
    /// [`GpuError::Lost`] after the device is lost.
    pub fn finished(&self) -> Result<Finished, GpuError> {
        let active = self.active()?;
        let signal = Signal::new(&active.loss);
        let done = signal.clone();
        let watch = active.watch();
        active.queue.on_submitted_work_done(move || {
            done.set(());
            drop(watch);
        });
        Ok(Finished {
            signal,
            loss: active.loss.clone(),
        })
    }

    /// Opens a device of its own again after it was lost, by the same options. Buffers and kernels of before are stale.
    ///
    /// # Errors
    ///
    /// [`GpuError::ForeignDevice`] if the device is the application's; as [`open`](Self::open) otherwise, and then the hub is as it was.
    pub async fn recover(&self) -> Result<Recovered, GpuError> {
        let before = self.current();
        if before.foreign {
            return Err(GpuError::ForeignDevice);
        }
        let active = own(&self.shared.options, before.generation + 1).await?;
        Ok(self.replace(active))
    }

    /// Takes the application's new device after the former was lost. Buffers and kernels of before are stale.
    pub fn recover_with(&self, foreign: ForeignDevice) -> Recovered {
        let generation = self.current().generation + 1;
        self.replace(foreign_active(foreign, generation))
    }

    fn replace(&self, active: Active) -> Recovered {
        let mut slot = self
            .shared
            .active
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let generation = active.generation;
        *slot = Arc::new(active);
        lock(&self.shared.pipelines).clear();
        self.shared.staging.clear(generation);
        let (buffers, kept) = lock(&self.shared.buffers).clear(generation);
        drop(slot);
        drop(kept);
        Recovered { buffers }
    }

    /// The device, lost or not.
    pub(super) fn current(&self) -> Arc<Active> {
        let slot = self
            .shared
            .active
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&slot)
    }

    /// The device, unless it is lost.
    pub(super) fn active(&self) -> Result<Arc<Active>, GpuError> {
        let active = self.current();
        match active.loss.reason() {
            Some(reason) => Err(GpuError::Lost { reason }),
            None => Ok(active),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Gpu {
    /// Runs a future to its end on this thread, and asks the device for news meanwhile: the shortest way to a result where blocking is fine.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        super::readback::block_on(self, future)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gpu")
            .field("adapter", &self.adapter())
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

impl Active {
    /// The loss, where there is one, since it is the cause of whatever else failed.
    pub(super) fn lost_or(&self, error: GpuError) -> GpuError {
        match self.loss.reason() {
            Some(reason) => GpuError::Lost { reason },
            None => error,
        }
    }

    /// Runs `create`, and says what the device has against it. In a browser that is known only later, and then goes to its console.
    pub(super) fn scoped<T>(&self, create: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let created = create();
        for error in [
            ready(internal.pop()),
            ready(validation.pop()),
            ready(memory.pop()),
        ] {
            if let Some(Some(error)) = error {
                return Err(error);
            }
        }
        Ok(created)
    }

    /// Runs `create`, and waits until it is known what the device has against it.
    pub(super) async fn settled<T>(&self, create: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let created = create();
        // All are asked for before one is waited for: a browser answers them together.
        let internal = internal.pop();
        let validation = validation.pop();
        let memory = memory.pop();
        match (internal.await, validation.await, memory.await) {
            (None, None, None) => Ok(created),
            (Some(error), ..) | (_, Some(error), _) | (.., Some(error)) => Err(error),
        }
    }

    /// While it lives the thread of the device asks for news.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn watch(&self) -> Option<super::readback::Watch> {
        self.poller.as_ref().map(super::readback::Poller::watch)
    }

    #[cfg(target_arch = "wasm32")]
    pub(super) fn watch(&self) -> EventLoop {
        EventLoop
    }
}

/// What a future gives, if it is ready at once.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

async fn own(options: &GpuOptions, generation: u64) -> Result<Active, GpuError> {
    let adapter = options::choose(options).await?;
    let features =
        adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16);
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("peercompute-gpu"),
        required_features: features,
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    };
    let summary = AdapterSummary::of(&adapter);
    let (device, queue) =
        adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| GpuError::Driver {
                adapter: summary.to_string(),
                message: error.to_string(),
            })?;
    let loss = Loss::default();
    let tell = loss.clone();
    device.set_device_lost_callback(move |reason, message| {
        tracing::warn!(?reason, message, "the device is lost");
        tell.set(|| format!("{reason:?}: {message}"));
    });
    // Without this an error that no scope catches is a panic.
    device.on_uncaptured_error(Arc::new(|error| {
        tracing::error!(%error, "the device says");
    }));
    Ok(Active {
        limits: device.limits(),
        #[cfg(not(target_arch = "wasm32"))]
        poller: Some(super::readback::Poller::start(
            device.clone(),
            loss.clone(),
        )?),
        device,
        queue,
        summary,
        generation,
        loss,
        foreign: false,
    })
}

fn foreign_active(foreign: ForeignDevice, generation: u64) -> Active {
    let ForeignDevice { device, queue } = foreign;
    let limits = device.limits();
    let summary = AdapterSummary::new(&device.adapter_info(), &limits, device.features());
    Active {
        device,
        queue,
        summary,
        limits,
        generation,
        loss: Loss::default(),
        foreign: true,
        #[cfg(not(target_arch = "wasm32"))]
        poller: None,
    }
}

/// Asks the device for news by itself.
#[cfg(target_arch = "wasm32")]
pub(super) struct EventLoop;
