//! Takes over the sessions that a former daemon left.

use dispatcher_common::session::Session;

use super::{Mapping, SessionId, Sessions, Write};

impl Sessions {
    /// Takes over the rows of `dsp_sessions`, for the services whose rules are set. Those of other services, and those
    /// whose time is over, end; where there are more than may be, those stay that were used last.
    ///
    /// A session whose backend is gone stays: what becomes of it is for its next request to see.
    pub fn adopt(&mut self, now_ns: u64, mut rows: Vec<(SessionId, Session)>, writes: &mut Vec<Write>) {
        // In the order of their last requests, so that the lists have it too.
        rows.sort_unstable_by_key(|(id, row)| (row.last_seen_ns, *id));
        let mut taken: Vec<(u64, u32)> = Vec::with_capacity(rows.len());
        for (id, row) in rows {
            let rules = self.services.get(&row.service).map(|service| service.rules);
            let Some(rules) = rules.filter(|rules| rules.expires_ns(&row) > now_ns && !self.index.contains_key(&id))
            else {
                self.refuse(id, writes);
                continue;
            };
            self.make_room(row.service, rules.capacity, writes);
            let Some(slot) = self.put_in(id, Session { pad: [0; 7], ..row }) else { continue };
            self.counters.adopted = self.counters.adopted.wrapping_add(1);
            taken.push((row.created_ns, slot));
        }
        self.order_by_age(taken);
    }

    /// Ends a row that is not taken over, unless its ID stands for a session that is there.
    fn refuse(&mut self, id: SessionId, writes: &mut Vec<Write>) {
        if !self.index.contains_key(&id) {
            writes.push(Write::Remove(id));
            self.counters.expired = self.counters.expired.wrapping_add(1);
        }
    }

    /// Puts the sessions that were just taken over into the order in which they began.
    fn order_by_age(&mut self, mut taken: Vec<(u64, u32)>) {
        taken.sort_unstable();
        for (created_ns, slot) in taken {
            // A slot may have been given to another session meanwhile, which is in `taken` as well.
            let Some(row) = self.slots.find(slot).map(|session| session.row) else { continue };
            if row.created_ns == created_ns
                && let Some(service) = self.services.get_mut(&row.service)
            {
                self.slots.move_to_end(&mut service.lists, super::AGE, slot);
            }
        }
    }

    /// The mapping of a session, without taking note of a request.
    #[must_use]
    pub fn mapping(&self, id: SessionId) -> Option<Mapping> {
        self.row(id).as_ref().map(Mapping::of)
    }
}
