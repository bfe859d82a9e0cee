//! A loop of guest code in one engine, for benches: the block counts RCX down and falls out at zero, onto HLT.

use super::world::{World, pristine};
use super::{Block, Item, Start};
use crate::case::{Bits, DATA, USER_DS};
use cpu::state::Fpu;
use engine::Engine;

/// Both engines with one loop.
pub struct Rounds {
    eval: World,
    jit: World,
    engine: Engine,
    start: Start,
}

/// Where the code stands.
const AT: u64 = 0x100;

impl Rounds {
    /// A guest with `code` of 64-bit user mode; RSI is the address of data, RCX the count of rounds.
    pub fn new(code: &[u8]) -> Result<Self, engine::Error> {
        let bytes = pristine();
        let block = Block {
            bits: Bits::B64,
            at: AT,
            items: vec![Item::Plain(code.to_vec())],
        };
        let mut gpr = [0; 16];
        gpr[6] = DATA;
        gpr[4] = DATA + 0x5000;
        let mut options = engine::Options::default();
        options.switch_off("no-warm-up");
        let mut rounds = Self {
            eval: World::new(bytes.clone()),
            jit: World::new(bytes),
            engine: Engine::new(options)?,
            start: Start {
                gpr,
                rflags: 0x202,
                seg: [0, Bits::B64.cs(), USER_DS, 0, 0, 0],
                fpu: Box::new(Fpu::new()),
            },
        };
        let code = block.assemble();
        rounds.eval.lay(AT, &code);
        rounds.jit.lay(AT, &code);
        Ok(rounds)
    }

    /// Runs in the translator; answers RAX.
    pub fn translated(&mut self, rounds: u32) -> u64 {
        self.start.gpr[1] = rounds.into();
        self.jit.load(&self.start, Bits::B64, AT);
        while self.engine.step(&mut self.jit.cpu).is_ok() {}
        self.jit.cpu.gpr[0]
    }

    /// Runs in the evaluator; answers RAX.
    pub fn evaluated(&mut self, rounds: u32) -> u64 {
        self.start.gpr[1] = rounds.into();
        self.eval.load(&self.start, Bits::B64, AT);
        self.eval.evaluate(u64::MAX);
        self.eval.cpu.gpr[0]
    }

    /// Empties the TLB of data pages.
    pub fn forget(&mut self) {
        self.eval.remap();
        self.jit.remap();
    }
}
