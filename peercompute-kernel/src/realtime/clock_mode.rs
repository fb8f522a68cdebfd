use super::{HybridConfig, LockstepConfig};

/// Who says how time passes in a live room. All peers of a room have the same, set up alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockMode {
    /// Everything happens when it is due, on each peer by itself: the best throughput. There are no ticks, and a command is for whom [`set_command_target`](crate::Realtime::set_command_target) says.
    #[default]
    Independent,
    /// The kernel ticks everything: all peers carry out the same commands in the same ticks, so that their states stay alike bit for bit. A command is sealed by the room's host.
    Kernel(LockstepConfig),
    /// Each peer advances by the room's clock with the commands that have come, and nobody waits for anybody; at every sync point what differs from the host's state is taken over from the host. A command goes to everybody.
    Hybrid(HybridConfig),
}
