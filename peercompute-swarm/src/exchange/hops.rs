//! How far the submitter of a job and those who compute it are.

use peercompute_map::SortedMap;

use super::{
    NeighbourId,
    job::{Ability, Job, JobLink},
};

/// The longest way that is told of. Beyond it there is none, so that what nobody is at the end of is forgotten.
pub(super) const MAX_HOPS: u32 = 32;

/// Hops to the submitter and to the nearest node that computes; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hops {
    pub(super) source: u32,
    pub(super) worker: u32,
}

/// What a neighbour was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) hops: Hops,
    pub(super) refusal: String,
}

/// The nearest and the second nearest, so that nobody is told of a way through himself.
#[derive(Clone, Copy, Default)]
struct Nearest {
    best: Option<(u32, NeighbourId)>,
    second: Option<u32>,
}

impl Nearest {
    fn among(links: &SortedMap<NeighbourId, JobLink>, hops: impl Fn(&JobLink) -> u32) -> Self {
        let mut nearest = Self::default();
        for (neighbour, link) in links {
            let hops = hops(link);
            if hops == 0 || hops >= MAX_HOPS {
                continue;
            }
            match nearest.best {
                Some((best, _)) if hops >= best => {
                    nearest.second = Some(nearest.second.map_or(hops, |second| second.min(hops)));
                }
                before => {
                    nearest.second = before.map(|(best, _)| best);
                    nearest.best = Some((hops, *neighbour));
                }
            }
        }
        nearest
    }

    /// What `neighbour` is told.
    fn beside(&self, neighbour: NeighbourId) -> u32 {
        let hops = match self.best {
            Some((_, through)) if through == neighbour => self.second,
            best => best.map(|(hops, _)| hops),
        };
        hops.map_or(0, |hops| hops + 1)
    }
}

impl Job {
    /// Whether there is a way to the submitter.
    pub(super) fn has_source(&self) -> bool {
        self.is_own() || self.links.values().any(|link| link.heard.source > 0)
    }

    /// Whether somebody computes it, or is about to: this node, or one that a neighbour knows a way to.
    pub(super) fn has_worker(&self) -> bool {
        self.computes || self.prepares || self.links.values().any(|link| link.heard.worker > 0)
    }

    /// Why nobody computes it, as far as that is known.
    pub(super) fn refusal(&self) -> Option<&str> {
        let told = self.links.values().map(|link| link.refusal.as_str());
        let own = match &self.ability {
            Ability::Unable(failure) => Some(failure.message.as_str()),
            _ => None,
        };
        told.chain(own).find(|refusal| !refusal.is_empty())
    }

    /// Looks what each neighbour has to be told now.
    pub(super) fn update_told(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let source = Nearest::among(&self.links, |link| link.heard.source);
        let worker = Nearest::among(&self.links, |link| link.heard.worker);
        let refusal = self.refusal().unwrap_or_default().to_owned();
        let (own, computes) = (self.is_own(), self.computes || self.prepares);
        for (neighbour, link) in &mut self.links {
            let hops = Hops {
                source: if own { 1 } else { source.beside(*neighbour) },
                // A submitter takes no tasks back, so that what it computes itself is no way for others.
                worker: if computes && !own {
                    1
                } else {
                    worker.beside(*neighbour)
                },
            };
            let refusal = if hops.worker == 0 && *refusal != *link.refusal {
                refusal.clone()
            } else {
                String::new()
            };
            let told = Told { hops, refusal };
            if link.told.as_ref() != Some(&told) {
                link.told = Some(told);
                link.announce = true;
                self.wakes.push(*neighbour);
            }
        }
    }
}
