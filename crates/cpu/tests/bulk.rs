//! REP MOVS and REP STOS in bulk against the same instruction one iteration at a time, which an armed data breakpoint enforces.

mod common;

use arch::{GuestPhys, Size};
use common::{CODE, machine};
use cpu::Cpu;
use iced_x86::code_asm::*;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What a run leaves: registers, steps, memory.
#[derive(PartialEq)]
struct Outcome {
    gpr: [u64; 16],
    memory: Vec<u8>,
}

const MEMORY: u64 = 0x2_0000;
const BYTES: usize = 0x2_0000;

fn outcome(size: Size, code: &[u8], gpr: [u64; 16], single: bool) -> (Outcome, u32) {
    let mut cpu: Box<Cpu> = machine(size, code);
    let fill: Vec<u8> = (0..BYTES).map(|n| (n * 7 + n / 251) as u8).collect();
    cpu.mmu.ram().write(GuestPhys(MEMORY), &fill).unwrap();
    let (stack, start) = (cpu.gpr[4], cpu.rip);
    cpu.gpr = gpr;
    cpu.gpr[4] = stack;
    if single {
        // Far from everything: it only takes the fast path away.
        cpu.dr[0] = 0x30_0000;
        cpu.dr[7] = 0x3_0401;
        cpu.update_mode();
    }
    let mut steps = 0;
    while cpu.rip == start {
        cpu.step().unwrap();
        steps += 1;
    }
    let mut memory = vec![0; BYTES];
    cpu.mmu.ram().read(GuestPhys(MEMORY), &mut memory).unwrap();
    (
        Outcome {
            gpr: cpu.gpr,
            memory,
        },
        steps,
    )
}

#[test]
fn bulk_is_the_loop() {
    let mut r = Random(1);
    let mut saved = 0;
    for n in 0..400 {
        let size = [Size::B32, Size::B64][r.below(2) as usize];
        let mut a = CodeAssembler::new(size.bits()).unwrap();
        let wide = size == Size::B64;
        match r.below(if wide { 8 } else { 6 }) {
            0 => a.rep().movsb(),
            1 => a.rep().movsw(),
            2 => a.rep().movsd(),
            3 => a.rep().stosb(),
            4 => a.rep().stosw(),
            5 => a.rep().stosd(),
            6 => a.rep().movsq(),
            _ => a.rep().stosq(),
        }
        .unwrap();
        let code = a.assemble(CODE).unwrap();
        let mut gpr = [0; 16];
        gpr[0] = if r.below(2) == 0 {
            r.next()
        } else {
            0x5555_5555_5555_5555
        };
        let most = [8, 300, 5000][r.below(3) as usize];
        gpr[1] = r.below(most);
        gpr[6] = MEMORY + 0x8000 + r.below(0x2000);
        // Often close by: overlaps of every kind.
        gpr[7] = match r.below(3) {
            0 => gpr[6].wrapping_add(r.below(200)).wrapping_sub(100),
            1 => gpr[6] + r.below(0x3000),
            _ => MEMORY + 0x8000 + r.below(0x4000),
        };
        if !wide {
            gpr[0] &= 0xffff_ffff;
        }
        let (bulk, few) = outcome(size, &code, gpr, false);
        let (single, many) = outcome(size, &code, gpr, true);
        assert!(bulk == single, "case {n}: {code:x?} {gpr:x?}");
        saved += many - few;
    }
    assert!(saved > 100_000, "only {saved} iterations were done in bulk");
}

#[test]
fn sixteen_bit_registers_wrap() {
    // SI and DI wrap at 64 KiB: bulk must not run over.
    for single in [false, true] {
        let mut a = CodeAssembler::new(16).unwrap();
        a.rep().movsb().unwrap();
        let code = a.assemble(0).unwrap();
        let mut gpr = [0; 16];
        (gpr[1], gpr[6], gpr[7]) = (0xabcd_0100, 0xffff_ff80, 0x1234_4000);
        let (o, _) = outcome(Size::B16, &code, gpr, single);
        assert_eq!(
            (o.gpr[1], o.gpr[6], o.gpr[7]),
            (0xabcd_0000, 0xffff_0080, 0x1234_4100)
        );
    }
}
