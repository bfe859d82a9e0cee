//! The evaluator as a [`RealMode`] processor.

use super::processor;
use crate::moo::REGISTERS;
use crate::vectors::{RealMode, reg};
use arch::{GuestPhys, Seg, Segment};
use cpu::Cpu;
use cpu::event::Event;
use memory::Ram;
use std::sync::Arc;

const RAM_BYTES: u64 = 0x100_0000;
/// A test is one instruction and HLT; REP takes a step an iteration.
const STEPS: u32 = 200_000;

/// The evaluator in real mode.
pub struct Real {
    cpu: Box<Cpu>,
    ram: Arc<Ram>,
    /// Addresses written by [`RealMode::load`].
    dirty: Vec<u32>,
    clean: Vec<u8>,
}

impl Default for Real {
    fn default() -> Self {
        Self::new()
    }
}

impl Real {
    /// A processor with 16 MiB.
    pub fn new() -> Self {
        let (cpu, ram) = processor(RAM_BYTES);
        Self {
            cpu,
            ram,
            dirty: Vec::new(),
            clean: vec![0; RAM_BYTES as usize],
        }
    }

    /// Forget all memory: after a test that may have written anywhere.
    pub fn scrub(&mut self) {
        let _ = self.ram.write(GuestPhys(0), &self.clean[..0xa_0000]);
        let _ = self
            .ram
            .write(GuestPhys(0x10_0000), &self.clean[0x10_0000..]);
    }
}

/// Registers of [`REGISTERS`] that are general, with their encodings.
const GPR: [(usize, usize); 8] = [
    (0, 0),
    (1, 3),
    (2, 1),
    (3, 2),
    (8, 4),
    (9, 5),
    (10, 6),
    (11, 7),
];
const SEG: [(usize, Seg); 4] = [(reg::CS, Seg::Cs), (5, Seg::Ss), (6, Seg::Ds), (7, Seg::Es)];

impl RealMode for Real {
    fn load(&mut self, regs: &[u16; 14], ram: &[(u32, u8)]) {
        for addr in self.dirty.drain(..) {
            let _ = self.ram.write(GuestPhys(addr.into()), &[0]);
        }
        for &(addr, value) in ram {
            let _ = self.ram.write(GuestPhys(addr.into()), &[value]);
            self.dirty.push(addr);
        }
        let cpu = &mut self.cpu;
        cpu.reset();
        // The vectors are of a machine that lets A20 and above through.
        for (from, to) in GPR {
            cpu.gpr[to] = regs[from].into();
        }
        for (from, to) in SEG {
            let attributes = if to == Seg::Cs {
                Segment::REAL_CODE
            } else {
                Segment::REAL_DATA
            };
            cpu.seg[to as usize] = Segment::real(regs[from], attributes);
        }
        cpu.idtr.base = 0;
        cpu.idtr.limit = 0x3ff;
        cpu.rip = regs[reg::IP].into();
        cpu.set_rflags(regs[reg::FLAGS].into());
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            if let Err(fault) = self.cpu.step() {
                self.cpu.deliver(Event::Exception(fault));
            }
            if self.cpu.halted {
                self.cpu.halted = false;
                return Ok(());
            }
        }
        Err("no HLT was reached".to_string())
    }

    fn regs(&self) -> [u16; 14] {
        let mut regs = [0; REGISTERS.len()];
        for (to, from) in GPR {
            regs[to] = self.cpu.gpr[from] as u16;
        }
        for (to, from) in SEG {
            regs[to] = self.cpu.seg[from as usize].selector;
        }
        regs[reg::IP] = self.cpu.rip as u16;
        regs
    }

    fn flags(&mut self) -> u16 {
        self.cpu.rflags() as u16
    }

    fn byte(&self, addr: u32) -> u8 {
        self.ram.load::<u8>(GuestPhys(addr.into())).unwrap_or(0xff)
    }
}
