//! Takes the fuzzer's bytes apart into choices; when they run out, every further choice is zero.

use std::net::IpAddr;

/// What is left of the fuzzer's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes some bytes.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (head, rest) = self.0.split_at(self.0.len().min(N));
        taken[..head.len()].copy_from_slice(head);
        self.0 = rest;
        taken
    }

    /// Takes a byte.
    pub fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    /// Takes a number.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    /// Takes a decision.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Takes an address.
    pub fn address(&mut self, v6: bool) -> IpAddr {
        if v6 {
            IpAddr::from(self.take::<16>())
        } else {
            IpAddr::from(self.take::<4>())
        }
    }

    /// Tells whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}
