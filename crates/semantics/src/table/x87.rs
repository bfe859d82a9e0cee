//! x87 instructions (Vol. 1, 5.2), over soft floating point or what is the same to the bit. The forms with a 9B in front are WAIT and the
//! form without.

use crate::x87::{self, Arith, Format, Step};
use softfloat::x87::Constant;

rows! {
    before x87::available;
    Fadd_m32fp Fadd_m64fp Fiadd_m32int Fiadd_m16int Fadd_st0_sti Fadd_sti_st0 Faddp_sti_st0 => lift x87::arith(Arith::Add);
    Fmul_m32fp Fmul_m64fp Fimul_m32int Fimul_m16int Fmul_st0_sti Fmul_sti_st0 Fmulp_sti_st0 => lift x87::arith(Arith::Mul);
    Fsub_m32fp Fsub_m64fp Fisub_m32int Fisub_m16int Fsub_st0_sti Fsub_sti_st0 Fsubp_sti_st0 => lift x87::arith(Arith::Sub);
    Fsubr_m32fp Fsubr_m64fp Fisubr_m32int Fisubr_m16int Fsubr_st0_sti Fsubr_sti_st0 Fsubrp_sti_st0 => lift x87::arith(Arith::SubR);
    Fdiv_m32fp Fdiv_m64fp Fidiv_m32int Fidiv_m16int Fdiv_st0_sti Fdiv_sti_st0 Fdivp_sti_st0 => lift x87::arith(Arith::Div);
    Fdivr_m32fp Fdivr_m64fp Fidivr_m32int Fidivr_m16int Fdivr_st0_sti Fdivr_sti_st0 Fdivrp_sti_st0 => lift x87::arith(Arith::DivR);
    Fcom_m32fp Fcom_m64fp Ficom_m32int Ficom_m16int Fcom_st0_sti Fcom_st0_sti_DCD0 Ftst => lift x87::compare(false, 0);
    Fcomp_m32fp Fcomp_m64fp Ficomp_m32int Ficomp_m16int Fcomp_st0_sti Fcomp_st0_sti_DCD8 Fcomp_st0_sti_DED0 => lift x87::compare(false, 1);
    Fcompp => lift x87::compare(false, 2);
    Fucom_st0_sti => lift x87::compare(true, 0);
    Fucomp_st0_sti => lift x87::compare(true, 1);
    Fucompp => lift x87::compare(true, 2);
    Fcomi_st0_sti => lift x87::compare_flags(false, false);
    Fcomip_st0_sti => lift x87::compare_flags(false, true);
    Fucomi_st0_sti => lift x87::compare_flags(true, false);
    Fucomip_st0_sti => lift x87::compare_flags(true, true);
    Fsqrt => lift x87::simple(Step::SquareRoot);
    Frndint => lift x87::simple(Step::RoundToInteger);
    Fchs => lift x87::simple(Step::Negate);
    Fabs => lift x87::simple(Step::Absolute);
    Fld1 => lift x87::simple(Step::Constant(Constant::One));
    Fldl2t => lift x87::simple(Step::Constant(Constant::Log2Ten));
    Fldl2e => lift x87::simple(Step::Constant(Constant::Log2E));
    Fldpi => lift x87::simple(Step::Constant(Constant::Pi));
    Fldlg2 => lift x87::simple(Step::Constant(Constant::Log10Two));
    Fldln2 => lift x87::simple(Step::Constant(Constant::Ln2));
    Fldz => lift x87::simple(Step::Constant(Constant::Zero));
    Fld_m32fp => lift x87::load(Format::Single);
    Fld_m64fp => lift x87::load(Format::Double);
    Fld_m80fp => lift x87::load(Format::Extended);
    Fild_m16int => lift x87::load(Format::Int16);
    Fild_m32int => lift x87::load(Format::Int32);
    Fild_m64int => lift x87::load(Format::Int64);
    Fld_sti => lift x87::duplicate;
    Fst_m32fp => lift x87::store(Format::Single, false, false);
    Fstp_m32fp => lift x87::store(Format::Single, true, false);
    Fst_m64fp => lift x87::store(Format::Double, false, false);
    Fstp_m64fp => lift x87::store(Format::Double, true, false);
    Fstp_m80fp => lift x87::store(Format::Extended, true, false);
    Fist_m16int => lift x87::store(Format::Int16, false, false);
    Fistp_m16int => lift x87::store(Format::Int16, true, false);
    Fisttp_m16int => lift x87::store(Format::Int16, true, true);
    Fist_m32int => lift x87::store(Format::Int32, false, false);
    Fistp_m32int => lift x87::store(Format::Int32, true, false);
    Fisttp_m32int => lift x87::store(Format::Int32, true, true);
    Fistp_m64int => lift x87::store(Format::Int64, true, false);
    Fisttp_m64int => lift x87::store(Format::Int64, true, true);
    Fst_sti => lift x87::copy(false);
    Fstp_sti Fstp_sti_DFD0 Fstp_sti_DFD8 => lift x87::copy(true);
    Fxch_st0_sti Fxch_st0_sti_DDC8 Fxch_st0_sti_DFC8 => lift x87::exchange;
    Fldcw_m2byte => lift x87::load_control;
    Fnstcw_m2byte => lift x87::store_control;
    Fnstsw_m2byte Fnstsw_AX => lift x87::store_status;
    Fxam => helper X87Examine;
    F2xm1 Fsin Fcos => helper X87Unary;
    Fpatan Fyl2x Fyl2xp1 => helper X87Binary;
    Fprem Fprem1 Fscale => helper X87Scale;
    Fxtract Fptan Fsincos => helper X87Double;
    Fbld_m80bcd => helper X87LoadDecimal;
    Fbstp_m80bcd => helper X87StoreDecimal;
    Fstpnce_sti => helper X87StoreAnyway;
    Fcmovb_st0_sti Fcmove_st0_sti Fcmovbe_st0_sti Fcmovu_st0_sti Fcmovnb_st0_sti Fcmovne_st0_sti Fcmovnbe_st0_sti Fcmovnu_st0_sti => helper X87MoveIf;
    Ffree_sti Ffreep_sti Fincstp Fdecstp Fnop => helper X87Stack;
    Fneni Fndisi Fnsetpm => helper X87Ignore;
    Fninit => helper X87Initialize;
    Fnclex => helper X87Clear;
    Fnstenv_m14byte Fnstenv_m28byte => helper X87StoreEnvironment;
    Fldenv_m14byte Fldenv_m28byte => helper X87LoadEnvironment;
    Fnsave_m94byte Fnsave_m108byte => helper X87Save;
    Frstor_m94byte Frstor_m108byte => helper X87Restore;
}

/// WAIT, which CR0.EM does not stop.
pub mod wait {
    use crate::x87;
    rows! {
        Wait => lift x87::wait;
    }
}
