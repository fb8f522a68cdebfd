use super::report::{Interest, Outcome};
use super::survey::Survey;

/// Which changes go into a snapshot: those that are not held back, as far as there is a budget for them.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// For each entity of the interest.
    pub(super) included: Vec<bool>,
    /// What there is to send, the most urgent first, and how much of it is chosen.
    candidates: Vec<u32>,
    chosen: usize,
    /// What each took, in sixteenths of a bit.
    costs: Vec<u32>,
    measured: bool,
    /// What an entity takes on average, in sixteenths of a bit.
    average: Option<u64>,
}

impl Choice {
    pub(super) fn begin(
        &mut self,
        interest: &Interest<'_>,
        survey: &Survey,
        budget: Option<usize>,
    ) {
        let count = survey.outcomes.len();
        self.measured = budget.is_some();
        self.included.clear();
        self.candidates.clear();
        self.costs.clear();
        match interest.held {
            [] => self.included.resize(count, true),
            held => self.included.extend(held.iter().map(|held| !held)),
        }
        for entering in &survey.entering {
            self.included[entering.index as usize] = true;
        }
        let Some(budget) = budget else {
            return;
        };
        self.costs.resize(count, 0);
        for index in interest.urgency.iter().copied().chain(0..count as u32) {
            // Taken out here, so that none comes twice, and put in again below if it is chosen.
            let is_free = std::mem::take(&mut self.included[index as usize]);
            if is_free && survey.outcomes[index as usize] == Outcome::Sent {
                self.candidates.push(index);
            }
        }
        for index in &self.candidates {
            self.included[*index as usize] = true;
        }
        let room = budget as u64 * 8 * 16;
        let average = self.average.unwrap_or(0).max(1);
        let chosen = usize::try_from(room / average).unwrap_or(usize::MAX);
        self.choose(chosen.min(self.candidates.len()));
    }

    fn choose(&mut self, chosen: usize) {
        self.chosen = chosen;
        for index in &self.candidates[chosen..] {
            self.included[*index as usize] = false;
        }
    }

    #[inline]
    pub(super) fn measure(&mut self, index: u32, cost: u64) {
        if self.measured {
            self.costs[index as usize] = cost.min(u64::from(u32::MAX)) as u32;
        }
    }

    /// Chooses fewer where the snapshot is larger than its budget, and says whether it did.
    pub(super) fn narrow(&mut self, budget: Option<usize>, bytes: usize, last: bool) -> bool {
        let Some(budget) = budget.filter(|budget| bytes > *budget && self.chosen > 0) else {
            return false;
        };
        let bits = 8 * 16;
        let total: u64 = self.candidates[..self.chosen]
            .iter()
            .map(|index| u64::from(self.costs[*index as usize]))
            .sum();
        // What is left out costs a little, too, and models learn less from fewer.
        let rest = (bytes as u64 * bits).saturating_sub(total);
        let mut room = (budget as u64 * bits).saturating_sub(rest + 2 * bits);
        let mut chosen = 0;
        for index in &self.candidates[..self.chosen] {
            let cost = u64::from(self.costs[*index as usize]);
            if cost > room {
                break;
            }
            room -= cost;
            chosen += 1;
        }
        // At least a sixteenth fewer each time, so that this ends soon.
        let most = self.chosen - (self.chosen / 16).max(1);
        self.choose(if last { 0 } else { chosen.min(most) });
        true
    }

    /// Learns what entities take.
    pub(super) fn learn(&mut self) {
        if !self.measured || self.chosen == 0 {
            return;
        }
        let chosen = &self.candidates[..self.chosen];
        let total: u64 = chosen
            .iter()
            .map(|index| u64::from(self.costs[*index as usize]))
            .sum();
        let mean = total / self.chosen as u64;
        self.average = Some(
            self.average
                .map_or(mean, |average| (average * 7 + mean) / 8),
        );
    }
}
