//! See [`peercompute_fuzz::lockstep_record`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peercompute_fuzz::lockstep_record(data));

#[cfg(not(fuzzing))]
fn main() {
    peercompute_fuzz::replay(peercompute_fuzz::lockstep_record);
}
