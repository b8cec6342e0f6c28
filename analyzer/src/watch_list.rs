//! Keys to be looked at, in order, each once: a list that is put in order when it is looked through. Ticks add some hundred
//! keys, most of which are there already or leave at once; a tree would be searched for each.

/// The keys.
#[derive(Debug)]
pub(crate) struct WatchList<K>(Vec<K>);

impl<K> Default for WatchList<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord> WatchList<K> {
    /// Has a key looked at.
    pub(crate) fn insert(&mut self, key: K) {
        self.0.push(key);
    }

    /// Has these looked at.
    pub(crate) fn extend(&mut self, keys: impl IntoIterator<Item = K>) {
        self.0.extend(keys);
    }

    /// Looks at each, in order; those of which `stays` says no leave.
    pub(crate) fn retain(&mut self, stays: impl FnMut(&K) -> bool) {
        self.tidy();
        self.0.retain(stays);
    }

    /// All, in order.
    pub(crate) fn tidied(&mut self) -> &[K] {
        self.tidy();
        &self.0
    }

    /// All; some more than once, where any was added since they were looked through.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        self.0.iter()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn tidy(&mut self) {
        if !self.0.is_sorted_by(|one, next| one < next) {
            // It is some sorted lists one after the other, which this puts together.
            self.0.sort();
            self.0.dedup();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_once_and_in_order() {
        let mut list = WatchList::default();
        list.extend([3, 5, 9]);
        list.insert(5);
        list.insert(1);
        let mut seen = Vec::new();
        list.retain(|key| {
            seen.push(*key);
            *key != 3
        });
        assert_eq!(seen, [1, 3, 5, 9]);
        assert_eq!(list.tidied(), [1, 5, 9]);
    }
}
