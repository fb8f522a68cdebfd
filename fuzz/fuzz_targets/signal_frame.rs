//! See [`peercompute_fuzz::signal_frame`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peercompute_fuzz::signal_frame(data));

#[cfg(not(fuzzing))]
fn main() {
    peercompute_fuzz::replay(peercompute_fuzz::signal_frame);
}
