use std::time::Duration;

/// A small random number generator that repeats from its seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimRng(u64);

impl SimRng {
    /// A generator that starts from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number, all equally likely.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True with a probability, from 0 for never to 1 for always.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what a double holds; the result is below 1.
        let unit = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < probability
    }

    /// A time from zero to `limit`, both included, all equally likely.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        match nanos.checked_add(1) {
            Some(range) => {
                let scaled = (u128::from(self.next_u64()) * u128::from(range)) >> 64;
                Duration::from_nanos(u64::try_from(scaled).expect("below the range"))
            }
            None => Duration::from_nanos(self.next_u64()),
        }
    }
}

/// FNV-1a: folds `bytes` into `hash`. For names and traces, where nobody attacks it.
pub(crate) fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What [`fold`] starts from.
pub(crate) const FOLD_START: u64 = 0xcbf2_9ce4_8422_2325;
