//! The translations: found by guest-physical address and mode, linked to each other, dropped when their guest code is written or when the
//! room they take is wanted.
//!
//! Everything is dense: translations and links are records in slabs, chained by their numbers. A link's cell carries the number of its
//! record beside the address that it leads to, and the jump through it is written over by a jump to that address. What a translation
//! occupied is free for another once every vCPU has left generated code since it was dropped: see [`Cache::collect`].

use crate::arena::{Arena, Space, Want};
use crate::enter::HelperCall;
use arch::{GuestPhys, Mode, PAGE_SIZE};
use baseline::block::{Block, Cell};
use baseline::host::{Fixup, HostAssembler, JUMP};
use baseline::x64::X64;
use cpu::native::JumpEntry;
use hashbrown::HashMap;
use memory::{Ram, lines};

/// What a translation is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub addr: GuestPhys,
    pub mode: Mode,
}

/// Heads of the hash table's chains.
const BUCKETS: usize = 1 << 17;
/// No record.
const NONE: u32 = u32::MAX;
/// Instructions that end in one frame and begin in others: more are not kept.
const RESTS: usize = 64;
/// Bytes from a cell to the next: the word that code reads, and a word of ours.
const CELL: usize = 16;

impl Key {
    fn bucket(self) -> usize {
        let v = self.addr.0 ^ u64::from(self.mode.0) << 40;
        (v.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 47) as usize % BUCKETS
    }
}

/// A link cell.
struct Link {
    /// Its offset in the arena, and those of the jump through it and of the resolver that it goes back to.
    cell: u32,
    jump: u32,
    resolver: u32,
    /// The next link of the same translation.
    sibling: u32,
    /// The translation it leads to, and its neighbours among the links that do.
    target: u32,
    next: u32,
    previous: u32,
}

/// From which addresses the jump cache may know a translation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nowhere,
    From(u64),
    FromSeveral,
}

struct Translation {
    key: Key,
    space: Space,
    known: Known,
    /// Without the rare ways.
    host_bytes: u32,
    /// Guest bytes: where in the page the first stands, and how many.
    start: u16,
    bytes: u16,
    /// It is a region of T2.
    region: bool,
    live: bool,
    /// Its own links.
    links: u32,
    /// Links of others, or its own, that lead here.
    incoming: u32,
    /// The next in the chain of its bucket, and of its frame.
    next: u32,
    next_in_frame: u32,
}

/// What the cache counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Translations dropped because their guest code was written.
    pub invalidated: u64,
    /// Translations dropped for their room, and segments opened again.
    pub evicted: u64,
    pub evictions: u64,
    /// Translations that are.
    pub live: u64,
    /// Jumps that were led to their target.
    pub direct: u64,
}

/// All translations of a machine.
pub struct Cache {
    pub arena: Arena,
    /// Linked jumps lead to their target by themselves, not through their cell.
    direct: bool,
    translations: Vec<Translation>,
    free: Vec<u32>,
    links: Vec<Link>,
    free_links: Vec<u32>,
    buckets: Box<[u32]>,
    /// By frame, the first of its translations.
    frames: HashMap<u64, u32>,
    /// By frame, the translations of instructions that begin in another one and end in it. Some may be gone.
    rests: HashMap<u64, Vec<Key>>,
    /// Spaces of dropped translations that a vCPU may still be in.
    limbo: Vec<Space>,
    /// Moves on whenever a translation is dropped: numbers and cells from before may mean something else.
    drops: u64,
    stale: Vec<(u64, u64)>,
    pub counts: Counts,
}

impl Cache {
    /// An empty cache.
    pub fn new(arena: Arena, direct: bool) -> Self {
        Self {
            arena,
            direct,
            translations: Vec::new(),
            free: Vec::new(),
            links: Vec::new(),
            free_links: Vec::new(),
            buckets: vec![NONE; BUCKETS].into(),
            frames: HashMap::new(),
            rests: HashMap::new(),
            limbo: Vec::new(),
            drops: 0,
            stale: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The number of the translation for `key`, until [`Cache::drops`] moves on.
    #[inline]
    pub fn find(&self, key: Key) -> Option<u32> {
        let mut at = self.buckets[key.bucket()];
        while at != NONE {
            let t = &self.translations[at as usize];
            if t.key == key {
                return Some(at);
            }
            at = t.next;
        }
        None
    }

    /// The host address of a translation's code.
    #[inline]
    pub fn entry(&self, id: u32) -> u64 {
        self.arena
            .address(self.translations[id as usize].space.code as usize)
    }

    /// Notes that the jump cache knows a translation from `rip`.
    #[inline]
    pub fn note_jump(&mut self, id: u32, rip: u64) {
        let known = &mut self.translations[id as usize].known;
        if *known != Known::From(rip) {
            *known = match *known {
                Known::Nowhere => Known::From(rip),
                _ => Known::FromSeveral,
            };
        }
    }

    /// Takes in the region whose head is `key`, with `block` of T1 for what the region leaves there; `head` is the number of the cell that
    /// leads to that. What was there for `key` goes. No vCPU is in generated code.
    pub fn insert_region(
        &mut self,
        key: Key,
        region: (&Block<'_>, Option<u32>),
        base: u32,
        jumps: &mut [JumpEntry],
    ) -> Option<u32> {
        let drops = self.drops;
        let id = self.insert(key, region.0, None, jumps)?;
        self.translations[id as usize].region = true;
        // Unless room for the region was made at the block's cost.
        if let Some(cell) = region.1
            && self.drops == drops
        {
            let data = self.translations[id as usize].space.data as usize;
            let cell = self.arena.address(data + CELL * cell as usize);
            self.link(cell, base);
        }
        Some(id)
    }

    /// Whether it is a region.
    pub fn is_region(&self, id: u32) -> bool {
        self.translations[id as usize].region
    }

    /// Drops what there is for `key`.
    pub fn drop_key(&mut self, key: Key, jumps: &mut [JumpEntry]) {
        self.drop_in_frame(key.addr.frame(), |t| t.key == key, jumps);
    }

    /// Calls `each` with the offset of every translation of a frame and mode.
    pub fn entries_of(&self, frame: u64, mode: Mode, mut each: impl FnMut(u32)) {
        let mut at = self.frames.get(&frame).copied().unwrap_or(NONE);
        while at != NONE {
            let t = &self.translations[at as usize];
            if t.key.mode == mode {
                each(t.key.addr.offset() as u32);
            }
            at = t.next_in_frame;
        }
    }

    /// Counts drops.
    #[inline]
    pub fn drops(&self) -> u64 {
        self.drops
    }

    /// No vCPU is in generated code: what was dropped can be written over.
    #[inline]
    pub fn collect(&mut self) {
        if !self.limbo.is_empty() {
            for s in std::mem::take(&mut self.limbo) {
                self.arena.reuse(s);
            }
        }
    }

    /// Takes a finished block in, in the place of the oldest ones if need be; `None` if no segment is large enough. Its last bytes stand in
    /// the frame `rest`, if that is another one. No vCPU is in generated code.
    pub fn insert(
        &mut self,
        key: Key,
        block: &Block<'_>,
        rest: Option<u64>,
        jumps: &mut [JumpEntry],
    ) -> Option<u32> {
        let (hot, rare) = block.code.split_at(block.hot as usize);
        let want = Want {
            code: hot.len(),
            rare: rare.len(),
            data: CELL * block.cells.len() + block.cells.iter().map(payload).sum::<usize>(),
        };
        if !self.arena.can_hold(want) {
            return None;
        }
        let space = loop {
            match self.arena.alloc(want) {
                Some(s) => break s,
                None => self.evict(jumps),
            }
        };
        self.arena.write_code(space, space.code, hot);
        self.arena.write_code(space, space.rare, rare);
        for f in block.fixups {
            let cell = i64::from(space.data) + (CELL * f.slot as usize) as i64;
            let at = place(space, block, f.at);
            let field = (cell - i64::from(at) - 4) as i32;
            self.arena.write_code(space, at, &field.to_le_bytes());
        }
        // How much farther the rare ways are than where they were written.
        let moved = space.rare.wrapping_sub(space.code + block.hot);
        for &at in block.crossings {
            let from = at as usize;
            let Some(field) = block.code.get(from..from + 4) else {
                continue;
            };
            let distance = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
            let distance = if at < block.hot {
                distance.wrapping_add(moved)
            } else {
                distance.wrapping_sub(moved)
            };
            let at = place(space, block, at);
            self.arena.write_code(space, at, &distance.to_le_bytes());
        }
        let head = self.buckets[key.bucket()];
        let frame = self.frames.entry(key.addr.frame()).or_insert(NONE);
        let t = Translation {
            key,
            space,
            known: Known::Nowhere,
            host_bytes: block.hot,
            start: block.start as u16,
            bytes: block.bytes as u16,
            region: false,
            live: true,
            links: NONE,
            incoming: NONE,
            next: head,
            next_in_frame: *frame,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.translations[id as usize] = t;
                id
            }
            None => {
                self.translations.push(t);
                self.translations.len() as u32 - 1
            }
        };
        *frame = id;
        self.buckets[key.bucket()] = id;
        self.fill_cells(id, block);
        self.counts.live += 1;
        if let Some(frame) = rest {
            self.note_rest(frame, key, jumps);
        }
        Some(id)
    }

    fn fill_cells(&mut self, id: u32, block: &Block<'_>) {
        let space = self.translations[id as usize].space;
        let mut free = CELL * block.cells.len();
        for (n, c) in block.cells.iter().enumerate() {
            let cell = CELL * n;
            let mut aside = 0;
            let here = self.arena.address(space.data as usize + free);
            let value = match *c {
                Cell::Link { resolver, .. } => {
                    let resolver = place(space, block, resolver);
                    let own = |f: &&Fixup| f.jumps && f.slot as usize == n;
                    let jump = block.fixups.iter().find(own);
                    let link = Link {
                        cell: space.data + cell as u32,
                        jump: jump.map_or(NONE, |f| place(space, block, f.at) + 4 - JUMP as u32),
                        resolver,
                        sibling: self.translations[id as usize].links,
                        target: NONE,
                        next: NONE,
                        previous: NONE,
                    };
                    let number = match self.free_links.pop() {
                        Some(l) => {
                            self.links[l as usize] = link;
                            l
                        }
                        None => {
                            self.links.push(link);
                            self.links.len() as u32 - 1
                        }
                    };
                    self.translations[id as usize].links = number;
                    aside = u64::from(number);
                    self.arena.address(resolver as usize)
                }
                Cell::Word(v) => v,
                Cell::Helper(helper, insn) => {
                    self.arena
                        .write_data(space, free, HelperCall::new(helper, insn));
                    here
                }
                Cell::Vector(op) => {
                    self.arena.write_data(space, free, op);
                    here
                }
                Cell::Fp(call) => {
                    self.arena.write_data(space, free, call);
                    here
                }
            };
            self.arena.write_data(space, cell, [value, aside]);
            free += payload(c);
        }
    }

    /// Lets the link cell at host address `cell` lead to a translation. Both were found since something was dropped last.
    pub fn link(&mut self, cell: u64, target: u32) {
        let Some(cell) = self.arena.offset(cell) else {
            return;
        };
        let Some(number) = self.arena.word(cell + 8) else {
            return;
        };
        let Some(link) = self.links.get_mut(number as usize) else {
            return;
        };
        if link.cell as usize != cell || link.target != NONE {
            return;
        }
        let jump = link.jump;
        let t = &mut self.translations[target as usize];
        (link.target, link.next, link.previous) = (target, t.incoming, NONE);
        let next = std::mem::replace(&mut t.incoming, number as u32);
        if let Some(l) = self.links.get_mut(next as usize) {
            l.previous = number as u32;
        }
        let entry = self.entry(target);
        self.arena.set_cell(cell, entry);
        if self.direct && jump != NONE {
            let to = self.translations[target as usize].space.code;
            let jump_to = X64::jump_to(to.wrapping_sub(jump) as i32);
            self.arena.write_jump(jump, jump_to);
            self.counts.direct += 1;
        }
    }

    /// Takes a link out of those that lead to its target.
    fn detach(&mut self, number: u32) {
        let l = &mut self.links[number as usize];
        let target = std::mem::replace(&mut l.target, NONE);
        let (next, previous) = (l.next, l.previous);
        if target == NONE {
            return;
        }
        if let Some(l) = self.links.get_mut(next as usize) {
            l.previous = previous;
        }
        match self.links.get_mut(previous as usize) {
            Some(l) => l.next = next,
            None => self.translations[target as usize].incoming = next,
        }
    }

    /// Drops a translation that is out of its frame's chain already: nothing finds it or leads to it any more.
    fn drop_translation(&mut self, id: u32, jumps: &mut [JumpEntry]) {
        let t = &mut self.translations[id as usize];
        t.live = false;
        let (key, space, known) = (t.key, t.space, t.known);
        let (mut own, next) = (std::mem::replace(&mut t.links, NONE), t.next);
        while own != NONE {
            self.detach(own);
            self.free_links.push(own);
            own = self.links[own as usize].sibling;
        }
        let mut incoming = std::mem::replace(&mut self.translations[id as usize].incoming, NONE);
        while incoming != NONE {
            let l = &mut self.links[incoming as usize];
            l.target = NONE;
            let (cell, jump, resolver) = (l.cell, l.jump, l.resolver as usize);
            incoming = l.next;
            let resolver = self.arena.address(resolver);
            self.arena.set_cell(cell as usize, resolver);
            if self.direct && jump != NONE {
                let through = X64::jump_through(cell.wrapping_sub(jump) as i32);
                self.arena.write_jump(jump, through);
            }
        }
        let bucket = key.bucket();
        if self.buckets[bucket] == id {
            self.buckets[bucket] = next;
        } else {
            let mut at = self.buckets[bucket];
            while at != NONE {
                let t = &mut self.translations[at as usize];
                if t.next == id {
                    t.next = next;
                    break;
                }
                at = t.next;
            }
        }
        let entry = self.arena.address(space.code as usize);
        match known {
            Known::Nowhere => {}
            Known::From(rip) => {
                let j = &mut jumps[JumpEntry::place(rip)];
                if j.entry == entry {
                    *j = JumpEntry::NONE;
                }
            }
            Known::FromSeveral => {
                for j in jumps.iter_mut().filter(|j| j.entry == entry) {
                    *j = JumpEntry::NONE;
                }
            }
        }
        self.free.push(id);
        self.arena.release(space);
        self.drops += 1;
        self.counts.live -= 1;
    }

    /// Drops the translations whose guest code was written, and what `jumps` knows of them. Generated code may run, but none of theirs.
    pub fn drop_stale(&mut self, ram: &Ram, jumps: &mut [JumpEntry]) {
        let mut stale = std::mem::take(&mut self.stale);
        ram.take_stale(&mut stale);
        for &(frame, hit) in &stale {
            self.invalidate(frame, hit, jumps);
        }
        self.stale = stale;
    }

    /// Drops the translations made from any of `lines` of `frame`.
    fn invalidate(&mut self, frame: u64, hit: u64, jumps: &mut [JumpEntry]) {
        let touched = |t: &Translation| lines(t.start.into(), usize::from(t.bytes)) & hit != 0;
        let mut dropped = self.drop_in_frame(frame, touched, jumps);
        if hit & 1 != 0 {
            dropped += self.drop_rests(frame, jumps);
        }
        self.counts.invalidated += dropped;
    }

    /// Notes that the instruction of `key` ends in `frame`.
    fn note_rest(&mut self, frame: u64, key: Key, jumps: &mut [JumpEntry]) {
        let keys = self.rests.entry(frame).or_default();
        if keys.contains(&key) {
            return;
        }
        if keys.len() < RESTS {
            return keys.push(key);
        }
        self.drop_rests(frame, jumps);
        self.rests.insert(frame, vec![key]);
    }

    /// Drops the translations of instructions that end in `frame`; tells how many.
    fn drop_rests(&mut self, frame: u64, jumps: &mut [JumpEntry]) -> u64 {
        let keys = self.rests.remove(&frame).unwrap_or_default();
        keys.into_iter()
            .map(|k| self.drop_in_frame(k.addr.frame(), |t| t.key == k, jumps))
            .sum()
    }

    /// Drops those of a frame that `which` names; tells how many.
    fn drop_in_frame(
        &mut self,
        frame: u64,
        which: impl Fn(&Translation) -> bool,
        jumps: &mut [JumpEntry],
    ) -> u64 {
        let Some(&first) = self.frames.get(&frame) else {
            return 0;
        };
        let (mut head, mut last, mut at, mut dropped) = (NONE, NONE, first, 0);
        while at != NONE {
            let next = self.translations[at as usize].next_in_frame;
            if which(&self.translations[at as usize]) {
                let space = self.translations[at as usize].space;
                self.drop_translation(at, jumps);
                self.limbo.push(space);
                dropped += 1;
            } else {
                match self.translations.get_mut(last as usize) {
                    Some(t) => t.next_in_frame = at,
                    None => head = at,
                }
                last = at;
            }
            at = next;
        }
        if let Some(t) = self.translations.get_mut(last as usize) {
            t.next_in_frame = NONE;
        }
        if head == NONE {
            self.frames.remove(&frame);
        } else if head != first {
            self.frames.insert(frame, head);
        }
        dropped
    }

    /// Makes room: the oldest segment is emptied and opened. No vCPU is in generated code.
    fn evict(&mut self, jumps: &mut [JumpEntry]) {
        let next = self.arena.next();
        let mut frames: Vec<u64> = self
            .translations
            .iter()
            .filter(|t| t.live && self.arena.segment_of(t.space) == next)
            .map(|t| t.key.addr.frame())
            .collect();
        frames.sort_unstable();
        frames.dedup();
        self.counts.evictions += u64::from(!frames.is_empty());
        let len = self.arena.used().1 / crate::arena::SEGMENTS;
        for frame in frames {
            let here = |t: &Translation| t.space.code as usize / len == next;
            self.counts.evicted += self.drop_in_frame(frame, here, jumps);
        }
        let arena = &self.arena;
        self.limbo.retain(|&s| arena.segment_of(s) != next);
        self.arena.advance();
    }

    /// The rare ways of a translation: host address and bytes.
    pub fn rare(&self, id: u32) -> (u64, Vec<u8>) {
        let (at, len) = self.translations[id as usize].space.rare();
        (self.arena.address(at), self.arena.bytes(at, len))
    }

    /// The live translations: guest address, host address, host bytes without rare ways, guest bytes.
    pub fn live(&self) -> impl Iterator<Item = (Key, u64, usize, u32)> {
        self.translations.iter().filter(|t| t.live).map(|t| {
            let entry = self.arena.address(t.space.code as usize);
            (t.key, entry, t.host_bytes as usize, t.bytes.into())
        })
    }
}

/// Where in the arena the byte at `offset` of a block's code stands.
fn place(s: Space, block: &Block<'_>, offset: u32) -> u32 {
    match offset.checked_sub(block.hot) {
        Some(rare) => s.rare + rare,
        None => s.code + offset,
    }
}

/// Bytes that a cell wants beside: what it points to.
fn payload(c: &Cell) -> usize {
    let bytes = match c {
        Cell::Link { .. } | Cell::Word(_) => 0,
        Cell::Helper(..) => size_of::<HelperCall>(),
        Cell::Vector(op) => size_of_val(op),
        Cell::Fp(call) => size_of_val(call),
    };
    bytes.next_multiple_of(CELL)
}

const _: () = assert!(PAGE_SIZE == 64 << 6);

#[cfg(test)]
mod tests {
    use super::*;
    use cpu::native::JUMPS;

    struct World {
        cache: Cache,
        jumps: Vec<JumpEntry>,
    }

    fn key(addr: u64) -> Key {
        Key {
            addr: GuestPhys(addr),
            mode: Mode(0),
        }
    }

    impl World {
        fn new() -> Self {
            Self {
                cache: Cache::new(Arena::new(1 << 20).unwrap(), true),
                jumps: vec![JumpEntry::NONE; JUMPS],
            }
        }

        /// A block of `bytes` guest bytes with `links` links.
        fn put(&mut self, addr: u64, bytes: u32, links: usize) -> u32 {
            let cell = Cell::Link {
                resolver: 100,
                target: 0,
            };
            let block = Block {
                code: &[0xc3; 300],
                hot: 80,
                crossings: &[],
                fixups: &[],
                cells: &vec![cell; links],
                windowed: 0,
                marks: &[],
                rounds: false,
                start: addr as u32 & 0xfff,
                bytes,
                instructions: 1,
            };
            self.cache
                .insert(key(addr), &block, None, &mut self.jumps)
                .unwrap()
        }

        /// The host address of a translation's link cell.
        fn cell(&self, id: u32, n: usize) -> u64 {
            let space = self.cache.translations[id as usize].space;
            self.cache.arena.address(space.data as usize + CELL * n)
        }

        fn leads_to(&self, cell: u64) -> u64 {
            let at = self.cache.arena.offset(cell).unwrap();
            self.cache.arena.word(at).unwrap()
        }

        fn resolver(&self, id: u32) -> u64 {
            self.cache.rare(id).0 + 20
        }
    }

    #[test]
    fn what_is_written_is_dropped_exactly_and_unlinked() {
        let mut w = World::new();
        let (a, b, c) = (
            w.put(0x1000, 10, 2),
            w.put(0x1040, 10, 1),
            w.put(0x1080, 10, 0),
        );
        let cells = [w.cell(a, 0), w.cell(a, 1), w.cell(b, 0)];
        w.cache.link(cells[0], b);
        w.cache.link(cells[1], c);
        w.cache.link(cells[2], b);
        assert_eq!(w.leads_to(cells[0]), w.cache.entry(b));
        let (j, entry) = (JumpEntry::place(0x5040), w.cache.entry(b));
        w.jumps[j].entry = entry;
        w.cache.note_jump(b, 0x5040);
        w.cache.invalidate(1, 1 << 1, &mut w.jumps);
        assert_eq!(w.cache.find(key(0x1040)), None);
        assert_eq!(w.cache.find(key(0x1000)), Some(a));
        assert_eq!(w.leads_to(cells[0]), w.resolver(a));
        assert_eq!(w.leads_to(cells[1]), w.cache.entry(c));
        assert_eq!(w.jumps[j].entry, JumpEntry::NONE.entry);
        assert_eq!(w.cache.counts.invalidated, 1);
        // What it took is taken again only after everyone has left.
        let d = w.put(0x2000, 10, 1);
        assert_ne!(w.cache.entry(d), entry);
        w.cache.collect();
        let e = w.put(0x3000, 10, 1);
        assert_eq!(w.cache.entry(e), entry);
        w.cache.link(cells[0], e);
        assert_eq!(w.leads_to(cells[0]), entry);
    }

    #[test]
    fn a_full_cache_drops_the_oldest_and_no_record_is_lost() {
        let mut w = World::new();
        let mut last = None;
        for n in 0..20_000u64 {
            let id = w.put(n << 6, 10, 2);
            if let Some(l) = last
                && w.cache.find(key((n - 1) << 6)) == Some(l)
            {
                w.cache.link(w.cell(l, 0), id);
                w.cache.link(w.cell(id, 1), l);
            }
            last = Some(id);
            assert_eq!(w.cache.find(key(n << 6)), Some(id));
        }
        let live = w.cache.live().count();
        assert_eq!(w.cache.counts.live, live as u64);
        assert_eq!(w.cache.counts.evicted, 20_000 - live as u64);
        assert!(live > 1000 && w.cache.translations.len() < 4000);
        assert!(w.cache.links.len() <= 2 * w.cache.translations.len());
        for frame in 0..20_000 >> 6 {
            w.cache.invalidate(frame, !0, &mut w.jumps);
        }
        w.cache.invalidate(20_000 >> 6, !0, &mut w.jumps);
        assert_eq!((w.cache.counts.live, w.cache.arena.used().0), (0, 0));
        assert!(w.cache.frames.is_empty());
        assert!(w.cache.buckets.iter().all(|&b| b == NONE));
        assert_eq!(w.cache.links.len(), w.cache.free_links.len());
    }
}
