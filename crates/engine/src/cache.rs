//! The translations: found by guest-physical address and mode, linked to each other, dropped when their guest code is written.

use crate::arena::Arena;
use crate::enter::HelperCall;
use crate::stats::EngineStats;
use arch::{GuestPhys, Mode, PAGE_SIZE};
use baseline::block::{Block, Cell, FpCall};
use cpu::native::JumpEntry;
use hashbrown::HashMap;
use memory::lines;
use semantics::vector::VecOp;

/// What a translation is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub addr: GuestPhys,
    pub mode: Mode,
}

/// A link cell: where it stands, and the resolver it goes back to.
#[derive(Clone, Copy, Debug)]
struct Link {
    cell: usize,
    resolver: u64,
}

/// What cells point to, kept alive with the code.
#[expect(dead_code, reason = "owned, not read: generated code reads it")]
enum Kept {
    Helper(Box<HelperCall>),
    Vector(Box<VecOp>),
    Fp(Box<FpCall>),
}

struct Translation {
    key: Key,
    entry: u64,
    host_bytes: usize,
    /// Guest bytes.
    bytes: u32,
    /// Links of others that lead here.
    incoming: Vec<Link>,
    live: bool,
    /// What its cells point to.
    #[expect(dead_code, reason = "owned, not read: generated code reads it")]
    kept: Vec<Kept>,
}

const FRONT: usize = 1 << 13;
const NOWHERE: Key = Key {
    addr: GuestPhys(u64::MAX),
    mode: Mode(0),
};

fn place(key: Key) -> usize {
    (key.addr.0 ^ key.addr.0 >> 12 ^ u64::from(key.mode.0) << 3) as usize % FRONT
}

/// All translations of a machine.
pub struct Cache {
    pub arena: Arena,
    translations: Vec<Translation>,
    index: HashMap<Key, u32>,
    /// A direct-mapped table before the index.
    front: Vec<(Key, u64)>,
    /// Where translation was tried and the evaluator must do the next instruction, with the frame's generation then.
    hard: HashMap<Key, u32>,
    /// By frame.
    frames: HashMap<u64, Vec<u32>>,
    /// By the offset of a link cell in the arena: its resolver and where it leads in the page.
    links: HashMap<usize, (u64, i64)>,
}

impl Cache {
    /// An empty cache.
    pub fn new(arena: Arena) -> Self {
        Self {
            arena,
            translations: Vec::new(),
            index: HashMap::new(),
            front: vec![(NOWHERE, 0); FRONT],
            hard: HashMap::new(),
            frames: HashMap::new(),
            links: HashMap::new(),
        }
    }

    /// The entry of the translation for `key`.
    pub fn find(&mut self, key: Key) -> Option<u64> {
        let slot = &mut self.front[place(key)];
        if slot.0 == key {
            return Some(slot.1);
        }
        let entry = self
            .index
            .get(&key)
            .map(|&i| self.translations[i as usize].entry)?;
        *slot = (key, entry);
        Some(entry)
    }

    /// Notes that the evaluator must do the instruction at `key`.
    pub fn note_hard(&mut self, key: Key, generation: u32) {
        self.hard.insert(key, generation);
    }

    /// Whether the evaluator must do the instruction at `key`, as far as is known.
    pub fn is_hard(&self, key: Key, generation: u32) -> bool {
        self.hard.get(&key) == Some(&generation)
    }

    /// Whether there is no translation.
    pub fn is_empty(&self) -> bool {
        self.translations.is_empty()
    }

    /// Drops everything. No vCPU may be in generated code.
    pub fn clear(&mut self) {
        self.translations.clear();
        self.index.clear();
        self.front.fill((NOWHERE, 0));
        self.hard.clear();
        self.frames.clear();
        self.links.clear();
        self.arena.clear();
    }

    /// Takes a finished block in; `None` if the arena is full.
    pub fn insert(&mut self, key: Key, block: &Block<'_>) -> Option<u64> {
        let fixups = block.fixups;
        let (at, cells) = self
            .arena
            .place(block.code, block.cells.len(), |bytes, at, cells| {
                for f in fixups {
                    let field = f.at as usize;
                    let to = (cells + 8 * f.slot as usize) as i64 - (at + field + 4) as i64;
                    bytes[field..field + 4].copy_from_slice(&(to as i32).to_le_bytes());
                }
            })?;
        let mut kept = Vec::new();
        for (n, c) in block.cells.iter().enumerate() {
            let cell = cells + 8 * n;
            let value = match *c {
                Cell::Link { resolver, target } => {
                    let resolver = self.arena.address(at + resolver as usize);
                    self.links.insert(cell, (resolver, target));
                    resolver
                }
                Cell::Helper(h, insn) => {
                    let b = Box::new(HelperCall::new(h, insn));
                    let p = &raw const *b as u64;
                    kept.push(Kept::Helper(b));
                    p
                }
                Cell::Vector(op) => {
                    let b = Box::new(op);
                    let p = &raw const *b as u64;
                    kept.push(Kept::Vector(b));
                    p
                }
                Cell::Fp(call) => {
                    let b = Box::new(call);
                    let p = &raw const *b as u64;
                    kept.push(Kept::Fp(b));
                    p
                }
            };
            self.arena.set_cell(cell, value);
        }
        let entry = self.arena.address(at);
        let id = self.translations.len() as u32;
        self.translations.push(Translation {
            key,
            entry,
            host_bytes: block.code.len(),
            bytes: block.bytes,
            incoming: Vec::new(),
            live: true,
            kept,
        });
        self.index.insert(key, id);
        self.frames.entry(key.addr.frame()).or_default().push(id);
        Some(entry)
    }

    /// Lets the link cell at host address `cell` lead to the translation for `key`, if both still are.
    pub fn link(&mut self, cell: u64, key: Key) {
        let Some(cell) = self.arena.offset(cell) else {
            return;
        };
        let (Some(&(resolver, _)), Some(&id)) = (self.links.get(&cell), self.index.get(&key))
        else {
            return;
        };
        let t = &mut self.translations[id as usize];
        t.incoming.push(Link { cell, resolver });
        let entry = t.entry;
        self.arena.set_cell(cell, entry);
    }

    /// Drops the translations made from any of `lines` of `frame`, and what `jumps` knows of them.
    pub fn invalidate(
        &mut self,
        frame: u64,
        hit: u64,
        jumps: &mut [JumpEntry],
        stats: &mut EngineStats,
    ) {
        let Some(ids) = self.frames.get_mut(&frame) else {
            return;
        };
        let mut dropped = Vec::new();
        ids.retain(|&id| {
            let t = &self.translations[id as usize];
            let touched = lines(t.key.addr.offset(), t.bytes as usize) & hit != 0;
            if touched {
                dropped.push(id);
            }
            !touched
        });
        for id in dropped {
            let t = &mut self.translations[id as usize];
            t.live = false;
            stats.invalidated += 1;
            let slot = &mut self.front[place(t.key)];
            if slot.0 == t.key {
                *slot = (NOWHERE, 0);
            }
            if self.index.get(&t.key) == Some(&id) {
                self.index.remove(&t.key);
            }
            let (entry, incoming) = (t.entry, std::mem::take(&mut t.incoming));
            for l in incoming {
                self.arena.set_cell(l.cell, l.resolver);
            }
            for j in jumps.iter_mut().filter(|j| j.entry == entry) {
                *j = JumpEntry::NONE;
            }
        }
    }

    /// The live translations: guest address, host address, host bytes, guest bytes.
    pub fn live(&self) -> impl Iterator<Item = (Key, u64, usize, u32)> {
        self.translations
            .iter()
            .filter(|t| t.live)
            .map(|t| (t.key, t.entry, t.host_bytes, t.bytes))
    }
}

const _: () = assert!(PAGE_SIZE == 64 << 6);
