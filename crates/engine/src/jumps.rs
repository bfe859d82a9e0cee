//! What the jump cache was filled from, so that it can be kept right at little cost when the guest flushes its TLB.

use arch::{PAGE_MASK, PAGE_SIZE};
use cpu::native::{JUMPS, JumpEntry};

const WORDS: usize = 1024;

/// A set of page numbers that may hold some more than it was given.
struct Filter(Box<[u64; WORDS]>);

impl Filter {
    fn new() -> Self {
        Self(Box::new([0; WORDS]))
    }

    fn place(page: u64) -> (usize, u64) {
        let h = page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
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
    /// Some entry's RIP is not its linear address.
    based: bool,
    /// Where entries for pages stand that supervisor code runs from and that are not global.
    local: Vec<u16>,
    /// The address space that they hang on.
    epoch: u64,
    /// Times that the whole cache was emptied.
    pub emptied: u64,
}

impl Jumps {
    /// Nothing.
    pub fn new() -> Self {
        Self {
            small: Filter::new(),
            large: Filter::new(),
            giant: false,
            based: false,
            local: Vec::new(),
            epoch: 0,
            emptied: 0,
        }
    }

    /// Notes the entry for `rip`, made from the page of 2^`shift` bytes around `linear`; `local` if its key does not say in which address
    /// space.
    pub fn note(&mut self, rip: u64, linear: u64, shift: u32, local: bool) {
        self.based |= rip != linear;
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
            self.local.push(JumpEntry::place(rip) as u16);
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
                self.emptied += 1;
                return jumps.fill(JumpEntry::NONE);
            }
            for place in self.local.drain(..) {
                jumps[usize::from(place)] = JumpEntry::NONE;
            }
        }
    }

    /// The mapping of the page around `addr` may have changed.
    pub fn forget(&mut self, addr: u64, jumps: &mut [JumpEntry]) {
        if self.giant || self.based || self.large.may_hold(addr >> 21) {
            jumps.fill(JumpEntry::NONE);
            *self = Self {
                epoch: self.epoch,
                emptied: self.emptied + 1,
                ..Self::new()
            };
        } else if self.small.may_hold(addr >> 12) {
            // The places of a page's addresses are those of its first one with each offset.
            const { assert!(JUMPS.is_multiple_of(PAGE_SIZE as usize)) };
            let page = addr & !PAGE_MASK;
            let first = JumpEntry::place(page) & !(PAGE_MASK as usize);
            for j in jumps.iter_mut().skip(first).take(PAGE_SIZE as usize) {
                if j.rip & !PAGE_MASK == page {
                    *j = JumpEntry::NONE;
                }
            }
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

    /// A cache with entries for these addresses.
    fn cache(rips: &[u64]) -> Vec<JumpEntry> {
        let mut jumps = vec![JumpEntry::NONE; JUMPS];
        for &rip in rips {
            jumps[JumpEntry::place(rip)] = JumpEntry { rip, ..SOME };
        }
        jumps
    }

    fn has(jumps: &[JumpEntry], rip: u64) -> bool {
        jumps[JumpEntry::place(rip)].rip == rip
    }

    #[test]
    fn a_page_that_is_flushed_takes_its_entries_along() {
        let rips = [
            0xffff_8123_4567_8000,
            0xffff_8123_4567_8fff,
            0x5432,
            0x60_0000,
        ];
        let mut jumps = cache(&rips);
        let mut j = Jumps::new();
        for rip in rips {
            j.note(rip, rip, 12, false);
        }
        j.forget(0x7000, &mut jumps);
        assert!(rips.iter().all(|&rip| has(&jumps, rip)));
        j.forget(0xffff_8123_4567_8abc, &mut jumps);
        let left: Vec<_> = rips.iter().filter(|&&rip| has(&jumps, rip)).collect();
        assert_eq!(left, [&0x5432, &0x60_0000]);
        assert_eq!(j.emptied, 0);
        // Of a large page all go.
        j.note(0x60_0000, 0x60_0000, 21, false);
        j.forget(0x7f_f000, &mut jumps);
        assert!(!has(&jumps, 0x5432) && !has(&jumps, 0x60_0000));
        assert_eq!(j.emptied, 1);
    }

    #[test]
    fn where_a_segment_has_a_base_all_entries_go() {
        let mut jumps = cache(&[0x5432]);
        let mut j = Jumps::new();
        j.note(0x5432, 0x1_5432, 12, false);
        j.forget(0x9_0000, &mut jumps);
        assert!(!has(&jumps, 0x5432));
    }

    #[test]
    fn local_entries_go_with_the_address_space() {
        let mut jumps = cache(&[0x5432, 0x6543]);
        let mut j = Jumps::new();
        j.enter(7, &mut jumps);
        j.note(0x5432, 0x5432, 12, true);
        j.note(0x6543, 0x6543, 12, false);
        j.enter(7, &mut jumps);
        assert!(has(&jumps, 0x5432));
        j.enter(8, &mut jumps);
        assert!(!has(&jumps, 0x5432) && has(&jumps, 0x6543));
    }
}
