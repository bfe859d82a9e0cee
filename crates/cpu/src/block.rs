//! Decoded blocks: straight runs of instructions, kept by where their bytes stand in RAM and the mode they were decoded for.

use crate::{Stop, state::Cpu};
use arch::{Exception, Fault, GuestPhys, Mode, PAGE_SIZE, Seg, is_canonical};
use decode::{Code, Insn, Operand, Undecodable};
use hashbrown::HashMap;
use memory::{Access, Target};
use semantics::table::{self, Body};

/// One decoded instruction with its body.
#[derive(Clone, Copy)]
pub struct Step {
    pub body: Body<Cpu>,
    pub insn: Insn,
}

/// A run of instructions inside one page.
pub struct Block {
    pub steps: Vec<Step>,
    /// The generation of the frame when it was decoded: another one now means that the block is stale.
    generation: u32,
    frame: u64,
    /// An instruction that goes over the page's end: the frame of its rest, with that one's generation.
    rest: Option<(u64, u32)>,
}

/// Instructions decoded one behind the other.
pub struct Run {
    pub steps: Vec<Step>,
    /// Where the first stands.
    pub start: GuestPhys,
    /// The frame's generation at that time.
    pub generation: u32,
}

impl Step {
    /// Whether the table has a row for it and the CPU model shows it.
    pub fn exists(&self) -> bool {
        !std::ptr::fn_addr_eq(self.body, not_there as Body<Cpu>)
    }
}

/// The most instructions in a block.
const MAX_STEPS: usize = 32;
/// Blocks kept before all are dropped.
const MAX_BLOCKS: usize = 1 << 18;
/// Entries of the direct-mapped table before the hash table.
const FRONT: usize = 1 << 12;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    addr: u64,
    mode: Mode,
}

#[derive(Clone, Copy)]
struct Front {
    key: Key,
    index: u32,
}

/// The cache of decoded blocks.
pub struct Blocks {
    blocks: Vec<Block>,
    index: HashMap<Key, u32>,
    front: Box<[Front]>,
    /// The block executed last from outside RAM.
    outside: Block,
}

const NOWHERE: Front = Front {
    key: Key {
        addr: u64::MAX,
        mode: Mode(0),
    },
    index: 0,
};

impl Default for Blocks {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            index: HashMap::new(),
            front: vec![NOWHERE; FRONT].into(),
            outside: Block {
                steps: Vec::new(),
                generation: 0,
                frame: 0,
                rest: None,
            },
        }
    }
}

impl Blocks {
    /// Drops everything.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.index.clear();
        self.front.fill(NOWHERE);
    }

    fn place(key: Key) -> usize {
        (key.addr ^ key.addr >> 12) as usize % FRONT
    }
}

impl Cpu {
    /// The linear address of the next instruction, checked against CS.
    pub fn fetch_address(&self) -> Result<u64, Fault> {
        if self.mode.is_64() {
            return if is_canonical(self.rip) {
                Ok(self.rip)
            } else {
                Err(Fault::GP0)
            };
        }
        let cs = self.segment(Seg::Cs);
        if self.rip > u64::from(cs.limit) {
            return Err(Fault::GP0);
        }
        Ok(cs.base.wrapping_add(self.rip) & 0xffff_ffff)
    }

    /// The block at RIP, decoded if need be.
    pub(crate) fn find_block<'a>(&mut self, blocks: &'a mut Blocks) -> Result<&'a Block, Fault> {
        let linear = self.fetch_address()?;
        let host = match self
            .mmu
            .tlb
            .host(self.class as usize, linear, 1, Access::Fetch)
        {
            Some(h) => h as u64,
            None => {
                self.resolve(self.class, linear, Access::Fetch)?;
                match self
                    .mmu
                    .tlb
                    .host(self.class as usize, linear, 1, Access::Fetch)
                {
                    Some(h) => h as u64,
                    None => return self.decode_outside_ram(blocks, linear),
                }
            }
        };
        let key = Key {
            addr: host,
            mode: self.mode,
        };
        let slot = Blocks::place(key);
        let front = blocks.front[slot];
        let known = if front.key == key {
            Some(front.index)
        } else {
            blocks.index.get(&key).copied()
        };
        if let Some(index) = known {
            let b = &blocks.blocks[index as usize];
            if self.mmu.ram().generation(b.frame) == b.generation
                && (b.rest.is_none() || self.rest_is_same(b.rest, linear)?)
            {
                blocks.front[slot] = Front { key, index };
                return Ok(&blocks.blocks[index as usize]);
            }
        }
        let block = self.decode_block(linear)?;
        if blocks.blocks.len() >= MAX_BLOCKS {
            blocks.clear();
        }
        let index = match known.filter(|&k| (k as usize) < blocks.blocks.len()) {
            Some(k) => {
                blocks.blocks[k as usize] = block;
                k
            }
            None => {
                blocks.blocks.push(block);
                blocks.blocks.len() as u32 - 1
            }
        };
        blocks.index.insert(key, index);
        blocks.front[slot] = Front { key, index };
        Ok(&blocks.blocks[index as usize])
    }

    /// A block of one instruction that is not kept: code in ROM or MMIO.
    #[cold]
    fn decode_outside_ram<'a>(
        &mut self,
        blocks: &'a mut Blocks,
        linear: u64,
    ) -> Result<&'a Block, Fault> {
        let step = self.decode_step(linear)?;
        blocks.outside.steps = vec![step];
        Ok(&blocks.outside)
    }

    fn decode_block(&mut self, linear: u64) -> Result<Block, Fault> {
        let run = self.decode_run(linear, MAX_STEPS)?;
        let frame = run.start.frame();
        if run.steps.is_empty() {
            self.counters.decoded += 1;
            // Over the page's end: it is kept with where its rest was found, both marked as code before they are read.
            let generation = self.mmu.mark_code(frame, 1 << 63).unwrap_or(0);
            let rest = match self.rest_of_page(linear)? {
                Some(f) => self.mmu.mark_code(f, 1).map(|g| (f, g)),
                None => None,
            };
            let steps = vec![self.decode_step(linear)?];
            // Its rest outside RAM: stale at once, hence decoded anew each time.
            let generation = if rest.is_some() {
                generation
            } else {
                generation.wrapping_sub(1)
            };
            return Ok(Block {
                steps,
                generation,
                frame,
                rest,
            });
        }
        Ok(Block {
            steps: run.steps,
            generation: run.generation,
            frame,
            rest: None,
        })
    }

    /// The frame behind the page that follows `linear`'s, if it is RAM.
    fn rest_of_page(&mut self, linear: u64) -> Result<Option<u64>, Fault> {
        let next = (linear | (PAGE_SIZE - 1)).wrapping_add(1);
        let next = if self.mode.is_64() {
            next
        } else {
            next & 0xffff_ffff
        };
        let ram = self.mmu.ram().clone();
        let host = self
            .mmu
            .tlb
            .host(self.class as usize, next, 1, Access::Fetch);
        Ok(match host {
            Some(h) => ram.guest_of(h as u64).map(GuestPhys::frame),
            None => match self.resolve(self.class, next, Access::Fetch)? {
                Target::Ram(p) => Some(p.frame()),
                Target::Bus(_) => None,
            },
        })
    }

    /// Whether the rest of an instruction over the page's end still stands where it did.
    fn rest_is_same(&mut self, rest: Option<(u64, u32)>, linear: u64) -> Result<bool, Fault> {
        let now = self.rest_of_page(linear)?;
        Ok(rest.is_some_and(|(f, g)| now == Some(f) && self.mmu.ram().generation(f) == g))
    }

    /// Decodes at most `most` instructions from RIP on, whose linear address is `linear`, up to an unconditional transfer, the page's
    /// end or the limit of CS; none if the first one crosses such an end. The lines are marked as code.
    pub fn decode_run(&mut self, linear: u64, most: usize) -> Result<Run, Fault> {
        let Target::Ram(start) = self.resolve(self.class, linear, Access::Fetch)? else {
            return Err(Fault::GP0);
        };
        // The limit of CS ends a run too; the step that crosses it faults when it is fetched by itself.
        let limit = if self.mode.is_64() {
            usize::MAX
        } else {
            (u64::from(self.segment(Seg::Cs).limit) - self.rip) as usize + 1
        };
        let room = limit
            .min(PAGE_SIZE as usize - start.offset())
            .min(most * decode::MAX_LEN);
        let (mut page, mut again) = ([0; PAGE_SIZE as usize], [0; PAGE_SIZE as usize]);
        loop {
            let _ = self.mmu.ram().read(start, &mut page[..room]);
            let mut steps = Vec::with_capacity(8);
            let mut at = 0;
            while steps.len() < most && at < room {
                let insn = match decode::decode(&page[at..room], self.mode) {
                    Ok(i) => i,
                    Err(Undecodable::Invalid) => {
                        steps.push(self.undefined(invalid()));
                        break;
                    }
                    // Too long, or over an end: by itself, next time.
                    Err(Undecodable::Short) => break,
                };
                let step = self.bind(insn);
                at += usize::from(step.insn.len);
                steps.push(step);
                if ends_block(&insn) {
                    break;
                }
            }
            let lines = memory::lines(start.offset(), at);
            let generation = self.mmu.mark_code(start.frame(), lines).unwrap_or(0);
            // Somebody may have written between the read and the mark.
            let _ = self.mmu.ram().read(start, &mut again[..room]);
            if page[..at] == again[..at] {
                if !steps.is_empty() {
                    self.counters.blocks += 1;
                    self.counters.decoded += steps.len() as u64;
                }
                return Ok(Run {
                    steps,
                    start,
                    generation,
                });
            }
        }
    }

    /// Decodes one instruction byte by byte through the MMU.
    fn decode_step(&mut self, linear: u64) -> Result<Step, Fault> {
        let mut bytes = [0; decode::MAX_LEN];
        for n in 0..bytes.len() {
            if !self.mode.is_64() && self.rip + n as u64 > u64::from(self.segment(Seg::Cs).limit) {
                return Err(Fault::GP0);
            }
            let a = linear.wrapping_add(n as u64);
            let a = if self.mode.is_64() {
                a
            } else {
                a & 0xffff_ffff
            };
            bytes[n] = match self.resolve(self.class, a, Access::Fetch)? {
                Target::Ram(p) => self.mmu.load_phys(p).unwrap_or(0xff),
                Target::Bus(p) => self.bus.mmio_read(p, bus::AccessSize::Byte) as u8,
            };
            match decode::decode(&bytes[..=n], self.mode) {
                Ok(i) => return Ok(self.bind(i)),
                Err(Undecodable::Invalid) => return Ok(self.undefined(invalid())),
                Err(Undecodable::Short) => {}
            }
        }
        Err(Fault::with_code(Exception::GP, 0))
    }

    /// The instruction with its body, if the table has it and the CPU model shows it.
    fn bind(&mut self, insn: Insn) -> Step {
        let shown =
            decode::required_features(insn.code).is_some_and(|f| self.model.features.covers(f));
        match table::row::<Cpu>(insn.code) {
            Some(row) if shown => Step {
                body: row.body,
                insn,
            },
            _ => self.undefined(insn),
        }
    }

    fn undefined(&mut self, insn: Insn) -> Step {
        Step {
            body: not_there,
            insn,
        }
    }
}

/// An encoding that no row covers: #UD, and counted.
fn not_there(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    cpu.counters.unimplemented(i.code);
    Err(Fault::UD.into())
}

fn invalid() -> Insn {
    Insn {
        code: Code::INVALID,
        len: 1,
        rep: decode::Rep::None,
        lock: false,
        address: arch::Size::B64,
        ops: [Operand::None; 3],
        mem: decode::Mem {
            base: decode::Mem::NONE,
            index: decode::Mem::NONE,
            scale: 0,
            seg: Seg::Ds,
            disp: 0,
        },
    }
}

/// An unconditional transfer: nothing behind it is reached through it.
fn ends_block(i: &Insn) -> bool {
    use decode::Flow;
    !matches!(decode::flow(i.code), Flow::Next | Flow::Conditional)
}
