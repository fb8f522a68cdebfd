//! See [`peercompute_fuzz::wgsl_source`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peercompute_fuzz::wgsl_source(data));

#[cfg(not(fuzzing))]
fn main() {
    peercompute_fuzz::replay(peercompute_fuzz::wgsl_source);
}
