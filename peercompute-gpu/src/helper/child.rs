//! The helper's side.

use std::{
    env,
    io::{self, BufReader},
    process,
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use super::{ASKED, Frame, Request};
use crate::{
    Gpu, GpuError, UntrustedError, UntrustedRun, run_untrusted,
    wgsl::{self, SHADER_STACK, WgslLimits},
};

/// Exit status of a helper that was asked for something that is not in the protocol.
const MISUSED: i32 = 2;

/// Whether the program is ready to be its own helper.
static READY: AtomicBool = AtomicBool::new(false);

pub(super) fn is_ready() -> bool {
    READY.load(Ordering::Acquire)
}

/// Makes a program its own helper: call it first thing in `main`. In a process that was started as a helper it serves until its parent goes, and
/// then ends the process; in any other it returns at once.
pub fn run_if_asked() {
    if env::var_os(ASKED).is_none_or(|asked| asked != "1") {
        READY.store(true, Ordering::Release);
        return;
    }
    process::exit(serve());
}

fn serve() -> i32 {
    let (sender, frames) = mpsc::sync_channel(1);
    // Frames that are not answered yet.
    let busy: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let reader = thread::Builder::new()
        .name("peercompute-gpu-in".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(io::stdin());
            loop {
                match Frame::read(&mut input) {
                    Ok(Some(frame)) => {
                        // Here, and not where it is run: the parent may be gone before that.
                        busy.fetch_add(1, Ordering::AcqRel);
                        if sender.send(frame).is_err() {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => {
                        // The parent has gone. A shader that never ends would keep this process for ever.
                        if busy.load(Ordering::Acquire) > 0 {
                            process::abort();
                        }
                        return;
                    }
                }
            }
        });
    if reader.is_err() {
        return 1;
    }
    let worker = thread::Builder::new()
        .name("peercompute-gpu-run".to_owned())
        .stack_size(SHADER_STACK)
        .spawn(move || work(&frames, busy));
    match worker.map(thread::JoinHandle::join) {
        Ok(Ok(status)) => status,
        _ => 1,
    }
}

fn work(frames: &mpsc::Receiver<Frame>, busy: &AtomicU32) -> i32 {
    let mut output = io::stdout();
    let Ok(Frame::Open(choice)) = frames.recv() else {
        return MISUSED;
    };
    let gpu = match pollster::block_on(Gpu::open(choice.options())) {
        Ok(gpu) => gpu,
        Err(error) => {
            // The parent learns it from the frame.
            let _ = Frame::NoDevice(error.to_string()).write(&mut output);
            return 0;
        }
    };
    if Frame::Ready(gpu.adapter().to_string())
        .write(&mut output)
        .is_err()
    {
        return 0;
    }
    busy.fetch_sub(1, Ordering::AcqRel);
    while let Ok(frame) = frames.recv() {
        let Frame::Run(request) = frame else {
            return MISUSED;
        };
        let answer = run(&gpu, &request);
        if answer.write(&mut output).is_err() {
            return 0;
        }
        busy.fetch_sub(1, Ordering::AcqRel);
        if gpu.lost().is_some() {
            // Another process has a device that is whole.
            return 1;
        }
    }
    0
}

fn run(gpu: &Gpu, request: &Request) -> Frame {
    let checked = match wgsl::check(&request.source, &request.entry, &WgslLimits::new()) {
        Ok(checked) => checked,
        Err(error) => return Frame::Refused(error.to_string()),
    };
    let run = UntrustedRun {
        input: &request.input,
        uniforms: &request.uniforms,
        workgroups: request.workgroups,
        output_bytes: request.output_bytes,
    };
    match gpu.block_on(run_untrusted(gpu, &checked, run, || false)) {
        Ok(output) => Frame::Done(output),
        Err(
            error @ UntrustedError::Gpu(
                GpuError::Lost { .. } | GpuError::OutOfMemory { .. } | GpuError::Device { .. },
            ),
        ) => Frame::Failed(error.to_string()),
        Err(error) => Frame::Refused(error.to_string()),
    }
}
