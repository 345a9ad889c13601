//! Which of a backend's tunnels a request takes: a pure function over their loads.

/// What a slot carries. A slot that takes no requests has a limit of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Requests under way.
    pub(super) streams: u32,
    /// As many as it may carry at once.
    pub(super) limit: u32,
}

impl Load {
    fn has_room(self) -> bool {
        self.streams < self.limit
    }
}

/// The slot for a request, or none if all are full.
///
/// The preferred slot if it has room: a session stays on its tunnel. Else the slot with the fewest requests. Among equals
/// the kept ones come first, in turn from `start`, so that new sessions spread over them; the extra ones come in
/// order, so that those at the end fall idle and are closed.
pub(super) fn choose(
    preferred: Option<usize>,
    start: usize,
    kept: usize,
    slots: usize,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    if let Some(slot) = preferred.filter(|&slot| slot < slots && load(slot).has_room()) {
        return Some(slot);
    }
    let kept = kept.min(slots);
    let start = start.checked_rem(kept).unwrap_or(0);
    let mut best: Option<(u32, usize)> = None;
    for slot in (start..kept).chain(0..start).chain(kept..slots) {
        let load = load(slot);
        if load.has_room() && best.is_none_or(|(streams, _)| load.streams < streams) {
            best = Some((load.streams, slot));
            if load.streams == 0 {
                break;
            }
        }
    }
    best.map(|(_, slot)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads written as `streams/limit`; the first `kept` are kept.
    fn pick(preferred: Option<usize>, start: usize, kept: usize, loads: &[(u32, u32)]) -> Option<usize> {
        choose(preferred, start, kept, loads.len(), |slot| Load { streams: loads[slot].0, limit: loads[slot].1 })
    }

    #[test]
    fn a_session_stays_on_its_tunnel_while_that_has_room() {
        assert_eq!(pick(Some(1), 0, 3, &[(0, 8), (7, 8), (0, 8)]), Some(1));
        assert_eq!(pick(Some(1), 0, 3, &[(3, 8), (8, 8), (2, 8)]), Some(2));
        // Neither a slot that is down nor one that never was is waited for.
        assert_eq!(pick(Some(0), 0, 2, &[(0, 0), (5, 8)]), Some(1));
        assert_eq!(pick(Some(9), 0, 2, &[(1, 8), (0, 8)]), Some(1));
    }

    #[test]
    fn new_sessions_take_turns_among_equals() {
        let idle = [(0, 8), (0, 8), (0, 8)];
        let turns: Vec<_> = (0..4).map(|start| pick(None, start, 3, &idle).unwrap()).collect();
        assert_eq!(turns, [0, 1, 2, 0]);
        assert_eq!(pick(None, 0, 3, &[(2, 8), (1, 8), (1, 8)]), Some(1));
        assert_eq!(pick(None, 2, 3, &[(2, 8), (1, 8), (1, 8)]), Some(2));
    }

    #[test]
    fn extra_tunnels_come_after_the_kept_ones_and_in_order() {
        assert_eq!(pick(None, 1, 2, &[(1, 1), (0, 1), (0, 1)]), Some(1));
        assert_eq!(pick(None, 1, 2, &[(1, 1), (1, 1), (0, 0), (0, 1), (0, 1)]), Some(3));
    }

    #[test]
    fn nothing_is_chosen_where_nothing_has_room() {
        assert_eq!(pick(None, 0, 2, &[(8, 8), (0, 0)]), None);
        assert_eq!(pick(Some(0), 5, 0, &[]), None);
    }
}
