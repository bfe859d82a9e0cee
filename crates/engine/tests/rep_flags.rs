//! REP CMPS and SCAS with a count of zero leave the flags of the instruction before them (Vol. 2A, REP): the translator may not take these for
//! dead.
#![cfg(target_arch = "x86_64")]

#[path = "../../cpu/tests/common/mod.rs"]
mod common;

use arch::Size;
use common::{CODE, machine};
use cpu::Cpu;
use engine::{Engine, Options};

/// CMP EAX, EBX; a string instruction; LAHF.
fn ah(string: [u8; 2], count: u64, step: impl Fn(&mut Cpu)) -> u64 {
    let mut code = vec![0x39, 0xd8];
    code.extend(string);
    code.push(0x9f);
    let mut cpu = machine(Size::B64, &code);
    (cpu.gpr[0], cpu.gpr[3], cpu.gpr[1]) = (1, 2, count);
    (cpu.gpr[6], cpu.gpr[7]) = (0x2_0000, 0x2_0000);
    while cpu.rip < CODE + code.len() as u64 {
        step(&mut cpu);
    }
    cpu.gpr[0] >> 8 & 0xff
}

#[test]
fn a_count_of_zero_leaves_the_flags_before() {
    for string in [[0xf3, 0xa6], [0xf2, 0xa6], [0xf3, 0xae], [0xf2, 0xae]] {
        for count in [0, 1, 3] {
            let wanted = ah(string, count, |cpu| cpu.step().unwrap());
            let engine = std::cell::RefCell::new(Engine::new(Options::default()).unwrap());
            let got = ah(string, count, |cpu| engine.borrow_mut().step(cpu).unwrap());
            assert_eq!(got, wanted, "{string:02x?}, count {count}");
            if count == 0 {
                // 1 - 2: sign, auxiliary carry, parity, carry.
                assert_eq!(wanted, 0x97, "{string:02x?}");
            }
        }
    }
}
