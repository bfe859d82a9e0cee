//! Cases that the SDM names, on any host; `tests/host` has the rest.

use super::VecOp;

#[test]
fn edges() {
    let ones = u128::MAX;
    let cases: &[(VecOp, u128, u128, u128)] = &[
        (VecOp::Paddsb, 0x7f, 0x01, 0x7f),
        (VecOp::Psubusw, 0x0001_0005, 0x0002_0003, 0x0000_0002),
        (VecOp::Pavgb, 0xff, 0xfe, 0xff),
        (VecOp::Pmaddwd, 0x8000_8000, 0x8000_8000, 0x8000_0000),
        (VecOp::Pmaddubsw, 0xffff, 0x7f7f, 0x7fff),
        (VecOp::Pmulhrsw, 0x8000, 0x8000, 0x8000),
        (VecOp::Pmuldq, 0xffff_ffff, 2, 0xffff_ffff_ffff_fffe),
        (VecOp::Pabsw, 0, 0x8000, 0x8000),
        (VecOp::Psignb, 0x80, 0xff, 0x80),
        (
            VecOp::Psadbw,
            0xff << 64 | 0x1005,
            0x0110,
            0xff << 64 | 0x1a,
        ),
        (VecOp::Phminposuw, 0, 7 << 16 | 5 << 32 | 9, 3 << 16),
        (VecOp::Psllw, ones, 16, 0),
        (VecOp::Psraw, 0x8000, 1 << 40, 0xffff),
        (VecOp::PsrldImm(4), 0xf0, 0, 0xf),
        (VecOp::Pslldq(16), ones, 0, 0),
        (VecOp::Psrldq(15), ones, 0, 0xff),
        (VecOp::Palignr(17), 0xabcd, ones, 0xab),
        (VecOp::Palignr(32), ones, ones, 0),
        (VecOp::Palignr(4), 0xab, 0, 0xab << 96),
        (VecOp::Pshufb, 0x0201, u128::MAX << 16 | 0x0180, 0x0200),
        (
            VecOp::Pshufd(0b00_01_10_11),
            0,
            3 << 96 | 2 << 64 | 1 << 32,
            1 << 64 | 2 << 32 | 3,
        ),
        (VecOp::Packuswb, 0xffff_0100, 0, 0x00ff),
        (VecOp::Insertps(0b01_10_0001), 0, 7 << 32, 7 << 64),
        (VecOp::Pmovmskb, 0, 0x80 << 120 | 0x80, 0x8001),
        (VecOp::Pcmpgtq, 0, ones, ones),
    ];
    for &(op, a, b, want) in cases {
        let got = op.eval(a, b);
        assert_eq!(got, want, "{op:?} {a:#x} {b:#x}: {got:#x}");
    }
}
