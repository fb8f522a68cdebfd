//! See [`peercompute_fuzz::kept_room`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peercompute_fuzz::kept_room(data));

#[cfg(not(fuzzing))]
fn main() {
    peercompute_fuzz::replay(peercompute_fuzz::kept_room);
}
