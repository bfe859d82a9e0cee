//! Random blocks of x87 instructions, with some MMX and integer ones between: the translator, with the host's x87 and without, against the
//! evaluator. Single instructions are `cargo xtask insn-diff`'s business; here it is what a block knows of the stack.
#![cfg(target_arch = "x86_64")]

#[path = "../../cpu/tests/common/mod.rs"]
mod common;

use arch::{Cr0, GuestPhys, Mode, Size};
use common::{CODE, machine};
use cpu::Cpu;
use engine::{Engine, Options};
use softfloat::F80;

/// Where the memory operands stand.
const DATA: u64 = 0x2_0000;
const BYTES: usize = 0x100;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Instructions that are not D8 to DF.
const OTHERS: &[&[u8]] = &[
    &[0x9b],
    &[0xdf, 0xe0],
    &[0x9e],
    &[0x48, 0x01, 0xc8],
    &[0x75, 0x00],
    &[0x0f, 0x6e, 0xc8],
    &[0x0f, 0xfc, 0xc1],
    &[0x0f, 0x77],
    &[0x0f, 0x58, 0xc1],
];

fn instruction(rng: &mut Rng) -> Vec<u8> {
    if rng.below(8) == 0 {
        return OTHERS[rng.below(OTHERS.len() as u64) as usize].to_vec();
    }
    let (op, digit) = (0xd8 + rng.below(8) as u8, rng.below(8) as u8);
    if rng.below(3) == 0 {
        // [RBX + disp8]; a block that saves or loads the whole state is rare.
        let state = matches!((op, digit), (0xd9 | 0xdd, 4 | 6));
        if !state || rng.below(8) == 0 {
            return vec![op, 0x43 | digit << 3, rng.below(0x70) as u8];
        }
    }
    vec![op, 0xc0 | digit << 3 | rng.below(4) as u8]
}

fn block(rng: &mut Rng) -> Vec<u8> {
    let mode = Mode::new(Size::B64, 0, Mode::PROTECTED | Mode::LONG | Mode::FLAT);
    let mut code = Vec::new();
    let n = 4 + rng.below(28);
    while (code.len() as u64) < 2 * n {
        let i = instruction(rng);
        let exists =
            decode::decode(&i, mode).is_ok_and(|d| semantics::table::row::<Cpu>(d.code).is_some());
        if exists {
            code.extend(i);
        }
    }
    // UD2 ends it.
    code.extend([0x0f, 0x0b]);
    code
}

fn number(rng: &mut Rng) -> F80 {
    let sign = (rng.next() as u16) & 0x8000;
    match rng.below(8) {
        0 => F80::new(sign, 0),
        1 => F80::new(sign | 0x7fff, F80::INTEGER),
        2 => F80::new(sign | (rng.below(0x8000) as u16), rng.next()),
        3 => F80::new(sign, rng.next() >> 8),
        _ => F80::new(
            sign | (0x3fe0 + rng.below(64) as u16),
            rng.next() | F80::INTEGER,
        ),
    }
}

struct Case {
    code: Vec<u8>,
    data: Vec<u8>,
    fcw: u16,
    status: u16,
    valid: u8,
    registers: [F80; 8],
}

impl Case {
    fn new(rng: &mut Rng) -> Self {
        let masks = if rng.below(6) == 0 {
            rng.next() as u16 & 0x3f
        } else {
            0x3f
        };
        let data = (0..BYTES / 8).flat_map(|_| match rng.below(3) {
            0 => rng.next().to_le_bytes(),
            1 => (rng.below(1000) as f64 / 7.0).to_bits().to_le_bytes(),
            _ => (rng.below(100) | 0x37f << 32).to_le_bytes(),
        });
        let data = data.collect();
        Self {
            data,
            code: block(rng),
            fcw: rng.next() as u16 & 0xf00 | 0x40 | masks,
            status: rng.next() as u16 & 0x7f3f & if masks == 0x3f { 0x7f3f } else { 0x7f00 },
            valid: rng.next() as u8 | rng.next() as u8,
            registers: std::array::from_fn(|_| number(rng)),
        }
    }

    fn prepare(&self, cpu: &mut Cpu) {
        cpu.mmu.ram().write(GuestPhys(CODE), &self.code).unwrap();
        cpu.mmu.ram().write(GuestPhys(DATA), &self.data).unwrap();
        cpu.rip = CODE;
        cpu.gpr = [0; 16];
        (cpu.gpr[0], cpu.gpr[1], cpu.gpr[3]) = (1, 2, DATA);
        cpu.set_rflags(2);
        cpu.mmu.paging.cr0 |= Cr0::NE | Cr0::MP;
        cpu.fpu = cpu::state::Fpu::new();
        cpu.fpu.fcw = self.fcw;
        cpu.fpu.set_status(self.status);
        cpu.fpu.set_valid(self.valid);
        cpu.fpu.r = self.registers;
        cpu.update_mode();
    }

    /// Runs until a fault, and tells all that can be seen then.
    fn run(
        &self,
        cpu: &mut Cpu,
        mut step: impl FnMut(&mut Cpu) -> Result<(), arch::Fault>,
    ) -> String {
        self.prepare(cpu);
        let fault = (0..200).find_map(|_| step(cpu).err());
        let mut data = vec![0; BYTES];
        cpu.mmu.ram().read(GuestPhys(DATA), &mut data).unwrap();
        let (flags, f) = (cpu.rflags(), &cpu.fpu);
        format!(
            "{fault:?}\nrip {:x} gpr {:x?} flags {flags:x}\nfcw {:x} fsw {:x} valid {:x} last {:x?}\n{:x?}\n{:x?} {:x}\n{data:x?}",
            cpu.rip,
            cpu.gpr,
            f.fcw,
            f.status(),
            f.valid(),
            (f.fop, f.fcs, f.fip, f.fds, f.fdp),
            f.r,
            f.xmm,
            f.mxcsr,
        )
    }
}

#[test]
fn blocks_do_what_the_evaluator_does() {
    let mut evaluator = machine(Size::B64, &[]);
    let mut cpus: Vec<(Box<Cpu>, Engine)> = [true, false]
        .map(|x87| {
            let options = Options {
                x87,
                ..Options::default()
            };
            (machine(Size::B64, &[]), Engine::new(options).unwrap())
        })
        .into();
    let cases = std::env::var("FERRY_X87_BLOCKS").map_or(4000, |n| n.parse().unwrap());
    for seed in 0..cases {
        let case = Case::new(&mut Rng(seed));
        let wanted = case.run(&mut evaluator, Cpu::step);
        for (cpu, engine) in &mut cpus {
            let got = case.run(cpu, |cpu| engine.step(cpu));
            assert_eq!(wanted, got, "seed {seed}, code {:02x?}", case.code);
        }
    }
}
