//! The request bodies that are in memory: all that are not on disk yet, and of the others those that are sent next.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::RequestId;

/// Bytes of the oldest saved requests that stay in memory or are read ahead: some seventy full requests, a second of
/// catching up.
pub(super) const AHEAD_BYTES: u64 = 4 << 20;
/// Bytes of saved requests that stay in memory at most; what is not among the oldest are the newest.
const KEPT_BYTES: u64 = 6 << 20;

/// Bodies by request.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    unsaved: Map,
    kept: Map,
}

#[derive(Debug, Default)]
struct Map {
    bodies: BTreeMap<RequestId, Bytes>,
    bytes: u64,
}

impl Map {
    fn insert(&mut self, id: RequestId, body: Bytes) {
        self.bytes += body.len() as u64;
        if let Some(replaced) = self.bodies.insert(id, body) {
            self.bytes -= replaced.len() as u64;
        }
    }

    fn remove(&mut self, id: RequestId) -> Option<Bytes> {
        let body = self.bodies.remove(&id)?;
        self.bytes -= body.len() as u64;
        Some(body)
    }
}

impl Bodies {
    /// Takes the body of a new request.
    pub(super) fn insert(&mut self, id: RequestId, body: Bytes) {
        self.unsaved.insert(id, body);
    }

    /// Takes a body that was read from disk.
    pub(super) fn load(&mut self, id: RequestId, body: Bytes) {
        self.kept.insert(id, body);
        self.evict();
    }

    /// Notes that the disk holds the body; tells whether it was not known to.
    pub(super) fn save(&mut self, id: RequestId) -> bool {
        let Some(body) = self.unsaved.remove(id) else {
            return false;
        };
        self.kept.insert(id, body);
        self.evict();
        true
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Bytes> {
        self.unsaved.bodies.get(&id).or_else(|| self.kept.bodies.get(&id))
    }

    /// Forgets a request; tells whether only memory held it.
    pub(super) fn remove(&mut self, id: RequestId) -> bool {
        self.kept.remove(id);
        self.unsaved.remove(id).is_some()
    }

    pub(super) const fn unsaved_bytes(&self) -> u64 {
        self.unsaved.bytes
    }

    /// Bytes of all bodies.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> u64 {
        self.unsaved.bytes + self.kept.bytes
    }

    /// Requests that are not on disk, oldest first.
    pub(super) fn unsaved(&self) -> impl Iterator<Item = (RequestId, &Bytes)> {
        self.unsaved.bodies.iter().map(|(id, body)| (*id, body))
    }

    /// Requests of both kinds, oldest first within each kind.
    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = RequestId> {
        self.unsaved.bodies.keys().chain(self.kept.bodies.keys()).copied()
    }

    /// Makes room between the oldest saved requests and the newest one.
    fn evict(&mut self) {
        if self.kept.bytes <= KEPT_BYTES {
            return;
        }
        let mut ahead = 0;
        let mut excess = self.kept.bytes - KEPT_BYTES;
        let last = self.kept.bodies.len() - 1;
        let mut evicted = Vec::new();
        for (id, body) in self.kept.bodies.iter().take(last) {
            let size = body.len() as u64;
            if ahead < AHEAD_BYTES {
                ahead += size;
            } else if excess > 0 {
                excess = excess.saturating_sub(size);
                evicted.push(*id);
            } else {
                break;
            }
        }
        for id in evicted {
            self.kept.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    proptest! {
        #[test]
        fn the_oldest_and_the_newest_saved_bodies_stay_and_the_sum_is_bounded(
            sizes in prop::collection::vec(0usize..1 << 20, 1..60),
        ) {
            let mut bodies = Bodies::default();
            let ids: Vec<RequestId> = (0..).map(RequestId).take(sizes.len()).collect();
            for (id, size) in ids.iter().zip(&sizes) {
                bodies.insert(*id, body(*size));
                prop_assert_eq!(bodies.unsaved_bytes(), *size as u64);
                prop_assert!(bodies.save(*id));
                prop_assert!(!bodies.save(*id), "saved twice");
                prop_assert!(bodies.bytes() <= KEPT_BYTES + (1 << 20));
                prop_assert!(bodies.get(*id).is_some(), "the newest stays");
            }
            let mut ahead = 0;
            for (id, size) in ids.iter().zip(&sizes) {
                if ahead >= AHEAD_BYTES {
                    break;
                }
                prop_assert_eq!(bodies.get(*id), Some(&body(*size)), "{:?} is among the oldest", id);
                ahead += *size as u64;
            }
            for id in ids {
                prop_assert!(!bodies.remove(id), "the disk holds it too");
            }
            prop_assert_eq!(bodies.bytes(), 0);
        }
    }
}
