use std::time::Duration;

use peercompute_gpu::{
    BufferUse, Compute, ForeignDevice, Gpu, GpuError, GpuOptions, HotBuffer, KernelBinding,
    Lifetime, MAX_STAGING, Matrix, Place, Reduction, adapters,
};

use crate::{open, options, shared};

fn small(gpu: &Gpu, name: &str) -> HotBuffer {
    gpu.create_buffer(name, 16, BufferUse::storage(), Lifetime::Handles)
        .unwrap()
}

fn numbers(gpu: &Gpu, buffer: &HotBuffer) -> Vec<u32> {
    gpu.block_on(gpu.read(buffer, 0, buffer.bytes()).unwrap())
        .unwrap()
        .to_vec_of()
}

const DOUBLE: &str = "
@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { values[id.x] *= 2u; }
";

#[test]
fn the_adapter_of_the_tests_is_listed() {
    let listed = pollster::block_on(adapters(Default::default()));
    let name = shared().adapter().name;
    assert!(
        listed.iter().any(|adapter| adapter.name == name),
        "{listed:?}"
    );
}

#[test]
fn software_is_not_taken_unless_it_is_asked_for() {
    let listed = pollster::block_on(adapters(Default::default()));
    if listed.iter().all(|adapter| adapter.software) {
        let error = pollster::block_on(Gpu::open(GpuOptions::new())).unwrap_err();
        assert!(matches!(error, GpuError::NoAdapter { .. }), "{error}");
        let gpu = pollster::block_on(Gpu::open(GpuOptions::new().with_software(true))).unwrap();
        assert!(gpu.adapter().software);
    }
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_names_those_that_are() {
    let error =
        pollster::block_on(Gpu::open(GpuOptions::new().with_name("no such device"))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("\"no such device\"") && text.contains(&shared().adapter().name),
        "{text}"
    );
}

#[test]
fn the_applications_own_kernel_runs_on_a_buffer() {
    let gpu = shared();
    let buffer = gpu
        .upload(
            "",
            bytemuck::cast_slice(&[1u32, 2, 3, 4]),
            BufferUse::storage(),
            Lifetime::Handles,
        )
        .unwrap();
    let kernel = gpu.kernel(DOUBLE, "main").unwrap();
    assert_eq!(kernel.bindings(), [0]);
    let mut batch = gpu.batch().unwrap();
    for _ in 0..2 {
        batch
            .dispatch(&kernel, &[KernelBinding::new(0, &buffer)], [1, 1, 1])
            .unwrap();
    }
    batch.submit().unwrap();
    assert_eq!(numbers(gpu, &buffer), [4, 8, 12, 16]);
}

#[test]
fn a_kernel_that_does_not_compile_shows_line_and_caret() {
    let error = shared()
        .kernel(&DOUBLE.replace("id.x", "id.q"), "main")
        .unwrap_err();
    let GpuError::Shader { diagnostic } = error else {
        panic!("{error}")
    };
    assert!(
        diagnostic.contains("values[id.q]") && diagnostic.contains('^'),
        "{diagnostic}"
    );
    assert!(matches!(
        shared().kernel(DOUBLE, "mian"),
        Err(GpuError::Pipeline { .. })
    ));
}

#[test]
fn bindings_that_the_kernel_does_not_have_are_refused() {
    let gpu = shared();
    let buffer = small(gpu, "");
    let kernel = gpu.kernel(DOUBLE, "main").unwrap();
    let mut batch = gpu.batch().unwrap();
    let error = batch
        .dispatch(&kernel, &[KernelBinding::new(1, &buffer)], [1, 1, 1])
        .unwrap_err();
    assert_eq!(
        error,
        GpuError::Bindings {
            expected: vec![0],
            found: vec![1]
        }
    );
    let limit = gpu.device().limits().max_compute_workgroups_per_dimension;
    let asked = [limit + 1, 1, 1];
    let error = batch
        .dispatch(&kernel, &[KernelBinding::new(0, &buffer)], asked)
        .unwrap_err();
    assert_eq!(error, GpuError::Workgroups { asked, limit });
    let error = batch
        .dispatch(&kernel, &[KernelBinding::part(0, &buffer, 0, 20)], [1; 3])
        .unwrap_err();
    assert!(
        matches!(
            error,
            GpuError::OutOfRange {
                end: 20,
                size: 16,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_buffer_is_found_by_its_name_as_long_as_it_lives() {
    let gpu = open();
    let buffer = small(&gpu, "field");
    assert!(gpu.buffer("field").unwrap().is(&buffer));
    let taken = gpu.create_buffer("field", 16, BufferUse::storage(), Lifetime::Handles);
    assert!(matches!(taken, Err(GpuError::NameTaken { .. })));
    drop(buffer);
    assert!(gpu.buffer("field").is_none());
    assert_eq!(gpu.hot_bytes(), 0);

    drop(
        gpu.create_buffer("kept", 16, BufferUse::storage(), Lifetime::Kept)
            .unwrap(),
    );
    assert_eq!(gpu.hot_bytes(), 16);
    assert!(gpu.buffer("kept").is_some());
    assert!(gpu.remove_buffer("kept"));
    assert!(gpu.buffer("kept").is_none());
    assert_eq!(gpu.hot_bytes(), 0);
}

#[test]
fn memory_for_buffers_is_bounded_and_comes_back() {
    let gpu = pollster::block_on(Gpu::open(options().with_hot_bytes(100))).unwrap();
    let first = gpu
        .create_buffer("first", 60, BufferUse::storage(), Lifetime::Handles)
        .unwrap();
    let second = || gpu.create_buffer("second", 60, BufferUse::storage(), Lifetime::Handles);
    assert_eq!(
        second().unwrap_err(),
        GpuError::HotBytesFull {
            name: "second".to_owned(),
            wanted: 60,
            used: 60,
            limit: 100
        }
    );
    drop(first);
    second().unwrap();
}

#[test]
fn sizes_that_no_buffer_has_are_refused() {
    let gpu = shared();
    for bytes in [0, 3] {
        let refused = gpu.create_buffer("", bytes, BufferUse::storage(), Lifetime::Handles);
        assert!(matches!(refused, Err(GpuError::Unaligned { .. })));
    }
    let refused = gpu.create_buffer("", u64::MAX - 3, BufferUse::storage(), Lifetime::Handles);
    assert!(matches!(refused, Err(GpuError::BufferTooLarge { .. })));
    let buffer = small(gpu, "");
    assert!(matches!(
        gpu.write(&buffer, 0, &[0; 20]),
        Err(GpuError::OutOfRange { .. })
    ));
    assert!(matches!(
        gpu.write(&buffer, 2, &[0; 4]),
        Err(GpuError::Unaligned { .. })
    ));
    assert!(matches!(
        gpu.read(&buffer, 8, 12),
        Err(GpuError::OutOfRange { .. })
    ));
}

#[test]
fn what_a_kernel_reads_it_cannot_also_write() {
    let gpu = shared();
    let buffer = small(gpu, "both");
    let mut batch = gpu.batch().unwrap();
    let error = batch
        .reduce(Reduction::Sum, &buffer, 4, &buffer)
        .unwrap_err();
    assert_eq!(
        error,
        GpuError::Aliased {
            name: "both".to_owned()
        }
    );
}

#[test]
fn reads_complete_on_any_executor_and_their_number_is_bounded() {
    let gpu = open();
    let buffer = small(&gpu, "");
    gpu.write(&buffer, 0, bytemuck::cast_slice(&[1u32, 2, 3, 4]))
        .unwrap();
    let reads: Vec<_> = (0..MAX_STAGING)
        .map(|_| gpu.read(&buffer, 0, 16).unwrap())
        .collect();
    assert!(matches!(
        gpu.read(&buffer, 0, 16),
        Err(GpuError::StagingFull {
            in_flight: MAX_STAGING,
            ..
        })
    ));
    for read in reads {
        let numbers: Vec<u32> = pollster::block_on(read).unwrap().to_vec_of();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
    // A read that nobody awaits gives its place back.
    for _ in 0..2 * MAX_STAGING {
        drop(gpu.read(&buffer, 0, 16).unwrap());
    }
    assert_eq!(numbers(&gpu, &buffer), [1, 2, 3, 4]);
}

#[test]
fn a_read_larger_than_the_bound_is_refused() {
    let gpu = pollster::block_on(Gpu::open(options().with_staging_bytes(4096))).unwrap();
    let buffer = gpu
        .create_buffer("", 8192, BufferUse::storage(), Lifetime::Handles)
        .unwrap();
    assert!(matches!(
        gpu.read(&buffer, 0, 8192),
        Err(GpuError::StagingFull { .. })
    ));
    assert_eq!(
        gpu.block_on(gpu.read(&buffer, 4096, 4096).unwrap())
            .unwrap()
            .len(),
        4096
    );
}

#[test]
fn passes_are_measured_where_the_device_tells_the_time() {
    let gpu = shared();
    let input = small(gpu, "");
    let output = small(gpu, "");
    let batch = gpu.profiled_batch();
    if !gpu.adapter().timestamps {
        assert_eq!(batch.unwrap_err(), GpuError::NoTimestamps);
        return;
    }
    let mut batch = batch.unwrap();
    batch.reduce(Reduction::Sum, &input, 4, &output).unwrap();
    batch.prefix_sum(&input, 4, &output).unwrap();
    let spans = gpu.block_on(batch.submit().unwrap().spans()).unwrap();
    let labels: Vec<_> = spans.iter().map(|span| span.label).collect();
    assert_eq!(labels, ["reduce", "scan"]);
}

#[test]
fn a_device_that_is_lost_is_an_error_and_comes_back() {
    let gpu = open();
    let kept = gpu
        .create_buffer("kept", 16, BufferUse::storage(), Lifetime::Kept)
        .unwrap();
    let kernel = gpu.kernel(DOUBLE, "main").unwrap();
    gpu.device().destroy();
    // The device says so when it is asked.
    while gpu.poll().is_ok() {
        std::thread::yield_now();
    }
    assert!(matches!(
        gpu.write(&kept, 0, &[0; 4]),
        Err(GpuError::Lost { .. })
    ));
    assert!(matches!(gpu.batch(), Err(GpuError::Lost { .. })));
    // What computes by arrays goes on, on the processor.
    let compute = Compute::on_gpu(gpu.clone());
    assert!(matches!(compute.place(), Place::Cpu { .. }));
    assert_eq!(
        pollster::block_on(compute.reduce(Reduction::Sum, &[1.0, 2.0])).unwrap(),
        3.0
    );
    assert_eq!(compute.fallbacks(), 1);

    let recovered = pollster::block_on(gpu.recover()).unwrap();
    assert_eq!(recovered.buffers, ["kept"]);
    assert!(gpu.buffer("kept").is_none());
    assert!(matches!(
        gpu.write(&kept, 0, &[0; 4]),
        Err(GpuError::Stale { .. })
    ));
    let again = small(&gpu, "kept");
    let stale = gpu
        .batch()
        .unwrap()
        .dispatch(&kernel, &[KernelBinding::new(0, &again)], [1; 3]);
    assert!(matches!(stale, Err(GpuError::Stale { .. })));
    drop(kept);
    assert_eq!(gpu.hot_bytes(), 16);
    assert_eq!(
        pollster::block_on(compute.reduce(Reduction::Sum, &[1.0, 2.0])).unwrap(),
        3.0
    );
    assert_eq!(compute.fallbacks(), 1);
}

#[test]
fn a_renderers_device_and_its_buffers_are_shared() {
    // The renderer's side, made here without a window.
    let renderer = open();
    let foreign = ForeignDevice::new(renderer.device(), renderer.queue());
    let gpu = Gpu::from_device(foreign, GpuOptions::new()).unwrap();
    let vertices = gpu
        .device()
        .create_buffer(&peercompute_gpu::wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: peercompute_gpu::wgpu::BufferUsages::VERTEX
                | peercompute_gpu::wgpu::BufferUsages::STORAGE
                | peercompute_gpu::wgpu::BufferUsages::COPY_DST
                | peercompute_gpu::wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
    let shared = gpu
        .adopt_buffer("vertices", vertices.clone(), Lifetime::Kept)
        .unwrap();
    assert_eq!(shared.raw(), &vertices);
    assert_eq!(gpu.hot_bytes(), 0);
    gpu.write(&shared, 0, bytemuck::cast_slice(&[5u32, 6, 7, 8]))
        .unwrap();
    // Its reads complete when the application polls.
    let mut read = std::pin::pin!(gpu.read(&shared, 0, 16).unwrap());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mapped = loop {
        renderer
            .device()
            .poll(peercompute_gpu::wgpu::PollType::wait_indefinitely())
            .unwrap();
        if let std::task::Poll::Ready(mapped) = read.as_mut().poll(&mut context) {
            break mapped.unwrap();
        }
    };
    assert_eq!(mapped.to_vec_of::<u32>(), [5, 6, 7, 8]);

    // Its loss is the application's to tell, and to mend.
    gpu.mark_lost("the driver was reset");
    assert_eq!(gpu.lost().as_deref(), Some("the driver was reset"));
    assert_eq!(
        pollster::block_on(gpu.recover()),
        Err(GpuError::ForeignDevice)
    );
    let again = open();
    let recovered = gpu.recover_with(ForeignDevice::new(again.device(), again.queue()));
    assert_eq!(recovered.buffers, ["vertices"]);
    assert_eq!(gpu.lost(), None);
    let matrix = Matrix::new(1, 1, vec![3.0]).unwrap();
    let product = gpu
        .block_on(Compute::on_gpu(gpu.clone()).matmul(&matrix, &matrix))
        .unwrap();
    assert_eq!(product.values(), [9.0]);
}

#[test]
fn a_device_has_a_score() {
    for time in [Duration::ZERO, Duration::from_millis(1)] {
        let score = shared().score(time).unwrap();
        assert!(score.is_finite() && score > 0.0, "{time:?}: {score}");
    }
}
