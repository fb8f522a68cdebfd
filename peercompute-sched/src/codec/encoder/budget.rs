use super::report::{Interest, Outcome, SnapshotReport};
use super::survey::Survey;
use crate::buffer::begin;

/// Which changes go into a snapshot: those that are not held back, as far as there is a budget for them.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// For each entity of the interest.
    pub(super) included: Vec<bool>,
    /// The budget does not suffice for all, so they are ranked, and what each takes is measured.
    is_ranked: bool,
    /// What there is to send, the most urgent first, and how much of it is chosen.
    candidates: Vec<u32>,
    chosen: usize,
    /// What each took, in sixteenths of a bit.
    costs: Vec<u32>,
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
        self.is_ranked = false;
        begin(&mut self.included, count);
        match interest.held {
            [] => self.included.resize(count, true),
            held => self.included.extend(held.iter().map(|held| !held)),
        }
        for entering in &survey.entering {
            self.included[entering.index as usize] = true;
        }
        if let (Some(budget), Some(average)) = (budget, self.average)
            && count as u64 * average > bits16(budget)
        {
            self.rank(interest, survey, budget, average);
        }
    }

    /// Chooses as many as have room if each takes the average, the most urgent first.
    fn rank(&mut self, interest: &Interest<'_>, survey: &Survey, budget: usize, average: u64) {
        let count = survey.outcomes.len();
        self.is_ranked = true;
        self.costs.clear();
        self.costs.resize(count, 0);
        self.candidates.clear();
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
        let chosen = bits16(budget) / average.max(1);
        let chosen = usize::try_from(chosen).unwrap_or(usize::MAX);
        self.choose(chosen.min(self.candidates.len()));
    }

    fn choose(&mut self, chosen: usize) {
        self.chosen = chosen;
        for index in &self.candidates[chosen..] {
            self.included[*index as usize] = false;
        }
    }

    /// Whether what entities take is to be [measured](Self::measure).
    pub(super) fn is_ranked(&self) -> bool {
        self.is_ranked
    }

    pub(super) fn measure(&mut self, index: u32, cost: u64) {
        if self.is_ranked {
            self.costs[index as usize] = cost.min(u64::from(u32::MAX)) as u32;
        }
    }

    /// Chooses fewer where the snapshot, of which `sent` are entities, is larger than its budget, and says whether it did.
    pub(super) fn narrow(
        &mut self,
        interest: &Interest<'_>,
        survey: &Survey,
        budget: Option<usize>,
        report: &SnapshotReport,
        last: bool,
    ) -> bool {
        let (bytes, sent) = (report.bytes, report.changed + report.entered);
        let Some(budget) = budget.filter(|budget| bytes > *budget && sent > 0) else {
            return false;
        };
        if !self.is_ranked {
            self.rank(interest, survey, budget, bits16(bytes) / sent as u64);
            return true;
        }
        let total: u64 = self.candidates[..self.chosen]
            .iter()
            .map(|index| u64::from(self.costs[*index as usize]))
            .sum();
        // What is left out costs a little, too, and models learn less from fewer.
        let rest = bits16(bytes).saturating_sub(total);
        let mut room = bits16(budget).saturating_sub(rest + bits16(2));
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
        if !self.is_ranked || self.chosen == 0 {
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

/// In sixteenths of a bit.
fn bits16(bytes: usize) -> u64 {
    bytes as u64 * 8 * 16
}
