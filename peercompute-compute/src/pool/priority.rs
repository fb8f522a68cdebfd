/// How much a task's client wants it. While several wait, the workers' time is shared by [weight](Priority::weight) between the flows, of which there is one for each client and
/// priority: a higher priority goes first most of the time, and a lower one never waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// For what nobody waits for.
    Low,
    /// What is not said otherwise.
    #[default]
    Normal,
    /// For what somebody waits for.
    High,
}

impl Priority {
    /// 1, 8 or 64. Against one flow of the next lower priority a flow gets eight ninths of the time, enough that it hardly notices the other; against one two steps lower 98.5 %.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Normal => 8,
            Self::High => 64,
        }
    }
}
