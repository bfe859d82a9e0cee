//! The Cranelift IR of representative loops, kept in `snapshots/`: a change of the lifter shows what it changes. `cargo insta review`, or
//! `INSTA_UPDATE=always` in the environment, takes changes over.

use arch::{Mode, PAGE_SIZE, Size};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use translate::{Compiler, Host, Options};

/// The text of the region at the start of `code`, and that it compiles.
fn text(write: fn(&mut CodeAssembler) -> Result<(), IcedError>) -> String {
    let mut a = CodeAssembler::new(64).expect("64 bits");
    write(&mut a).expect("operands that exist");
    let code = a.assemble(0).expect("code");
    let mut page = vec![0xcc; PAGE_SIZE as usize];
    page[..code.len()].copy_from_slice(&code);
    let options = Options {
        text: true,
        verifier: true,
        ..Options::default()
    };
    let host = Host::new(&options).expect("a host that Cranelift knows");
    let mut compiler = Compiler::new(host, options);
    let mode = Mode::new(
        Size::B64,
        3,
        Mode::FLAT | Mode::LONG | Mode::PROTECTED | Mode::OSFXSR | Mode::FP_MASKED,
    );
    let plan = compiler
        .plan(&page, mode, 0, |_| true, |_| true)
        .expect("a loop");
    let compiled = compiler
        .compile(plan)
        .expect("IR that Cranelift takes")
        .expect("instructions that lift");
    assert!(!compiled.code.is_empty() && !compiled.jumps.is_empty());
    compiled.text.expect("asked for")
}

macro_rules! golden {
    ($($name:ident: |$a:ident| { $($s:expr;)+ })*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), text(|$a| { $($s;)+ Ok(()) }));
        }
    )*};
}

golden! {
    counts_down: |a| {
        { let mut top = a.create_label(); a.set_label(&mut top)?; a.add(eax, ecx)?; a.dec(ecx)?; a.jnz(top)?; };
        a.int3()?;
    }
    sums_an_array: |a| {
        { let mut top = a.create_label(); a.set_label(&mut top)?; a.add(rax, qword_ptr(rdi + rcx * 8))?; a.inc(rcx)?; a.cmp(rcx, rdx)?; a.jb(top)?; };
        a.int3()?;
    }
    copies_bytes: |a| {
        { let mut top = a.create_label(); a.set_label(&mut top)?; a.mov(al, byte_ptr(rsi))?; a.mov(byte_ptr(rdi), al)?; a.inc(rsi)?; a.inc(rdi)?; a.test(al, al)?; a.jnz(top)?; };
        a.int3()?;
    }
    adds_with_carry: |a| {
        { let mut top = a.create_label(); a.set_label(&mut top)?; a.mov(rax, qword_ptr(rsi + rcx * 8))?; a.adc(qword_ptr(rdi + rcx * 8), rax)?; a.lea(rcx, qword_ptr(rcx + 1))?; a.dec(edx)?; a.jnz(top)?; };
        a.int3()?;
    }
    adds_vectors: |a| {
        { let mut top = a.create_label(); a.set_label(&mut top)?; a.movdqu(xmm1, xmmword_ptr(rsi))?; a.paddd(xmm0, xmm1)?; a.add(rsi, 16)?; a.cmp(rsi, rdi)?; a.jne(top)?; };
        a.int3()?;
    }
}
