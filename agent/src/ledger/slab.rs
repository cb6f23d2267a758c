//! Accounts by number: a result finds its own without comparing names.

/// Values that keep their number for as long as they are there; numbers of removed ones are used again.
#[derive(Debug, Clone)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Adds a value and answers its number.
    pub(super) fn insert(&mut self, value: T) -> usize {
        if let Some(index) = self.free.pop() {
            self.slots[index] = Some(value);
            return index;
        }
        self.slots.push(Some(value));
        self.slots.len() - 1
    }

    /// Takes a value out; its number may be given to the next.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let removed = self.slots.get_mut(index)?.take();
        if removed.is_some() {
            self.free.push(index);
        }
        if self.free.len() == self.slots.len() {
            *self = Self::default();
        }
        removed
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.slots.get(index)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// Every value, by number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_those_of_removed_values_are_used_again() {
        let mut slab = Slab::default();
        let numbers = ["a", "b", "c"].map(|value| slab.insert(value));
        assert_eq!(slab.remove(numbers[1]), Some("b"));
        assert_eq!((slab.remove(numbers[1]), slab.remove(9)), (None, None));
        assert_eq!((slab.insert("d"), slab.insert("e")), (numbers[1], 3));
        assert_eq!(
            [0, 1, 2, 3, 4].map(|index| slab.get(index).copied()),
            [Some("a"), Some("d"), Some("c"), Some("e"), None]
        );
        for index in 0..4 {
            slab.remove(index);
        }
        assert_eq!(slab.iter_mut().count(), 0);
        assert_eq!(slab.insert("f"), 0);
    }
}
