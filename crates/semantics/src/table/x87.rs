//! x87 instructions (Vol. 1, 5.2): all helpers, over soft floating point. The forms with a 9B in front are WAIT and the form without.

rows! {
    Fadd_m32fp Fadd_m64fp Fiadd_m32int Fiadd_m16int Fadd_st0_sti Fadd_sti_st0 Faddp_sti_st0 Fmul_m32fp Fmul_m64fp Fimul_m32int Fimul_m16int Fmul_st0_sti Fmul_sti_st0 Fmulp_sti_st0 Fsub_m32fp Fsub_m64fp Fisub_m32int Fisub_m16int Fsub_st0_sti Fsub_sti_st0 Fsubp_sti_st0 Fsubr_m32fp Fsubr_m64fp Fisubr_m32int Fisubr_m16int Fsubr_st0_sti Fsubr_sti_st0 Fsubrp_sti_st0 Fdiv_m32fp Fdiv_m64fp Fidiv_m32int Fidiv_m16int Fdiv_st0_sti Fdiv_sti_st0 Fdivp_sti_st0 Fdivr_m32fp Fdivr_m64fp Fidivr_m32int Fidivr_m16int Fdivr_st0_sti Fdivr_sti_st0 Fdivrp_sti_st0 => helper X87Arith;
    Fcom_m32fp Fcom_m64fp Fcomp_m32fp Fcomp_m64fp Ficom_m32int Ficom_m16int Ficomp_m32int Ficomp_m16int Fcom_st0_sti Fcom_st0_sti_DCD0 Fcomp_st0_sti Fcomp_st0_sti_DCD8 Fcomp_st0_sti_DED0 Fcompp Fucom_st0_sti Fucomp_st0_sti Fucompp Ftst => helper X87Compare;
    Fcomi_st0_sti Fcomip_st0_sti Fucomi_st0_sti Fucomip_st0_sti => helper X87CompareFlags;
    Fxam => helper X87Examine;
    Fsqrt Frndint F2xm1 Fsin Fcos => helper X87Unary;
    Fpatan Fyl2x Fyl2xp1 => helper X87Binary;
    Fprem Fprem1 Fscale => helper X87Scale;
    Fxtract Fptan Fsincos => helper X87Double;
    Fld1 Fldl2t Fldl2e Fldpi Fldlg2 Fldln2 Fldz => helper X87Constant;
    Fld_m32fp Fld_m64fp Fld_m80fp Fld_sti Fild_m16int Fild_m32int Fild_m64int Fbld_m80bcd => helper X87Load;
    Fst_m32fp Fstp_m32fp Fst_m64fp Fstp_m64fp Fstp_m80fp Fist_m16int Fistp_m16int Fisttp_m16int Fist_m32int Fistp_m32int Fisttp_m32int Fistp_m64int Fisttp_m64int Fbstp_m80bcd => helper X87Store;
    Fst_sti Fstp_sti Fstp_sti_DFD0 Fstp_sti_DFD8 Fstpnce_sti => helper X87StoreRegister;
    Fxch_st0_sti Fxch_st0_sti_DDC8 Fxch_st0_sti_DFC8 => helper X87Exchange;
    Fcmovb_st0_sti Fcmove_st0_sti Fcmovbe_st0_sti Fcmovu_st0_sti Fcmovnb_st0_sti Fcmovne_st0_sti Fcmovnbe_st0_sti Fcmovnu_st0_sti => helper X87MoveIf;
    Fchs Fabs => helper X87Sign;
    Ffree_sti Ffreep_sti Fincstp Fdecstp Fnop => helper X87Stack;
    Fldcw_m2byte => helper X87LoadControl;
    Fnstcw_m2byte => helper X87StoreControl;
    Fnstsw_m2byte Fnstsw_AX => helper X87StoreStatus;
    Fneni Fndisi Fnsetpm => helper X87Ignore;
    Fninit => helper X87Initialize;
    Fnclex => helper X87Clear;
    Fnstenv_m14byte Fnstenv_m28byte => helper X87StoreEnvironment;
    Fldenv_m14byte Fldenv_m28byte => helper X87LoadEnvironment;
    Fnsave_m94byte Fnsave_m108byte => helper X87Save;
    Frstor_m94byte Frstor_m108byte => helper X87Restore;
    Wait => helper X87Wait;
}
