use std::time::Duration;

use peercompute_rt::Runtime;

/// The `now` of the pure cores: time since the runtime's start.
pub(crate) fn now(runtime: &Runtime) -> Duration {
    runtime.now().since_start()
}
