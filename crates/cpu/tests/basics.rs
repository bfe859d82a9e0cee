//! The first instructions through the whole path: bytes, decoder, table, body, evaluator.

mod common;

use arch::{Exception, Fault, Size};
use common::run;
use iced_x86::code_asm::*;

#[test]
fn a_loop_adds_up() {
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            let mut top = a.create_label();
            a.mov(ecx, 10)?;
            a.xor(eax, eax)?;
            a.set_label(&mut top)?;
            a.add(rax, rcx)?;
            a.push(rax)?;
            a.pop(rdx)?;
            a.dec(ecx)?;
            a.jne(top)
        },
        |_| {},
    );
    assert_eq!(fault, None);
    assert_eq!((cpu.gpr[0], cpu.gpr[2], cpu.gpr[1]), (55, 55, 0));
}

#[test]
fn flags_of_sub_and_adc() {
    let (mut cpu, _) = run(
        Size::B32,
        |a| {
            a.mov(eax, 1)?;
            a.sub(eax, 2)?;
            a.adc(eax, 0)
        },
        |_| {},
    );
    assert_eq!(cpu.gpr[0], 0);
    // -1 + 0 + 1: carry out, zero, parity, auxiliary carry.
    assert_eq!(cpu.rflags() & 0x8d5, 0x55);
}

#[test]
fn a_missing_page_faults_with_cr2_and_restarts() {
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            a.mov(rbx, 0x4000_0123u64)?;
            a.add(dword_ptr(rbx), 5)
        },
        |_| {},
    );
    assert_eq!(fault, Some(Fault::with_code(Exception::PF, 2)));
    assert_eq!(cpu.cr2, 0x4000_0123);
}

#[test]
fn code_that_rewrites_itself_is_seen() {
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            let mut patch = a.create_label();
            a.lea(rbx, dword_ptr(patch))?;
            a.mov(byte_ptr(rbx + 1), 7)?;
            a.set_label(&mut patch)?;
            a.mov(eax, 1)
        },
        |_| {},
    );
    assert_eq!(fault, None);
    assert_eq!(cpu.gpr[0], 7);
}

#[test]
fn real_mode_wraps_and_checks_limits() {
    let (_, fault) = run(
        Size::B16,
        |a| {
            a.mov(bx, 0xffff)?;
            a.mov(ax, word_ptr(bx))
        },
        |_| {},
    );
    assert_eq!(fault, Some(Fault::new(Exception::GP)));
}
