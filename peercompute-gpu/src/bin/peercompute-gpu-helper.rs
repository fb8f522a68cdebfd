//! A helper for strangers' shaders, for applications that are not their own: see `peercompute_gpu::helper`.

fn main() -> std::process::ExitCode {
    #[cfg(not(target_arch = "wasm32"))]
    peercompute_gpu::helper::run_if_asked();
    eprintln!(
        "peercompute-gpu-helper runs strangers' shaders for a PeerCompute node, which starts it by itself; name it as the helper program there"
    );
    std::process::ExitCode::from(2)
}
