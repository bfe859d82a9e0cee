//! What the jump cache was filled from, so that it can be kept right at little cost when the guest flushes its TLB.

use cpu::native::{JUMPS, JumpEntry};

const WORDS: usize = 64;

/// A set of page numbers that may hold some more than it was given.
struct Filter([u64; WORDS]);

impl Filter {
    fn place(page: u64) -> (usize, u64) {
        let h = page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        (h as usize / 64 % WORDS, 1 << (h % 64))
    }

    fn add(&mut self, page: u64) {
        let (word, bit) = Self::place(page);
        self.0[word] |= bit;
    }

    fn may_hold(&self, page: u64) -> bool {
        let (word, bit) = Self::place(page);
        self.0[word] & bit != 0
    }
}

/// The pages and the address spaces that entries of the jump cache hang on.
pub struct Jumps {
    small: Filter,
    /// By 2 MiB.
    large: Filter,
    /// Some page is larger than 4 MiB.
    giant: bool,
    /// Where entries for pages stand that supervisor code runs from and that are not global.
    local: Vec<u16>,
    /// The address space that they hang on.
    epoch: u64,
}

impl Jumps {
    /// Nothing.
    pub fn new() -> Self {
        Self {
            small: Filter([0; WORDS]),
            large: Filter([0; WORDS]),
            giant: false,
            local: Vec::new(),
            epoch: 0,
        }
    }

    /// Notes an entry at `place`, made from the page of 2^`shift` bytes around `linear`; `local` if its key does not say in which address
    /// space.
    pub fn note(&mut self, place: usize, linear: u64, shift: u32, local: bool) {
        match shift {
            ..=12 => self.small.add(linear >> 12),
            13..=21 => self.large.add(linear >> 21),
            22 => {
                self.large.add(linear >> 22 << 1);
                self.large.add(linear >> 22 << 1 | 1);
            }
            _ => self.giant = true,
        }
        if local && self.local.len() < JUMPS {
            self.local.push(place as u16);
        }
    }

    /// The address space is that of `epoch` now.
    #[inline]
    pub fn enter(&mut self, epoch: u64, jumps: &mut [JumpEntry]) {
        if epoch != self.epoch {
            self.epoch = epoch;
            if self.local.len() == JUMPS {
                // Nobody knows all.
                self.local.clear();
                return jumps.fill(JumpEntry::NONE);
            }
            for place in self.local.drain(..) {
                jumps[usize::from(place)] = JumpEntry::NONE;
            }
        }
    }

    /// The mapping of the page around `addr` may have changed.
    pub fn forget(&mut self, addr: u64, jumps: &mut [JumpEntry]) {
        if self.giant || self.small.may_hold(addr >> 12) || self.large.may_hold(addr >> 21) {
            jumps.fill(JumpEntry::NONE);
            *self = Self {
                epoch: self.epoch,
                ..Self::new()
            };
        }
    }
}

impl Default for Jumps {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: JumpEntry = JumpEntry {
        rip: 1,
        key: 2,
        base: 3,
        entry: 4,
    };

    #[test]
    fn only_pages_that_entries_were_made_from_matter() {
        let mut jumps = [SOME; 4];
        let mut j = Jumps::new();
        j.note(0, 0x5000, 12, false);
        j.note(1, 0x60_0000, 21, false);
        j.forget(0x7000, &mut jumps);
        assert_eq!(jumps[0].rip, SOME.rip);
        j.forget(0x7f_f000, &mut jumps);
        assert_eq!(jumps[0].rip, JumpEntry::NONE.rip);
    }

    #[test]
    fn local_entries_go_with_the_address_space() {
        let mut jumps = [SOME; 4];
        let mut j = Jumps::new();
        j.enter(7, &mut jumps);
        j.note(2, 0x5000, 12, true);
        j.enter(7, &mut jumps);
        assert_eq!(jumps[2].rip, SOME.rip);
        j.enter(8, &mut jumps);
        assert_eq!(jumps[2].rip, JumpEntry::NONE.rip);
        assert_eq!(jumps[1].rip, SOME.rip);
    }
}
