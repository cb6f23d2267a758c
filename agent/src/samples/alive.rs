//! Subjects that are alive, found by their names in the order in which they are said.
//!
//! A snapshot says the same subjects in the same order as the one before, except for those that came or went. So the next
//! one is looked for behind the last, and only where it is not there by its name: for 10,000 targets that saves most of the
//! time of a search, which is waiting for memory.

use indexmap::IndexMap;

/// What is kept about each subject, in the order in which they came.
#[derive(Debug)]
pub(super) struct Alive<T> {
    subjects: IndexMap<Box<str>, T>,
    /// Where the next one should be.
    next: usize,
}

impl<T> Default for Alive<T> {
    fn default() -> Self {
        Self {
            subjects: IndexMap::new(),
            next: 0,
        }
    }
}

impl<T> Alive<T> {
    /// Begins with the first again.
    pub(super) const fn begin(&mut self) {
        self.next = 0;
    }

    /// Finds what is kept about a subject.
    pub(super) fn find(&mut self, subject: &str) -> Option<&mut T> {
        let guess = self.subjects.get_index(self.next);
        let place = match guess {
            Some((known, _)) if **known == *subject => self.next,
            Some(_) | None => self.subjects.get_index_of(subject)?,
        };
        self.next = place + 1;
        self.subjects.get_index_mut(place).map(|(_, kept)| kept)
    }

    /// Adds a subject that is not there.
    pub(super) fn add(&mut self, subject: &str, kept: T) {
        self.subjects.insert(subject.into(), kept);
        self.next = self.subjects.len();
    }

    /// Keeps those for which `keep` says so; the order stays.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str, &mut T) -> bool) {
        self.subjects.retain(|subject, kept| keep(subject, kept));
    }

    /// What is kept about each.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.subjects.values()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_and_goes_each_subject_is_found(
            snapshots in prop::collection::vec(prop::collection::vec("[a-e]{1,2}", 0..12), 1..8),
        ) {
            let mut alive = Alive::default();
            let mut model: BTreeMap<String, usize> = BTreeMap::new();
            for (number, snapshot) in snapshots.iter().enumerate() {
                alive.begin();
                for subject in snapshot {
                    let found = alive.find(subject).map(|kept| std::mem::replace(kept, number));
                    prop_assert_eq!(found, model.insert(subject.clone(), number));
                    if found.is_none() {
                        alive.add(subject, number);
                    }
                }
                alive.retain(|_, kept| *kept == number);
                model.retain(|_, kept| *kept == number);
                prop_assert_eq!(alive.values().count(), model.len());
            }
        }
    }
}
