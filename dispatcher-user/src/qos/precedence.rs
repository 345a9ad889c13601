//! Which class goes next, among those that have something waiting.
//!
//! 1. A class that was given less than its guaranteed share since it began to wait. Its claim grows by its share of
//!    whatever is served meanwhile, and goes first once it is as large as what it wants to send. So no level starves the
//!    levels below, and the class that goes first for its share pays for it at once. A class whose requests wait for long
//!    has a small share even if none is guaranteed (ageing).
//! 2. Strict levels: the highest that has something waiting.
//! 3. Within a level, start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): the smallest tag goes first, and pays
//!    its cost divided by its weight. For any time in which two classes have something waiting, what they got differs by
//!    at most one largest request of each, divided by its weight. Deficit round robin has the same aim, but serves a
//!    class its whole quantum in a row, and a class of a large weight would hold the others up for as long.
//!
//! Each choice looks at every class once; there are [`MAX_CLASSES`](super::settings::MAX_CLASSES) at most.

use super::settings::{ClassId, ClassSettings, MAX_COST};

/// A cost of 1 at weight 1, on the scale of tags.
const TAG_SCALE: u64 = 1 << 16;
/// A cost of 1, on the scale of claims.
const CLAIM_SCALE: i64 = 100;
/// The largest claim: a class that may not go, for its level has no slots, does not pile up more.
const MOST_OWED: i64 = CLAIM_SCALE * MAX_COST as i64;
/// What a class is guaranteed for its age alone, in percent.
const AGED_SHARE: i64 = 3;

/// The classes' claims.
#[derive(Debug)]
pub(super) struct Precedence {
    classes: Vec<Claim>,
    /// For each level the tag of what was served last.
    levels: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    level: usize,
    weight: u64,
    share_percent: i64,
    tag: u64,
    /// What it was not given of its share, on the scale of claims.
    owed: i64,
}

/// What a class brings to a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// It has nothing waiting.
    Nothing,
    /// It has something waiting.
    Turn,
    /// It has something waiting, and for long.
    AgedTurn,
}

impl Precedence {
    /// Nothing was served yet.
    pub(super) fn new<'a>(settings: impl Iterator<Item = &'a ClassSettings> + Clone) -> Self {
        let mut priorities: Vec<u8> = settings.clone().map(|class| class.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let level_of = |class: &ClassSettings| priorities.partition_point(|&priority| priority < class.priority);
        let claim = |class: &ClassSettings| Claim {
            level: level_of(class),
            weight: u64::from(class.weight.max(1)),
            share_percent: i64::from(class.share_percent),
            tag: 0,
            owed: 0,
        };
        let classes = settings.map(claim).collect();
        Self { classes, levels: vec![0; priorities.len()] }
    }

    /// How many levels there are.
    pub(super) fn levels(&self) -> usize {
        self.levels.len()
    }

    /// The level of a class, 0 the highest.
    pub(super) fn level(&self, class: ClassId) -> usize {
        self.classes.get(class.index()).map_or(0, |claim| claim.level)
    }

    /// A class that had nothing waiting has something now: it claims nothing for the time before.
    pub(super) fn woke(&mut self, class: ClassId) {
        let Some(claim) = self.classes.get_mut(class.index()) else { return };
        let level_tag = self.levels.get(claim.level).copied().unwrap_or(0);
        claim.tag = claim.tag.max(level_tag);
        claim.owed = 0;
    }

    /// The class that goes next, of levels below `open_levels`.
    pub(super) fn choose(&self, open_levels: usize, wants: impl Fn(ClassId) -> Wants) -> Option<ClassId> {
        let ids = (0..).map(ClassId);
        let open = ids.zip(&self.classes).filter(|(_, claim)| claim.level < open_levels);
        let waiting = open.filter(|&(id, _)| wants(id) != Wants::Nothing);
        waiting.min_by_key(|(_, claim)| (claim.owed < CLAIM_SCALE, claim.level, claim.tag)).map(|(id, _)| id)
    }

    /// A request of `class` was served; `wants` is what classes want besides it.
    pub(super) fn served(&mut self, class: ClassId, cost: u32, wants: impl Fn(ClassId) -> Wants) {
        for (id, claim) in (0..).map(ClassId).zip(&mut self.classes) {
            let share = match wants(id) {
                Wants::Nothing if id != class => continue,
                Wants::Nothing | Wants::Turn => claim.share_percent,
                Wants::AgedTurn => claim.share_percent.max(AGED_SHARE),
            };
            claim.owed = claim.owed.saturating_add(share.saturating_mul(i64::from(cost))).min(MOST_OWED);
        }
        let Some(claim) = self.classes.get_mut(class.index()) else { return };
        // What it took for its claim beyond the claim is set off against the next one; what it got anyway is not.
        let advance = i64::from(cost.saturating_sub(1)).saturating_mul(CLAIM_SCALE);
        claim.owed = claim.owed.saturating_sub(i64::from(cost).saturating_mul(CLAIM_SCALE)).max(-advance);
        if let Some(level) = self.levels.get_mut(claim.level) {
            *level = claim.tag;
        }
        claim.tag = claim.tag.saturating_add(u64::from(cost).saturating_mul(TAG_SCALE) / claim.weight);
    }
}

#[cfg(test)]
mod tests;
