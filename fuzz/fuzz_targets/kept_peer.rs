//! See [`peercompute_fuzz::kept_peer`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peercompute_fuzz::kept_peer(data));

#[cfg(not(fuzzing))]
fn main() {
    peercompute_fuzz::replay(peercompute_fuzz::kept_peer);
}
