//! A map in two lists: keys in order, and values where they came to lie.
//!
//! What a window has by listener and by target, and a run by target: thousands a second that are built, merged, read
//! through and dropped. Building is a sort of the keys, a merge moves keys alone, dropping is freeing two lists. It is
//! not for insertions one by one in no order, each of which would move half of the keys. [`crate::window`] and
//! [`crate::engine`] have the limits.

/// Values by key; equal where keys and their values are, wherever those lie.
#[derive(Clone, Debug)]
pub struct Keyed<K, V> {
    /// In order, each with the place of its value.
    keys: Vec<(K, u32)>,
    values: Vec<V>,
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<K, V> Keyed<K, V> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.keys.iter().map(|(key, place)| (key, &self.values[*place as usize]))
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.values.iter()
    }

    /// All values, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.iter_mut()
    }
}

impl<K: Copy + Ord, V: Clone> Keyed<K, V> {
    /// Of pairs in any order; `add` puts values of the same key together.
    pub fn gather(pairs: impl IntoIterator<Item = (K, V)>, add: impl Fn(&mut V, &V)) -> Self {
        let pairs = pairs.into_iter();
        let mut all = Self {
            keys: Vec::with_capacity(pairs.size_hint().0),
            values: Vec::with_capacity(pairs.size_hint().0),
        };
        for (key, value) in pairs {
            all.keys.push((key, all.values.len() as u32));
            all.values.push(value);
        }
        if !all.keys.is_sorted() {
            all.keys.sort_unstable();
        }
        if !all.keys.is_sorted_by(|one, next| one.0 < next.0) {
            all.join(add);
        }
        all
    }

    /// Puts values of the same key together: those of neighbours.
    fn join(&mut self, add: impl Fn(&mut V, &V)) {
        let Self { keys, values } = std::mem::take(self);
        for (key, place) in keys {
            let value = &values[place as usize];
            if self.keys.last().is_some_and(|(last, _)| *last == key) {
                self.values.iter_mut().next_back().into_iter().for_each(|sum| add(sum, value));
            } else {
                self.keys.push((key, self.values.len() as u32));
                self.values.push(value.clone());
            }
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.keys.binary_search_by_key(key, |(known, _)| *known).ok()?;
        self.values.get(self.keys[place].1 as usize)
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.keys.binary_search_by_key(key, |(known, _)| *known).ok()?;
        self.values.get_mut(self.keys[place].1 as usize)
    }

    /// Adds all of `other`; `add` may be asked to add either's value to the other's.
    pub fn merge(&mut self, mut other: Self, add: impl Fn(&mut V, &V)) {
        if other.len() > self.len() {
            std::mem::swap(self, &mut other);
        }
        self.merge_ref(&other, add);
    }

    /// Adds all of `other`, of which there are few beside what is here.
    pub fn merge_ref(&mut self, other: &Self, add: impl Fn(&mut V, &V)) {
        let mut fresh = Vec::new();
        let mut at = 0;
        for (key, value) in other.iter() {
            at = self.position(at, key);
            match self.keys.get(at) {
                Some((known, place)) if known == key => add(&mut self.values[*place as usize], value),
                _ => {
                    fresh.push((at, (*key, self.values.len() as u32)));
                    self.values.push(value.clone());
                }
            }
        }
        self.make_way(&fresh);
    }

    /// Where the first key is that is not below `key`, from `at` on, up to where all are below. It is often near.
    fn position(&self, at: usize, key: &K) -> usize {
        let (mut low, mut step) = (at, 1);
        while self.keys.get(low + step - 1).is_some_and(|(known, _)| known < key) {
            low += step;
            step *= 2;
        }
        let high = (low + step - 1).min(self.keys.len());
        low + self.keys[low..high].partition_point(|(known, _)| known < key)
    }

    /// Puts new keys before those that are at their positions; each key that is there moves once.
    fn make_way(&mut self, fresh: &[(usize, (K, u32))]) {
        let mut end = self.keys.len();
        self.keys.extend(fresh.iter().map(|(_, key)| *key));
        for (before, (at, key)) in fresh.iter().enumerate().rev() {
            self.keys.copy_within(*at..end, at + before + 1);
            self.keys[at + before] = *key;
            end = *at;
        }
    }

    /// Keeps those that `stays` says.
    pub fn retain(&mut self, stays: impl Fn(&K, &V) -> bool) {
        let values = std::mem::take(&mut self.values);
        let mut kept = vec![false; values.len()];
        self.keys.retain(|(key, place)| {
            let place = *place as usize;
            kept[place] = stays(key, &values[place]);
            kept[place]
        });
        let mut places = vec![0; values.len()];
        for (place, value) in values.into_iter().enumerate().filter(|(place, _)| kept[*place]) {
            places[place] = self.values.len() as u32;
            self.values.push(value);
        }
        self.keys.iter_mut().for_each(|(_, place)| *place = places[*place as usize]);
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Keyed<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Keyed<K, V> {}

/// Of values with the same key the last one stands.
impl<K: Copy + Ord, V: Clone> FromIterator<(K, V)> for Keyed<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::gather(pairs, V::clone_from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn add(own: &mut u32, more: &u32) {
        *own += more;
    }

    fn sums(pairs: &[(u8, u32)]) -> BTreeMap<u8, u32> {
        let mut sums = BTreeMap::new();
        pairs.iter().for_each(|(key, value)| *sums.entry(*key).or_default() += value);
        sums
    }

    fn pairs() -> impl Strategy<Value = Vec<(u8, u32)>> {
        prop::collection::vec((0..60_u8, 1..100_u32), 0..60)
    }

    fn check(keyed: &Keyed<u8, u32>, tree: &BTreeMap<u8, u32>) {
        assert!(keyed.iter().eq(tree.iter()), "{keyed:?} is not {tree:?}");
        assert_eq!(keyed.values().count(), tree.len(), "none is left over");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn it_is_what_a_tree_is(one in pairs(), other in pairs(), odd in any::<bool>()) {
            let mut keyed = Keyed::gather(one.iter().copied(), add);
            check(&keyed, &sums(&one));
            let more = Keyed::gather(other.iter().copied(), add);
            let mut by_ref = keyed.clone();
            by_ref.merge_ref(&more, add);
            keyed.merge(more, add);
            prop_assert_eq!(&keyed, &by_ref);
            let mut tree = sums(&[one, other].concat());
            check(&keyed, &tree);
            keyed.retain(|key, value| (key % 2 == 1) == odd || *value > 100);
            tree.retain(|key, value| (*key % 2 == 1) == odd || *value > 100);
            check(&keyed, &tree);
            for key in 0..60 {
                prop_assert_eq!(keyed.get_mut(&key), tree.get_mut(&key));
            }
        }
    }

    #[test]
    fn of_the_same_key_the_last_one_stands() {
        let keyed: Keyed<u8, u32> = [(2, 1), (1, 5), (2, 3), (2, 2)].into_iter().collect();
        check(&keyed, &BTreeMap::from([(1, 5), (2, 2)]));
    }
}
