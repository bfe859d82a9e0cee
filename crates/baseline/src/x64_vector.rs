//! The x86-64 host's vector words: each [`VecOp`] that has an SSE instruction, and floating point on the host's own unit.
//!
//! Generated code runs with the guest's rounding mode, FTZ and DAZ in the host's MXCSR and all exceptions masked; the sticky flags that
//! gather there are the guest's.

use crate::block::FpCall;
use crate::host::Reg;
use crate::x64::{Regs, X64};
use cranelift_assembler_x64::inst;
use semantics::fp::{FpFormat, FpOp, Relation, ToInt};
use semantics::vector::VecOp;

macro_rules! put {
    ($x:ident, $name:ident($($arg:expr),*)) => {
        $x.emit(inst::$name::<Regs>::new($($arg),*).into())
    };
}

/// `d ← a op b` with one instruction; `false` if there is none, and nothing was written. `d` is neither `a` nor `b`.
pub fn vector(x: &mut X64, op: VecOp, d: Reg, a: Reg, b: Reg) -> bool {
    use VecOp as V;
    let at_start = x.mark();
    put!(x, movaps_a(d, a));
    macro_rules! binary {
        ($($op:ident $inst:ident;)*) => {
            match op {
                $(V::$op => put!(x, $inst(d, b)),)*
                V::PsllwImm(n) => put!(x, psllw_b(d, n)),
                V::PslldImm(n) => put!(x, pslld_b(d, n)),
                V::PsllqImm(n) => put!(x, psllq_b(d, n)),
                V::PsrlwImm(n) => put!(x, psrlw_b(d, n)),
                V::PsrldImm(n) => put!(x, psrld_b(d, n)),
                V::PsrlqImm(n) => put!(x, psrlq_b(d, n)),
                V::PsrawImm(n) => put!(x, psraw_b(d, n)),
                V::PsradImm(n) => put!(x, psrad_b(d, n)),
                V::Pshufd(n) => put!(x, pshufd_a(d, b, n)),
                V::Pshuflw(n) => put!(x, pshuflw_a(d, b, n)),
                V::Pshufhw(n) => put!(x, pshufhw_a(d, b, n)),
                V::Shufps(n) => put!(x, shufps_a(d, b, n)),
                V::Shufpd(n) => put!(x, shufpd_a(d, b, n)),
                V::Palignr(n) => put!(x, palignr_a(d, b, n)),
                V::Pblendw(n) => put!(x, pblendw_rmi(d, b, n)),
                _ => {
                    x.back_to(at_start);
                    return false;
                }
            }
        };
    }
    binary! {
        And pand_a; AndNot pandn_a; Or por_a; Xor pxor_a;
        Paddb paddb_a; Paddw paddw_a; Paddd paddd_a; Paddq paddq_a;
        Psubb psubb_a; Psubw psubw_a; Psubd psubd_a; Psubq psubq_a;
        Paddsb paddsb_a; Paddsw paddsw_a; Paddusb paddusb_a; Paddusw paddusw_a;
        Psubsb psubsb_a; Psubsw psubsw_a; Psubusb psubusb_a; Psubusw psubusw_a;
        Pavgb pavgb_a; Pavgw pavgw_a;
        Pminub pminub_a; Pminuw pminuw_a; Pminud pminud_a;
        Pminsb pminsb_a; Pminsw pminsw_a; Pminsd pminsd_a;
        Pmaxub pmaxub_a; Pmaxuw pmaxuw_a; Pmaxud pmaxud_a;
        Pmaxsb pmaxsb_a; Pmaxsw pmaxsw_a; Pmaxsd pmaxsd_a;
        Pabsb pabsb_a; Pabsw pabsw_a; Pabsd pabsd_a;
        Pmullw pmullw_a; Pmulld pmulld_a; Pmulhw pmulhw_a; Pmulhuw pmulhuw_a; Pmulhrsw pmulhrsw_a;
        Pmuludq pmuludq_a; Pmuldq pmuldq_a; Pmaddwd pmaddwd_a; Pmaddubsw pmaddubsw_a;
        Pcmpeqb pcmpeqb_a; Pcmpeqw pcmpeqw_a; Pcmpeqd pcmpeqd_a; Pcmpeqq pcmpeqq_a;
        Pcmpgtb pcmpgtb_a; Pcmpgtw pcmpgtw_a; Pcmpgtd pcmpgtd_a; Pcmpgtq pcmpgtq_a;
        Phaddw phaddw_a; Phaddd phaddd_a;
        Psllw psllw_a; Pslld pslld_a; Psllq psllq_a;
        Psrlw psrlw_a; Psrld psrld_a; Psrlq psrlq_a; Psraw psraw_a; Psrad psrad_a;
        Packsswb packsswb_a; Packssdw packssdw_a; Packuswb packuswb_a; Packusdw packusdw_a;
        Punpcklbw punpcklbw_a; Punpcklwd punpcklwd_a; Punpckldq punpckldq_a; Punpcklqdq punpcklqdq_a;
        Punpckhbw punpckhbw_a; Punpckhwd punpckhwd_a; Punpckhdq punpckhdq_a; Punpckhqdq punpckhqdq_a;
        Pmovsxbw pmovsxbw_a; Pmovsxbd pmovsxbd_a; Pmovsxbq pmovsxbq_a;
        Pmovsxwd pmovsxwd_a; Pmovsxwq pmovsxwq_a; Pmovsxdq pmovsxdq_a;
        Pmovzxbw pmovzxbw_a; Pmovzxbd pmovzxbd_a; Pmovzxbq pmovzxbq_a;
        Pmovzxwd pmovzxwd_a; Pmovzxwq pmovzxwq_a; Pmovzxdq pmovzxdq_a;
        Pshufb pshufb_a;
    }
    true
}

/// A floating-point word on the host's unit; the answer of a compare is in `scratch`: ZF, PF and CF where EFLAGS has them. `false` if it is left to the
/// processor's own code.
pub fn fp(x: &mut X64, call: FpCall, d: Reg, a: Reg, b: Reg, scratch: Reg) -> bool {
    let (op, format, lanes) = match call {
        FpCall::Compute(op, format, lanes) => (op, format, lanes),
        FpCall::Compare(relation, format) => {
            compare(x, relation, format, a, b, scratch);
            return true;
        }
        FpCall::Strings(_) | FpCall::X87(..) => return false,
    };
    let double = format == FpFormat::Double;
    let scalar = lanes == 1;
    let full = lanes == if double { 2 } else { 4 };
    if !scalar && !full {
        return false;
    }
    let at_start = x.mark();
    put!(x, movaps_a(d, a));
    macro_rules! arithmetic {
        ($ss:ident $sd:ident $ps:ident $pd:ident) => {
            match (scalar, double) {
                (true, false) => put!(x, $ss(d, b)),
                (true, true) => put!(x, $sd(d, b)),
                (false, false) => put!(x, $ps(d, b)),
                (false, true) => put!(x, $pd(d, b)),
            }
        };
    }
    match op {
        FpOp::Add => arithmetic!(addss_a addsd_a addps_a addpd_a),
        FpOp::Sub => arithmetic!(subss_a subsd_a subps_a subpd_a),
        FpOp::Mul => arithmetic!(mulss_a mulsd_a mulps_a mulpd_a),
        FpOp::Div => arithmetic!(divss_a divsd_a divps_a divpd_a),
        FpOp::Min => arithmetic!(minss_a minsd_a minps_a minpd_a),
        FpOp::Max => arithmetic!(maxss_a maxsd_a maxps_a maxpd_a),
        FpOp::Sqrt => arithmetic!(sqrtss_a sqrtsd_a sqrtps_a sqrtpd_a),
        FpOp::Cmp(p) => match (scalar, double) {
            (true, false) => put!(x, cmpss_a(d, b, p & 7)),
            (true, true) => put!(x, cmpsd_a(d, b, p & 7)),
            (false, false) => put!(x, cmpps_a(d, b, p & 7)),
            (false, true) => put!(x, cmppd_a(d, b, p & 7)),
        },
        FpOp::Round(imm) => match (scalar, double) {
            (true, false) => put!(x, roundss_rmi(d, b, imm)),
            (true, true) => put!(x, roundsd_rmi(d, b, imm)),
            (false, false) => put!(x, roundps_rmi(d, b, imm)),
            (false, true) => put!(x, roundpd_rmi(d, b, imm)),
        },
        FpOp::ToSingle if scalar => put!(x, cvtsd2ss_a(d, b)),
        FpOp::ToDouble if scalar => put!(x, cvtss2sd_a(d, b)),
        FpOp::ToInt32(how) | FpOp::ToInt64(how) if scalar => {
            let wide = matches!(op, FpOp::ToInt64(_));
            let truncate = how == ToInt::Truncate;
            match (double, truncate, wide) {
                (false, true, false) => put!(x, cvttss2si_a(scratch, b)),
                (false, true, true) => put!(x, cvttss2si_aq(scratch, b)),
                (false, false, false) => put!(x, cvtss2si_a(scratch, b)),
                (false, false, true) => put!(x, cvtss2si_aq(scratch, b)),
                (true, true, false) => put!(x, cvttsd2si_a(scratch, b)),
                (true, true, true) => put!(x, cvttsd2si_aq(scratch, b)),
                (true, false, false) => put!(x, cvtsd2si_a(scratch, b)),
                (true, false, true) => put!(x, cvtsd2si_aq(scratch, b)),
            }
            if wide {
                put!(x, pinsrq_a(d, scratch, 0u8));
            } else {
                put!(x, pinsrd_a(d, scratch, 0u8));
            }
            return true;
        }
        FpOp::FromInt32 if scalar => {
            put!(x, movd_b(scratch, b));
            if double {
                put!(x, cvtsi2sdl_a(d, scratch));
            } else {
                put!(x, cvtsi2ssl_a(d, scratch));
            }
        }
        FpOp::FromInt64 if scalar => {
            put!(x, movq_b(scratch, b));
            if double {
                put!(x, cvtsi2sdq_a(d, scratch));
            } else {
                put!(x, cvtsi2ssq_a(d, scratch));
            }
        }
        FpOp::FromInt32 if full && !double => put!(x, cvtdq2ps_a(d, b)),
        FpOp::ToInt32(ToInt::Truncate) if full && !double => put!(x, cvttps2dq_a(d, b)),
        _ => {
            x.back_to(at_start);
            return false;
        }
    }
    true
}

fn compare(x: &mut X64, relation: Relation, format: FpFormat, a: Reg, b: Reg, scratch: Reg) {
    let double = format == FpFormat::Double;
    match relation {
        Relation::Quiet if double => put!(x, ucomisd_a(a, b)),
        Relation::Quiet => put!(x, ucomiss_a(a, b)),
        // COMISx: Cranelift has no use for it.
        Relation::Signaling => x.comis(double, a, b),
    }
    x.flags_to(scratch);
}
