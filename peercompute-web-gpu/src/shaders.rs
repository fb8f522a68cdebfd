//! Shaders of strangers on the browser's device.

use peercompute_gpu::{
    Gpu, GpuError, GpuOptions, UntrustedError, UntrustedRun, run_untrusted,
    wgsl::{self, WgslLimits},
};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

/// Rounds of all its loops together that an invocation is granted. What hangs ends after them, in about a second: a page cannot take the browser's GPU back from it, and all pages draw with it.
const ROUNDS: u32 = 1 << 20;

/// A device that runs shaders, one after the other.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Shaders {
    gpu: Gpu,
}

#[wasm_bindgen]
impl Shaders {
    /// Opens the device that the browser chooses.
    ///
    /// # Errors
    ///
    /// An error named `NO_DEVICE` where there is none, or it does not open.
    pub async fn open() -> Result<Shaders, JsValue> {
        let gpu = Gpu::open(GpuOptions::new()).await;
        let gpu = gpu.map_err(|refusal| error("NO_DEVICE", &refusal))?;
        Ok(Self { gpu })
    }

    /// What device it is, as far as the browser tells.
    #[wasm_bindgen(getter)]
    pub fn adapter(&self) -> String {
        self.gpu.adapter().to_string()
    }

    /// Runs `entry_point` of `source`, of the form that `peercompute_gpu::wgsl` shows, in workgroups along three axes, and gives `output_bytes` bytes.
    ///
    /// # Errors
    ///
    /// An error named `REFUSED` for a shader that cannot run, or not on this device; `ROUNDS` for one whose loops go on for too long; `FAILED` where the device failed, which may be gone then.
    pub async fn run(
        &self,
        source: String,
        entry_point: String,
        workgroups: Vec<u32>,
        uniforms: Vec<u8>,
        input: Vec<u8>,
        output_bytes: f64,
    ) -> Result<Vec<u8>, JsValue> {
        let refused = |refusal: &dyn std::fmt::Display| error("REFUSED", refusal);
        let workgroups = workgroups
            .try_into()
            .map_err(|_| refused(&"workgroups are counted along three axes"))?;
        let checked = wgsl::check(&source, &entry_point, &WgslLimits::new());
        let checked = checked.and_then(|checked| checked.with_rounds(ROUNDS));
        let checked = checked.map_err(|refusal| refused(&refusal))?;
        let run = UntrustedRun {
            input: &input,
            uniforms: &uniforms,
            workgroups,
            output_bytes: output_bytes as u64,
        };
        let outcome = run_untrusted(&self.gpu, &checked, run, || false).await;
        outcome.map_err(|failure| match failure {
            UntrustedError::Gpu(
                GpuError::Lost { .. } | GpuError::OutOfMemory { .. } | GpuError::Device { .. },
            ) => error("FAILED", &failure),
            UntrustedError::Rounds { .. } => error("ROUNDS", &failure),
            _ => refused(&failure),
        })
    }
}

fn error(name: &str, message: &dyn std::fmt::Display) -> JsValue {
    let error = js_sys::Error::new(&message.to_string());
    error.set_name(name);
    error.into()
}
