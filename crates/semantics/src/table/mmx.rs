//! MMX and what SSE, SSE2 and SSSE3 add on MMX registers (Vol. 1, 5.4 and 5.5.3).

use crate::emit::{W32, W64};
use crate::mmx::{self, ready};
use crate::vector::VecOp;

rows! { before ready;
    Movd_mm_rm32 => lift mmx::from_gpr[W32];
    Movq_mm_rm64 => lift mmx::from_gpr[W64];
    Movq_mm_mmm64 => lift mmx::movq;
    Movd_rm32_mm => lift mmx::store[W32];
    Movq_rm64_mm Movq_mmm64_mm Movntq_m64_mm => lift mmx::store[W64];
    Maskmovq_rDI_mm_mm => lift mmx::maskmovq;
    Pinsrw_mm_r32m16_imm8 Pinsrw_mm_r64m16_imm8 => lift mmx::pinsrw;
    Pextrw_r32_mm_imm8 Pextrw_r64_mm_imm8 => lift mmx::pextrw;
    Pmovmskb_r32_mm Pmovmskb_r64_mm => lift mmx::pmovmskb;

    Packsswb_mm_mmm64 => lift mmx::joined(VecOp::Packsswb);
    Packssdw_mm_mmm64 => lift mmx::joined(VecOp::Packssdw);
    Packuswb_mm_mmm64 => lift mmx::joined(VecOp::Packuswb);
    Punpcklbw_mm_mmm32 => lift mmx::unpack_low(VecOp::Punpcklbw);
    Punpcklwd_mm_mmm32 => lift mmx::unpack_low(VecOp::Punpcklwd);
    Punpckldq_mm_mmm32 => lift mmx::unpack_low(VecOp::Punpckldq);
    Punpckhbw_mm_mmm64 => lift mmx::unpack_high(VecOp::Punpcklbw);
    Punpckhwd_mm_mmm64 => lift mmx::unpack_high(VecOp::Punpcklwd);
    Punpckhdq_mm_mmm64 => lift mmx::unpack_high(VecOp::Punpckldq);

    Pand_mm_mmm64 => lift mmx::packed(VecOp::And);
    Pandn_mm_mmm64 => lift mmx::packed(VecOp::AndNot);
    Por_mm_mmm64 => lift mmx::packed(VecOp::Or);
    Pxor_mm_mmm64 => lift mmx::packed(VecOp::Xor);
    Paddb_mm_mmm64 => lift mmx::packed(VecOp::Paddb);
    Paddw_mm_mmm64 => lift mmx::packed(VecOp::Paddw);
    Paddd_mm_mmm64 => lift mmx::packed(VecOp::Paddd);
    Paddq_mm_mmm64 => lift mmx::packed(VecOp::Paddq);
    Paddsb_mm_mmm64 => lift mmx::packed(VecOp::Paddsb);
    Paddsw_mm_mmm64 => lift mmx::packed(VecOp::Paddsw);
    Paddusb_mm_mmm64 => lift mmx::packed(VecOp::Paddusb);
    Paddusw_mm_mmm64 => lift mmx::packed(VecOp::Paddusw);
    Psubb_mm_mmm64 => lift mmx::packed(VecOp::Psubb);
    Psubw_mm_mmm64 => lift mmx::packed(VecOp::Psubw);
    Psubd_mm_mmm64 => lift mmx::packed(VecOp::Psubd);
    Psubq_mm_mmm64 => lift mmx::packed(VecOp::Psubq);
    Psubsb_mm_mmm64 => lift mmx::packed(VecOp::Psubsb);
    Psubsw_mm_mmm64 => lift mmx::packed(VecOp::Psubsw);
    Psubusb_mm_mmm64 => lift mmx::packed(VecOp::Psubusb);
    Psubusw_mm_mmm64 => lift mmx::packed(VecOp::Psubusw);
    Pmullw_mm_mmm64 => lift mmx::packed(VecOp::Pmullw);
    Pmulhw_mm_mmm64 => lift mmx::packed(VecOp::Pmulhw);
    Pmulhuw_mm_mmm64 => lift mmx::packed(VecOp::Pmulhuw);
    Pmuludq_mm_mmm64 => lift mmx::packed(VecOp::Pmuludq);
    Pmaddwd_mm_mmm64 => lift mmx::packed(VecOp::Pmaddwd);
    Psadbw_mm_mmm64 => lift mmx::packed(VecOp::Psadbw);
    Pavgb_mm_mmm64 => lift mmx::packed(VecOp::Pavgb);
    Pavgw_mm_mmm64 => lift mmx::packed(VecOp::Pavgw);
    Pminub_mm_mmm64 => lift mmx::packed(VecOp::Pminub);
    Pminsw_mm_mmm64 => lift mmx::packed(VecOp::Pminsw);
    Pmaxub_mm_mmm64 => lift mmx::packed(VecOp::Pmaxub);
    Pmaxsw_mm_mmm64 => lift mmx::packed(VecOp::Pmaxsw);
    Pcmpeqb_mm_mmm64 => lift mmx::packed(VecOp::Pcmpeqb);
    Pcmpeqw_mm_mmm64 => lift mmx::packed(VecOp::Pcmpeqw);
    Pcmpeqd_mm_mmm64 => lift mmx::packed(VecOp::Pcmpeqd);
    Pcmpgtb_mm_mmm64 => lift mmx::packed(VecOp::Pcmpgtb);
    Pcmpgtw_mm_mmm64 => lift mmx::packed(VecOp::Pcmpgtw);
    Pcmpgtd_mm_mmm64 => lift mmx::packed(VecOp::Pcmpgtd);

    Psllw_mm_mmm64 => lift mmx::packed(VecOp::Psllw);
    Pslld_mm_mmm64 => lift mmx::packed(VecOp::Pslld);
    Psllq_mm_mmm64 => lift mmx::packed(VecOp::Psllq);
    Psrlw_mm_mmm64 => lift mmx::packed(VecOp::Psrlw);
    Psrld_mm_mmm64 => lift mmx::packed(VecOp::Psrld);
    Psrlq_mm_mmm64 => lift mmx::packed(VecOp::Psrlq);
    Psraw_mm_mmm64 => lift mmx::packed(VecOp::Psraw);
    Psrad_mm_mmm64 => lift mmx::packed(VecOp::Psrad);
    Psllw_mm_imm8 => lift mmx::shift_imm(VecOp::PsllwImm);
    Pslld_mm_imm8 => lift mmx::shift_imm(VecOp::PslldImm);
    Psllq_mm_imm8 => lift mmx::shift_imm(VecOp::PsllqImm);
    Psrlw_mm_imm8 => lift mmx::shift_imm(VecOp::PsrlwImm);
    Psrld_mm_imm8 => lift mmx::shift_imm(VecOp::PsrldImm);
    Psrlq_mm_imm8 => lift mmx::shift_imm(VecOp::PsrlqImm);
    Psraw_mm_imm8 => lift mmx::shift_imm(VecOp::PsrawImm);
    Psrad_mm_imm8 => lift mmx::shift_imm(VecOp::PsradImm);
    Pshufw_mm_mmm64_imm8 => lift mmx::pshufw;

    Phaddw_mm_mmm64 => lift mmx::joined(VecOp::Phaddw);
    Phaddd_mm_mmm64 => lift mmx::joined(VecOp::Phaddd);
    Phaddsw_mm_mmm64 => lift mmx::joined(VecOp::Phaddsw);
    Phsubw_mm_mmm64 => lift mmx::joined(VecOp::Phsubw);
    Phsubd_mm_mmm64 => lift mmx::joined(VecOp::Phsubd);
    Phsubsw_mm_mmm64 => lift mmx::joined(VecOp::Phsubsw);
    Psignb_mm_mmm64 => lift mmx::packed(VecOp::Psignb);
    Psignw_mm_mmm64 => lift mmx::packed(VecOp::Psignw);
    Psignd_mm_mmm64 => lift mmx::packed(VecOp::Psignd);
    Pabsb_mm_mmm64 => lift mmx::packed(VecOp::Pabsb);
    Pabsw_mm_mmm64 => lift mmx::packed(VecOp::Pabsw);
    Pabsd_mm_mmm64 => lift mmx::packed(VecOp::Pabsd);
    Pmaddubsw_mm_mmm64 => lift mmx::packed(VecOp::Pmaddubsw);
    Pmulhrsw_mm_mmm64 => lift mmx::packed(VecOp::Pmulhrsw);
    Pshufb_mm_mmm64 => lift mmx::pshufb;
    Palignr_mm_mmm64_imm8 => lift mmx::palignr;
}

/// What saves, restores or ends the state that x87, MMX and SSE share.
pub mod state {
    use crate::mmx::available;

    rows! { before available;
        Emms => helper Emms;
        Fxsave_m512byte Fxsave64_m512byte => helper Fxsave;
        Fxrstor_m512byte Fxrstor64_m512byte => helper Fxrstor;
    }
}
