/// When peers that run on their own take over what the host has, in the clock mode `hybrid`: at every so many ticks.
///
/// Between two of them each peer's state goes its own way. At one of them it hashes its namespaces, gets the host's hashes of the same tick, and asks for those that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPoints {
    every: u64,
}

impl SyncPoints {
    /// One at each multiple of so many ticks; 0 is taken as 1.
    pub fn new(every: u64) -> Self {
        Self {
            every: every.max(1),
        }
    }

    /// Whether there is one after this tick.
    pub fn is_at(self, tick: u64) -> bool {
        tick > 0 && tick.is_multiple_of(self.every)
    }

    /// The next one after this tick.
    pub fn next(self, tick: u64) -> u64 {
        (tick / self.every)
            .saturating_add(1)
            .saturating_mul(self.every)
    }

    /// The namespaces that have to be taken over from the host: those that differ there, and those that are missing here. What only this peer has is its own affair.
    pub fn to_take_over<'a>(self, own: &[(&str, u64)], hosts: &[(&'a str, u64)]) -> Vec<&'a str> {
        hosts
            .iter()
            .filter(|entry| !own.contains(entry))
            .map(|(name, _)| *name)
            .collect()
    }
}
