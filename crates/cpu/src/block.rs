//! Decoded blocks: straight runs of instructions, kept by where their bytes stand in RAM and the mode they were decoded for.
//!
//! Steps lie in chunks, bodies and instructions apart, so that a translator reads a block's instructions as they are. A block's place is
//! reused by a block of the same length; when there is no more room everything is dropped and decoded anew as it is needed.

use crate::state::Cpu;
use arch::{GuestPhys, Mode};
use decode::Insn;
use semantics::table::Body;

/// One decoded instruction with its body.
#[derive(Clone, Copy)]
pub struct Step {
    pub body: Body<Cpu>,
    pub insn: Insn,
}

/// The most instructions in a block.
pub const MAX_STEPS: usize = 64;
/// Steps in a chunk.
const CHUNK: usize = 1024;
/// Chunks before all blocks are dropped: about 32 MiB of steps.
const MAX_CHUNKS: usize = 384;
/// Blocks before all are dropped.
const MAX_BLOCKS: usize = 1 << 17;
/// Heads of the hash table's chains.
const BUCKETS: usize = 1 << 14;
/// No block.
const NONE: u32 = u32::MAX;

/// What a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub addr: GuestPhys,
    pub mode: Mode,
    /// One instruction, for when more would be wrong.
    pub single: bool,
}

impl Key {
    fn bucket(self) -> usize {
        let v = self.addr.0 ^ u64::from(self.mode.0) << 40 ^ u64::from(self.single) << 63;
        (v.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % BUCKETS
    }
}

/// A block decoded and not yet kept.
#[derive(Default)]
pub(crate) struct Scratch {
    pub bodies: Vec<Body<Cpu>>,
    pub insns: Vec<Insn>,
    /// How many at the start the table has and the CPU model shows.
    pub known: usize,
}

impl Scratch {
    pub fn clear(&mut self) {
        self.bodies.clear();
        self.insns.clear();
        self.known = 0;
    }

    pub fn push(&mut self, step: Step, exists: bool) {
        if exists && self.known == self.insns.len() {
            self.known += 1;
        }
        self.bodies.push(step.body);
        self.insns.push(step.insn);
    }
}

/// A run of instructions inside one page, or one that goes over the page's end.
pub(crate) struct Block {
    pub key: Key,
    /// The next in the chain of its bucket.
    next: u32,
    /// Position of the first step.
    steps: u32,
    len: u8,
    known: u8,
    /// How often it was evaluated since it was decoded.
    pub runs: u8,
    /// No translator takes it.
    pub hard: bool,
    /// The generation of the frame when it was decoded: another one now means that the block is stale.
    pub generation: u32,
    /// An instruction that goes over the page's end: the frame of its rest, all ones outside RAM, with that one's generation.
    pub rest: Option<(u64, u32)>,
}

struct Chunk {
    bodies: Vec<Body<Cpu>>,
    insns: Vec<Insn>,
}

/// The cache of decoded blocks.
pub struct Blocks {
    blocks: Vec<Block>,
    free: Vec<u32>,
    buckets: Box<[u32]>,
    chunks: Vec<Chunk>,
    /// Places of dropped blocks, by length.
    holes: [Vec<u32>; MAX_STEPS + 1],
    pub(crate) scratch: Scratch,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            buckets: vec![NONE; BUCKETS].into(),
            chunks: Vec::new(),
            holes: std::array::from_fn(|_| Vec::new()),
            scratch: Scratch::default(),
        }
    }
}

impl Blocks {
    /// Drops everything.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.free.clear();
        self.buckets.fill(NONE);
        self.chunks.clear();
        self.holes.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn find(&self, key: Key) -> Option<u32> {
        let mut at = self.buckets[key.bucket()];
        while at != NONE {
            let b = &self.blocks[at as usize];
            if b.key == key {
                return Some(at);
            }
            at = b.next;
        }
        None
    }

    pub(crate) fn block(&self, index: u32) -> &Block {
        &self.blocks[index as usize]
    }

    pub(crate) fn block_mut(&mut self, index: u32) -> &mut Block {
        &mut self.blocks[index as usize]
    }

    /// The steps of a block: bodies and instructions.
    pub(crate) fn steps(&self, index: u32) -> (&[Body<Cpu>], &[Insn]) {
        let b = self.block(index);
        let (c, at) = (
            &self.chunks[b.steps as usize / CHUNK],
            b.steps as usize % CHUNK,
        );
        let end = at + usize::from(b.len);
        (&c.bodies[at..end], &c.insns[at..end])
    }

    /// The instructions at a block's start that exist.
    pub(crate) fn known(&self, index: u32) -> &[Insn] {
        let known = usize::from(self.block(index).known);
        &self.steps(index).1[..known]
    }

    /// Keeps what the scratch holds, which is not empty, in place of a stale block for the same key. One that says the same as before keeps
    /// its count of runs.
    pub(crate) fn keep(
        &mut self,
        key: Key,
        stale: Option<u32>,
        generation: u32,
        rest: Option<(u64, u32)>,
    ) -> u32 {
        let len = self.scratch.insns.len().min(MAX_STEPS);
        let outside = rest.is_some_and(|(frame, _)| frame == u64::MAX);
        let hard = self.scratch.known == 0 || outside;
        if let Some(i) = stale {
            let same = self.steps(i).1 == &self.scratch.insns[..len];
            let b = &mut self.blocks[i as usize];
            (b.generation, b.rest) = (generation, rest);
            if same {
                return i;
            }
            let (at, room) = (b.steps, usize::from(b.len));
            if room != len {
                self.holes[room].push(at);
                let Some(at) = self.place(len) else {
                    self.clear();
                    return self.keep(key, None, generation, rest);
                };
                self.blocks[i as usize].steps = at;
            }
            self.fill(i, len);
            let b = &mut self.blocks[i as usize];
            (b.runs, b.hard) = (0, hard);
            return i;
        }
        if self.blocks.len() >= MAX_BLOCKS && self.free.is_empty() {
            self.clear();
        }
        let steps = match self.place(len) {
            Some(at) => at,
            None => {
                self.clear();
                self.place(len).unwrap_or(0)
            }
        };
        let bucket = &mut self.buckets[key.bucket()];
        let block = Block {
            key,
            next: *bucket,
            steps,
            len: 0,
            known: 0,
            runs: 0,
            hard,
            generation,
            rest,
        };
        let i = match self.free.pop() {
            Some(i) => {
                self.blocks[i as usize] = block;
                i
            }
            None => {
                self.blocks.push(block);
                self.blocks.len() as u32 - 1
            }
        };
        *bucket = i;
        self.fill(i, len);
        i
    }

    /// Room for `len` steps, or none.
    fn place(&mut self, len: usize) -> Option<u32> {
        if let Some(at) = self.holes[len].pop() {
            return Some(at);
        }
        let last = self.chunks.last().map_or(CHUNK, |c| c.insns.len());
        if last + len > CHUNK {
            if self.chunks.len() >= MAX_CHUNKS {
                return None;
            }
            self.chunks.push(Chunk {
                bodies: Vec::with_capacity(CHUNK),
                insns: Vec::with_capacity(CHUNK),
            });
        }
        let number = self.chunks.len() - 1;
        let c = self.chunks.last_mut()?;
        let at = c.insns.len();
        // Written by `fill`.
        c.bodies.extend_from_slice(&self.scratch.bodies[..len]);
        c.insns.extend_from_slice(&self.scratch.insns[..len]);
        Some((number * CHUNK + at) as u32)
    }

    /// Copies the scratch into a block's place.
    fn fill(&mut self, index: u32, len: usize) {
        let b = &mut self.blocks[index as usize];
        (b.len, b.known) = (len as u8, self.scratch.known.min(len) as u8);
        let (c, at) = (
            &mut self.chunks[b.steps as usize / CHUNK],
            b.steps as usize % CHUNK,
        );
        c.bodies[at..at + len].copy_from_slice(&self.scratch.bodies[..len]);
        c.insns[at..at + len].copy_from_slice(&self.scratch.insns[..len]);
    }

    /// Drops a block.
    pub(crate) fn forget(&mut self, index: u32) {
        let b = &self.blocks[index as usize];
        let (next, bucket) = (b.next, b.key.bucket());
        self.holes[usize::from(b.len)].push(b.steps);
        self.free.push(index);
        let mut at = self.buckets[bucket];
        if at == index {
            self.buckets[bucket] = next;
            return;
        }
        while at != NONE {
            let b = &mut self.blocks[at as usize];
            if b.next == index {
                b.next = next;
                return;
            }
            at = b.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(b: &mut Blocks, addr: u64, code: &[u8], generation: u32) -> u32 {
        let key = Key {
            addr: GuestPhys(addr),
            mode: Mode::new(arch::Size::B64, 0, 0),
            single: false,
        };
        b.scratch.clear();
        let mut s = decode::Stream::new(code, key.mode);
        while let Ok(insn) = s.next() {
            let body: Body<Cpu> = |_, _| Ok(());
            b.scratch.push(Step { body, insn }, true);
        }
        let stale = b.find(key);
        b.keep(key, stale, generation, None)
    }

    #[test]
    fn a_block_decoded_anew_keeps_its_runs_only_if_it_says_the_same() {
        let mut b = Blocks::default();
        let i = put(&mut b, 0x1000, &[0x90, 0x90], 0);
        b.block_mut(i).runs = 3;
        assert_eq!(put(&mut b, 0x1000, &[0x90, 0x90], 1), i);
        assert_eq!((b.block(i).runs, b.block(i).generation), (3, 1));
        assert_eq!(put(&mut b, 0x1000, &[0xf8, 0x90], 2), i);
        assert_eq!(b.block(i).runs, 0);
        assert_eq!(put(&mut b, 0x1000, &[0xf8, 0x90, 0xc3], 3), i);
        assert_eq!(b.known(i).len(), 3);
    }

    #[test]
    fn places_of_dropped_blocks_are_used_again() {
        let mut b = Blocks::default();
        for round in 0..3 {
            for n in 0..100 {
                put(&mut b, 0x1000 + n, &[0x90; 60], round);
            }
            for n in 0..100 {
                let key = Key {
                    addr: GuestPhys(0x1000 + n),
                    mode: Mode::new(arch::Size::B64, 0, 0),
                    single: false,
                };
                let i = b.find(key).unwrap();
                b.forget(i);
                assert_eq!(b.find(key), None);
            }
        }
        assert!(b.chunks.len() <= 6, "{}", b.chunks.len());
    }

    #[test]
    fn what_is_too_much_starts_over() {
        let mut b = Blocks::default();
        for n in 0..2 * (MAX_CHUNKS * CHUNK / MAX_STEPS) as u64 {
            let i = put(&mut b, n, &[0x90; MAX_STEPS], 0);
            assert_eq!(b.steps(i).1.len(), MAX_STEPS);
        }
        assert!(b.chunks.len() <= MAX_CHUNKS);
    }
}
