//! The oracle against what the SDM says of a few plain instructions.

use super::{Lost, Native};
use crate::case::*;

fn case(bits: Bits, code: &[u8]) -> Case {
    let mut fx = [0; 512];
    fx[..2].copy_from_slice(&0x37fu16.to_le_bytes());
    fx[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    let ds = if bits == Bits::B64 { 0 } else { USER_DS };
    let state = State {
        gpr: [0; 16],
        rip: CODE + 0x100 - bits.cs_base(),
        rflags: 0x202,
        seg: [ds, bits.cs(), USER_DS, ds, 0, 0],
        fx,
    };
    let mut case = Case {
        seed: 0,
        index: 0,
        bits,
        code: code.to_vec(),
        state,
        mem: Vec::new(),
    };
    case.state.gpr[4] = STACK + 0x1000;
    case
}

/// Run `cases`, or nothing on a host without the oracle.
fn run(cases: &[Case]) -> Vec<Result<Outcome, Lost>> {
    match Native::new() {
        Ok(mut native) => native.run(cases),
        Err(why) => {
            println!("skipped: {why}");
            Vec::new()
        }
    }
}

#[test]
fn plain_instructions_do_what_the_manual_says() {
    let mut add = case(Bits::B64, &[0x48, 0x01, 0xd8]); // add rax, rbx
    (add.state.gpr[0], add.state.gpr[3]) = (u64::MAX, 1);
    let mut store = case(Bits::B64, &[0x48, 0x89, 0x07]); // mov [rdi], rax
    (store.state.gpr[0], store.state.gpr[7]) = (0x1122_3344_5566_7788, DATA + 8);
    let mut edge = store.clone();
    edge.state.gpr[7] = DATA + 0x2000 - 4;
    let mut readonly = store.clone();
    readonly.state.gpr[7] = READ_ONLY;
    let mut pusha = case(Bits::B32, &[0x60]);
    pusha.state.gpr[0] = 0x1234;
    let ud2 = case(Bits::B64, &[0x0f, 0x0b]);
    let div = case(Bits::B32, &[0xf7, 0xf0]);
    let wide = case(Bits::B16, &[0x66, 0xb8, 1, 2, 3, 4]); // mov eax, 04030201
    let far = case(Bits::B32, &[0xe9, 0, 0, 0, 0x20]); // jmp to unmapped memory
    let movfs = case(Bits::B64, &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0]); // mov rax, fs:[0]
    let mut addps = case(Bits::B64, &[0x0f, 0x58, 0xc1]);
    addps.state.fx[160..164].copy_from_slice(&1.5f32.to_le_bytes());
    addps.state.fx[176..180].copy_from_slice(&2.0f32.to_le_bytes());
    let clobber = case(Bits::B64, &[0x48, 0x31, 0xe4]); // xor rsp, rsp
    let cases = [
        add, store, edge, readonly, pusha, ud2, div, wide, far, movfs, addps, clobber,
    ];
    let out = run(&cases);
    let Ok(out) = out.into_iter().collect::<Result<Vec<_>, _>>() else {
        panic!("a plain instruction was lost")
    };
    let [
        add,
        store,
        edge,
        readonly,
        pusha,
        ud2,
        div,
        wide,
        far,
        movfs,
        addps,
        clobber,
    ] = out.as_slice()
    else {
        return;
    };
    assert_eq!(
        (add.state.gpr[0], add.state.rflags & 0x8d5, add.fault),
        (0, 0x55, None)
    );
    assert_eq!(add.state.rip, CODE + 0x103);
    assert_eq!(
        store.mem[0].bytes[8..16],
        0x1122_3344_5566_7788u64.to_le_bytes()
    );
    assert_eq!(
        edge.fault,
        Some(Fault {
            vector: 14,
            error: 6,
            cr2: DATA + 0x2000
        })
    );
    assert!(edge.mem.is_empty());
    assert_eq!(
        readonly.fault,
        Some(Fault {
            vector: 14,
            error: 7,
            cr2: READ_ONLY
        })
    );
    assert_eq!(pusha.state.gpr[4], STACK + 0x1000 - 32);
    assert_eq!(pusha.mem[0].bytes[60..], 0x1234u32.to_le_bytes());
    assert_eq!(ud2.fault.map(|f| f.vector), Some(6));
    assert_eq!(div.fault.map(|f| f.vector), Some(0));
    assert_eq!(
        (wide.state.gpr[0], wide.state.rip, wide.state.seg[sreg::CS]),
        (0x0403_0201, 0x106, CS16)
    );
    assert_eq!(
        (far.state.rip, far.fault),
        (CODE + 0x105 + 0x2000_0000, None)
    );
    let fs: u64 = u64::from_le_bytes(std::array::from_fn(|i| pattern(FS_BASE + i as u64)));
    assert_eq!((movfs.state.gpr[0], movfs.fault), (fs, None));
    assert_eq!(addps.state.xmm(0) as u32, 3.5f32.to_bits());
    assert_eq!((clobber.state.gpr[4], clobber.fault), (0, None));
}

#[test]
fn a_hang_is_named_and_the_rest_runs() {
    let nop = case(Bits::B64, &[0x90]);
    let hang = case(Bits::B64, &[0xeb, 0xfe]);
    let out = run(&[nop.clone(), hang, nop]);
    if let [a, b, c] = out.as_slice() {
        assert!(a.is_ok() && c.is_ok());
        assert_eq!(b, &Err(Lost::Hang));
    }
}

#[test]
fn a_case_leaves_no_trace_in_the_next() {
    let mut store = case(Bits::B64, &[0x48, 0x89, 0x07]);
    store.state.gpr[7] = DATA;
    store.mem.push(Patch {
        addr: DATA,
        bytes: vec![7; 64],
    });
    let mut load = case(Bits::B64, &[0x48, 0x8b, 0x07]);
    load.state.gpr[7] = DATA;
    let batch: Vec<Case> = (0..3000)
        .flat_map(|_| [store.clone(), load.clone()])
        .collect();
    let start = std::time::Instant::now();
    let out = run(&batch);
    println!(
        "{:.2} us a case",
        start.elapsed().as_secs_f64() * 1e6 / batch.len() as f64
    );
    let expect = u64::from_le_bytes(std::array::from_fn(|i| pattern(DATA + i as u64)));
    for pair in out.chunks(2) {
        assert_eq!(pair[1].as_ref().map(|o| o.state.gpr[0]), Ok(expect));
    }
}
