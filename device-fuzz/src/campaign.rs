//! Many inputs for one device: random ones, and changed copies of those that showed something new.

use crate::drive::{self, Seen};
use crate::table::Row;

/// Bytes of an input at most.
const MOST_BYTES: usize = 4096;
/// Inputs that are kept at most.
const MOST_KEPT: usize = 2000;

/// xorshift64*, seeded: a campaign repeats, but for what the device's threads do in between.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() >> 16) as usize % n.max(1)
    }
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.number() >> 32) as u8).collect()
    }
}

/// A campaign under way.
pub struct Campaign<'r> {
    row: &'r Row,
    random: Random,
    seen: Seen,
    kept: Vec<Vec<u8>>,
}

impl<'r> Campaign<'r> {
    pub fn new(row: &'r Row, seed: u64) -> Self {
        Self {
            row,
            random: Random::new(seed),
            seen: Seen::default(),
            kept: Vec::new(),
        }
    }

    /// The next input.
    pub fn invent(&mut self) -> Vec<u8> {
        let r = &mut self.random;
        if self.kept.is_empty() || r.below(8) == 0 {
            let n = 1 << r.below(11);
            return r.bytes(n);
        }
        let mut input = self.kept[r.below(self.kept.len())].clone();
        for _ in 0..1 << r.below(5) {
            let at = r.below(input.len() + 1);
            match r.below(8) {
                0 | 1 if at < input.len() => input[at] = r.number() as u8,
                2 if at < input.len() => input[at] ^= 1 << r.below(8),
                3 if at < input.len() => input[at] = input[at].wrapping_add(1),
                4 => {
                    let n = 1 + r.below(16);
                    let more = r.bytes(n);
                    input.splice(at..at, more);
                }
                5 => {
                    let end = (at + 1 + r.below(16)).min(input.len());
                    input.drain(at..end);
                }
                6 => {
                    // A piece of another one, or of itself.
                    let other = &self.kept[r.below(self.kept.len())];
                    let start = r.below(other.len() + 1);
                    let end = (start + 1 + r.below(200)).min(other.len());
                    let piece = other[start..end].to_vec();
                    input.splice(at..at, piece);
                }
                _ => {
                    let n = r.below(64);
                    let more = r.bytes(n);
                    input.extend(more);
                }
            }
        }
        input.truncate(MOST_BYTES);
        input
    }

    /// Runs an input on a fresh device.
    pub fn run(&mut self, input: Vec<u8>) {
        let mut target = (self.row.make)();
        if drive::run(&mut target, &input, &mut self.seen) {
            match self.kept.len() {
                MOST_KEPT => {
                    let n = self.random.below(MOST_KEPT);
                    self.kept[n] = input;
                }
                _ => self.kept.push(input),
            }
        }
    }

    /// How many inputs are kept, and how much was seen.
    pub fn found(&self) -> (usize, usize) {
        (self.kept.len(), self.seen.count())
    }
}
