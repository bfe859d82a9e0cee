//! From RIP to decoded instructions.

use crate::block::{Blocks, Key, MAX_STEPS, Scratch, Step};
use crate::{Stop, state::Cpu};
use arch::cpuid::FeatureSet;
use arch::{Exception, Fault, GuestPhys, PAGE_SIZE, Seg, is_canonical};
use bus::clock::Stopwatch;
use decode::{Code, Insn, Operand, Undecodable};
use memory::{Access, Target};
use semantics::table::{self, Body};
use std::sync::LazyLock;

/// By form: the body and the features that the CPU model must show.
static ROWS: LazyLock<Vec<Option<(Body<Cpu>, FeatureSet)>>> = LazyLock::new(|| {
    Code::values()
        .map(|c| Some((table::row::<Cpu>(c)?.body, decode::required_features(c)?)))
        .collect()
});

/// A block that was looked up.
pub(crate) enum Found {
    /// By its index.
    Kept(u32),
    /// One instruction outside RAM.
    Outside(Step),
}

/// What [`Cpu::warm_up`] did with a block that has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warm {
    /// It was evaluated.
    Evaluated,
    /// It was evaluated often enough: a translator may have [`Cpu::decoded`] of it.
    Ready(u32),
    /// No translator takes it: the evaluator must do the instruction at RIP.
    Hard,
}

/// When a block without translation is one for a translator.
#[derive(Clone, Copy, Debug)]
pub struct Heat {
    /// Times that it is evaluated before.
    pub first: u8,
    /// The same where code keeps changing.
    pub changing: u8,
    /// Changes of code in a frame that make it such a place.
    pub changes: u32,
}

impl Cpu {
    /// The linear address of the next instruction, checked against CS.
    #[inline]
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

    /// Where code at `linear` stands.
    #[inline]
    pub fn fetch_target(&mut self, linear: u64) -> Result<Target, Fault> {
        let class = self.class as usize;
        let host = self.mmu.tlb.host(class, linear, 1, Access::Fetch);
        if let Some(p) = host.and_then(|h| self.mmu.ram().guest_of(h as u64)) {
            return Ok(Target::Ram(p));
        }
        self.resolve(self.class, linear, Access::Fetch)
    }

    /// The block at RIP, decoded if need be.
    pub(crate) fn find_block(&mut self, blocks: &mut Blocks, single: bool) -> Result<Found, Fault> {
        let linear = self.fetch_address()?;
        let Target::Ram(addr) = self.fetch_target(linear)? else {
            return Ok(Found::Outside(self.decode_step(linear)?));
        };
        self.find_block_at(blocks, linear, addr, single)
            .map(Found::Kept)
    }

    fn find_block_at(
        &mut self,
        blocks: &mut Blocks,
        linear: u64,
        addr: GuestPhys,
        single: bool,
    ) -> Result<u32, Fault> {
        let key = Key {
            addr,
            mode: self.mode,
            single,
        };
        let known = blocks.find(key);
        if let Some(index) = known {
            let b = blocks.block(index);
            let (generation, rest) = (b.generation, b.rest);
            if self.mmu.ram().generation(addr.frame()) == generation
                && (rest.is_none() || self.rest_is_same(rest, linear)?)
            {
                return Ok(index);
            }
        }
        let start = Stopwatch::start();
        let most = if single { 1 } else { MAX_STEPS };
        let (generation, rest) = self.decode_block(linear, addr, most, &mut blocks.scratch)?;
        let index = blocks.keep(key, known, generation, rest);
        self.counters.decode_ns += start.elapsed_ns();
        Ok(index)
    }

    /// Evaluates the block at RIP, which stands at `linear` and `addr`, unless it was evaluated often enough to be translated.
    pub fn warm_up(&mut self, linear: u64, addr: GuestPhys, heat: Heat) -> Result<Warm, Fault> {
        let mut blocks = self.blocks.take().unwrap_or_default();
        let done = self
            .find_block_at(&mut blocks, linear, addr, false)
            .map(|index| {
                let b = blocks.block_mut(index);
                if b.hard {
                    return Warm::Hard;
                }
                let first = if b.generation >= heat.changes {
                    heat.changing
                } else {
                    heat.first
                };
                if b.runs >= first {
                    return Warm::Ready(index);
                }
                b.runs += 1;
                self.run_steps(blocks.steps(index), false);
                Warm::Evaluated
            });
        self.blocks = Some(blocks);
        done
    }

    /// The instructions of a block that [`Cpu::warm_up`] answered just now, as far as the table has them and the CPU model shows them.
    pub fn decoded(&self, index: u32) -> &[Insn] {
        self.blocks.as_ref().map_or(&[], |b| b.known(index))
    }

    /// The frame that the rest of such a block stands in, if it is one instruction over the page's end.
    pub fn rest_of_decoded(&self, index: u32) -> Option<u64> {
        let blocks = self.blocks.as_ref()?;
        blocks.block(index).rest.map(|(frame, _)| frame)
    }

    /// A block was translated: the decoded one is not needed any more.
    pub fn forget_decoded(&mut self, index: u32) {
        if let Some(b) = &mut self.blocks {
            b.forget(index);
        }
    }

    /// No translator takes a block that [`Cpu::warm_up`] answered just now.
    pub fn keep_evaluating(&mut self, index: u32) {
        if let Some(b) = &mut self.blocks {
            b.block_mut(index).hard = true;
        }
    }

    /// Decodes a block into `out`, which then is not empty; tells the generation of its frame, and for an instruction that goes over the
    /// page's end the frame of its rest with that one's.
    fn decode_block(
        &mut self,
        linear: u64,
        addr: GuestPhys,
        most: usize,
        out: &mut Scratch,
    ) -> Result<(u32, Option<(u64, u32)>), Fault> {
        let generation = self.decode_run(addr, most, out);
        if !out.insns.is_empty() {
            self.counters.blocks += 1;
            self.counters.decoded += out.insns.len() as u64;
            return Ok((generation, None));
        }
        self.counters.decoded += 1;
        // Over the page's end: it is kept with where its rest was found, both marked as code before they are read.
        let generation = self.mmu.mark_code(addr.frame(), 1 << 63).unwrap_or(0);
        let rest = match self.rest_of_page(linear)? {
            Some(f) => self.mmu.mark_code(f, 1).map(|g| (f, g)),
            None => None,
        };
        let step = self.decode_step(linear)?;
        out.push(step, true);
        // Its rest outside RAM: stale at once, hence decoded anew each time.
        Ok(match rest {
            Some(r) => (generation, Some(r)),
            None => (generation.wrapping_sub(1), Some((u64::MAX, 0))),
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
        Ok(match self.fetch_target(next)? {
            Target::Ram(p) => Some(p.frame()),
            Target::Bus(_) => None,
        })
    }

    /// Whether the rest of an instruction over the page's end still stands where it did.
    fn rest_is_same(&mut self, rest: Option<(u64, u32)>, linear: u64) -> Result<bool, Fault> {
        let now = self.rest_of_page(linear)?;
        Ok(rest.is_some_and(|(f, g)| now == Some(f) && self.mmu.ram().generation(f) == g))
    }

    /// Decodes at most `most` instructions from RIP on, which stand at `start`, up to an unconditional transfer, the page's end or the limit
    /// of CS; none if the first one crosses such an end. The lines are marked as code; tells the frame's generation then.
    fn decode_run(&mut self, start: GuestPhys, most: usize, out: &mut Scratch) -> u32 {
        const WINDOW: usize = MAX_STEPS * decode::MAX_LEN;
        // The limit of CS ends a run too; the step that crosses it faults when it is fetched by itself.
        let limit = if self.mode.is_64() {
            usize::MAX
        } else {
            (u64::from(self.segment(Seg::Cs).limit) - self.rip) as usize + 1
        };
        let mut bytes = [0; WINDOW];
        let room = limit
            .min(PAGE_SIZE as usize - start.offset())
            .min(most * decode::MAX_LEN)
            .min(WINDOW);
        loop {
            out.clear();
            let _ = self.mmu.ram().read(start, &mut bytes[..room]);
            let mut stream = decode::Stream::new(&bytes[..room], self.mode);
            let mut len = 0;
            while out.insns.len() < most && len < room {
                let insn = match stream.next() {
                    Ok(i) => i,
                    Err(Undecodable::Invalid) => {
                        out.push(undefined(invalid()), false);
                        len += 1;
                        break;
                    }
                    // Too long, or over an end: by itself, next time.
                    Err(Undecodable::Short) => break,
                };
                len = stream.position();
                let (step, exists) = self.bind(insn);
                out.push(step, exists);
                if ends_block(&insn) {
                    break;
                }
            }
            let lines = memory::lines(start.offset(), len);
            let generation = self.mmu.mark_code(start.frame(), lines).unwrap_or(0);
            // Somebody may have written between the read and the mark.
            if self.mmu.ram().holds(start, &bytes[..len]) {
                return generation;
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
                Ok(i) => return Ok(self.bind(i).0),
                Err(Undecodable::Invalid) => return Ok(undefined(invalid())),
                Err(Undecodable::Short) => {}
            }
        }
        Err(Fault::with_code(Exception::GP, 0))
    }

    /// The instruction with its body, and whether the table has it and the CPU model shows it.
    fn bind(&self, insn: Insn) -> (Step, bool) {
        match ROWS.get(insn.code as usize) {
            Some(&Some((body, needs))) if self.model.features.covers(needs) => {
                (Step { body, insn }, true)
            }
            _ => (undefined(insn), false),
        }
    }
}

fn undefined(insn: Insn) -> Step {
    Step {
        body: not_there,
        insn,
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
