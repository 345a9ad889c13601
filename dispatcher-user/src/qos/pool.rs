//! Records under stable keys, and lists whose links lie in the records, so that taking one out of the middle is O(1).

use std::num::NonZeroU32;

/// Names a record. A key whose record was removed names nothing, also after its place was given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: NonZeroU32,
}

/// Records, each with a place in up to `LINKS` lists.
#[derive(Debug)]
pub(super) struct Pool<T, const LINKS: usize> {
    places: Vec<Place<T, LINKS>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T, const LINKS: usize> {
    generation: NonZeroU32,
    record: Option<T>,
    links: [Link; LINKS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    before: Option<Key>,
    after: Option<Key>,
}

/// A list of records by their link number `LINK`. A record is in at most one list for each number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain<const LINK: usize> {
    first: Option<Key>,
    last: Option<Key>,
    length: u32,
}

impl<const LINK: usize> Chain<LINK> {
    /// The record at the front.
    pub(super) fn first(&self) -> Option<Key> {
        self.first
    }

    /// The record at the back.
    pub(super) fn last(&self) -> Option<Key> {
        self.last
    }

    /// How many records it has.
    pub(super) fn len(&self) -> u32 {
        self.length
    }

    /// True if it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T, const LINKS: usize> Pool<T, LINKS> {
    /// No records. Nothing is allocated before the first one.
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Adds a record that is in no list.
    pub(super) fn insert(&mut self, record: T) -> Key {
        let links = [Link::default(); LINKS];
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index as usize)
        {
            place.record = Some(record);
            place.links = links;
            return Key { index, generation: place.generation };
        }
        let generation = NonZeroU32::MIN;
        // The bounds on what waits and on what is in flight are 32 bits wide together: the index always fits.
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place { generation, record: Some(record), links });
        Key { index, generation }
    }

    /// Removes a record, which must be in no list any more.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key)?;
        let record = place.record.take()?;
        place.generation = place.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(key.index);
        Some(record)
    }

    /// A record.
    pub(super) fn find(&self, key: Key) -> Option<&T> {
        self.place(key)?.record.as_ref()
    }

    /// A record, to be changed.
    pub(super) fn find_mut(&mut self, key: Key) -> Option<&mut T> {
        self.place_mut(key)?.record.as_mut()
    }

    /// Puts a record at the back of a list.
    pub(super) fn push_back<const LINK: usize>(&mut self, chain: &mut Chain<LINK>, key: Key) {
        let before = chain.last.replace(key);
        self.set_after(LINK, before, Some(key));
        self.set_before(LINK, Some(key), before);
        self.set_after(LINK, Some(key), None);
        chain.first = chain.first.or(Some(key));
        chain.length = chain.length.saturating_add(1);
    }

    /// Puts a record at the front of a list.
    pub(super) fn push_front<const LINK: usize>(&mut self, chain: &mut Chain<LINK>, key: Key) {
        let after = chain.first.replace(key);
        self.set_before(LINK, after, Some(key));
        self.set_after(LINK, Some(key), after);
        self.set_before(LINK, Some(key), None);
        chain.last = chain.last.or(Some(key));
        chain.length = chain.length.saturating_add(1);
    }

    /// Takes a record out of the list that it is in.
    pub(super) fn unlink<const LINK: usize>(&mut self, chain: &mut Chain<LINK>, key: Key) {
        let Some(link) = self.link_mut(LINK, key).map(std::mem::take) else { return };
        match link.before {
            Some(before) => self.set_after(LINK, Some(before), link.after),
            None => chain.first = link.after,
        }
        match link.after {
            Some(after) => self.set_before(LINK, Some(after), link.before),
            None => chain.last = link.before,
        }
        chain.length = chain.length.saturating_sub(1);
    }

    /// Takes the record at the front out of a list.
    pub(super) fn pop_front<const LINK: usize>(&mut self, chain: &mut Chain<LINK>) -> Option<Key> {
        let key = chain.first?;
        self.unlink(chain, key);
        Some(key)
    }

    /// Joins two lists: `back` follows `front`.
    pub(super) fn joined<const LINK: usize>(&mut self, front: Chain<LINK>, back: Chain<LINK>) -> Chain<LINK> {
        self.set_after(LINK, front.last, back.first);
        self.set_before(LINK, back.first, front.last);
        Chain {
            first: front.first.or(back.first),
            last: back.last.or(front.last),
            length: front.length.saturating_add(back.length),
        }
    }

    /// All records.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.record.as_ref())
    }

    /// The keys of all records.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let places = (0..).zip(&self.places).filter(|(_, place)| place.record.is_some());
        places.map(|(index, place)| Key { index, generation: place.generation })
    }

    fn set_before(&mut self, number: usize, of: Option<Key>, before: Option<Key>) {
        if let Some(link) = of.and_then(|key| self.link_mut(number, key)) {
            link.before = before;
        }
    }

    fn set_after(&mut self, number: usize, of: Option<Key>, after: Option<Key>) {
        if let Some(link) = of.and_then(|key| self.link_mut(number, key)) {
            link.after = after;
        }
    }

    fn link_mut(&mut self, number: usize, key: Key) -> Option<&mut Link> {
        self.place_mut(key)?.links.get_mut(number)
    }

    fn place(&self, key: Key) -> Option<&Place<T, LINKS>> {
        self.places.get(key.index as usize).filter(|place| place.generation == key.generation)
    }

    fn place_mut(&mut self, key: Key) -> Option<&mut Place<T, LINKS>> {
        self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn walk(pool: &Pool<u32, 2>, chain: &Chain<1>) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = chain.first();
        while let Some(key) = next {
            found.push(*pool.find(key).unwrap());
            next = pool.place(key).unwrap().links[1].after;
        }
        found
    }

    #[test]
    fn a_key_names_nothing_once_its_record_is_gone() {
        let mut pool: Pool<&str, 1> = Pool::new();
        let old = pool.insert("old");
        assert_eq!(pool.remove(old), Some("old"));
        let new = pool.insert("new");
        assert_eq!((old.index, pool.len()), (new.index, 1));
        assert_eq!((pool.find(old), pool.find(new)), (None, Some(&"new")));
        assert_eq!(pool.remove(old), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Back,
        Front,
        Take(usize),
        PopFront,
        Join,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Back),
            Just(Step::Front),
            (0_usize..20).prop_map(Step::Take),
            Just(Step::PopFront),
            Just(Step::Join)
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// Two lists over one pool behave as two `VecDeque`s.
        #[test]
        fn lists_behave_as_deques(steps in steps()) {
            let mut pool: Pool<u32, 2> = Pool::new();
            let (mut chain, mut other): (Chain<1>, Chain<1>) = Default::default();
            type Model = VecDeque<(u32, Key)>;
            let (mut model, mut other_model) = (Model::new(), Model::new());
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Back => {
                        let key = pool.insert(number);
                        pool.push_back(&mut chain, key);
                        model.push_back((number, key));
                    }
                    Step::Front => {
                        let key = pool.insert(number);
                        pool.push_front(&mut chain, key);
                        model.push_front((number, key));
                    }
                    Step::Take(at) => if let Some((_, key)) = model.remove(at) {
                        pool.unlink(&mut chain, key);
                        pool.remove(key);
                    },
                    Step::PopFront => {
                        let popped = pool.pop_front(&mut chain);
                        prop_assert_eq!(popped, model.pop_front().map(|(_, key)| key));
                        if let Some(key) = popped { pool.remove(key); }
                    }
                    // What was there goes behind the other list, and the other becomes empty; every second time, they swap.
                    Step::Join if number % 2 == 0 => {
                        chain = pool.joined(other, chain);
                        other = Chain::default();
                        other_model.append(&mut model);
                        model = std::mem::take(&mut other_model);
                    }
                    Step::Join => {
                        std::mem::swap(&mut chain, &mut other);
                        std::mem::swap(&mut model, &mut other_model);
                    }
                }
                let expected: Vec<u32> = model.iter().map(|&(number, _)| number).collect();
                prop_assert_eq!(walk(&pool, &chain), expected);
                prop_assert_eq!((chain.len() as usize, chain.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(chain.last(), model.back().map(|&(_, key)| key));
                prop_assert_eq!(pool.len(), model.len() + other_model.len());
            }
        }
    }
}
