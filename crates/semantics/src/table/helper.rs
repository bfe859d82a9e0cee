//! What every engine leaves to the processor's own code: system instructions, far transfers, x87, bulk string moves.

/// A helper by name. The processor has one function for each, `fn(&mut Cpu, &Insn)`; its match over this enum is exhaustive, so a helper
/// without a function does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helper {
    /// CPUID.
    Cpuid,
    /// FNENI, FNDISI, FNSETPM: nothing since the 387.
    X87Ignore,
    /// HLT.
    Hlt,

    // General-purpose instructions.
    /// REP MOVS: may do whole iterations, all but the last, where no one can tell it from the loop.
    BulkMovs,
    /// REP STOS: likewise.
    BulkStos,
    /// IN.
    In,
    /// OUT.
    Out,
    /// INS: one iteration; the count is the caller's.
    Ins,
    /// OUTS: one iteration; the count is the caller's.
    Outs,
    /// The I/O permission check of INS and OUTS, which comes before the count is looked at.
    PortPermission,
    /// CMPXCHG16B.
    Cmpxchg16b,
    /// CRC32.
    Crc32,
    /// PUSHF, PUSHFD, PUSHFQ.
    Pushf,
    /// POPF, POPFD, POPFQ.
    Popf,

    // System instructions, far transfers and segment registers.
    /// MOV Sreg, r/m.
    MovToSegment,
    /// POP Sreg.
    PopSegment,
    /// LDS, LES, LSS, LFS, LGS.
    LoadFarPointer,
    /// LLDT.
    Lldt,
    /// LTR.
    Ltr,
    /// SLDT.
    Sldt,
    /// STR.
    Str,
    /// LGDT, LIDT.
    LoadTable,
    /// SGDT, SIDT.
    StoreTable,
    /// LAR, LSL.
    LarLsl,
    /// VERR, VERW.
    Verify,
    /// ARPL.
    Arpl,
    /// SWAPGS.
    Swapgs,
    /// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE.
    SegmentBase,
    /// JMP far.
    JmpFar,
    /// CALL far.
    CallFar,
    /// RET far.
    RetFar,
    /// INT n.
    IntN,
    /// INT3.
    Int3,
    /// INTO.
    Into,
    /// INT1.
    Int1,
    /// IRET, IRETD, IRETQ.
    Iret,
    /// SYSCALL.
    Syscall,
    /// SYSRET.
    Sysret,
    /// SYSENTER.
    Sysenter,
    /// SYSEXIT.
    Sysexit,
    /// MOV r, CRn.
    MovFromCr,
    /// MOV CRn, r.
    MovToCr,
    /// MOV r, DRn.
    MovFromDr,
    /// MOV DRn, r.
    MovToDr,
    /// CLTS.
    Clts,
    /// LMSW.
    Lmsw,
    /// SMSW.
    Smsw,
    /// INVLPG.
    Invlpg,
    /// INVPCID.
    Invpcid,
    /// INVD, WBINVD.
    InvalidateCaches,
    /// CLI.
    Cli,
    /// STI.
    Sti,
    /// CLAC, STAC.
    ClacStac,
    /// MONITOR.
    Monitor,
    /// MWAIT.
    Mwait,
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// RDTSC, RDTSCP.
    TimeStamp,
    /// RDPMC.
    Rdpmc,

    // x87.
    /// FADD, FSUB, FMUL, FDIV, their reverse, integer and popping forms.
    X87Arith,
    /// FCOM, FUCOM, FICOM, FTST and their popping forms.
    X87Compare,
    /// FCOMI, FUCOMI and their popping forms.
    X87CompareFlags,
    /// FXAM.
    X87Examine,
    /// FSQRT, FRNDINT, F2XM1, FSIN, FCOS.
    X87Unary,
    /// FPATAN, FYL2X, FYL2XP1.
    X87Binary,
    /// FPREM, FPREM1, FSCALE.
    X87Scale,
    /// FXTRACT, FPTAN, FSINCOS.
    X87Double,
    /// FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ.
    X87Constant,
    /// FLD, FILD, FBLD.
    X87Load,
    /// FST, FSTP, FIST, FISTP, FISTTP, FBSTP to memory.
    X87Store,
    /// FST ST(i), FSTP ST(i).
    X87StoreRegister,
    /// FXCH.
    X87Exchange,
    /// FCMOVcc.
    X87MoveIf,
    /// FCHS, FABS.
    X87Sign,
    /// FFREE, FFREEP, FINCSTP, FDECSTP, FNOP.
    X87Stack,
    /// FLDCW.
    X87LoadControl,
    /// FNSTCW.
    X87StoreControl,
    /// FNSTSW.
    X87StoreStatus,
    /// FNINIT.
    X87Initialize,
    /// FNCLEX.
    X87Clear,
    /// FNSTENV.
    X87StoreEnvironment,
    /// FLDENV.
    X87LoadEnvironment,
    /// FNSAVE.
    X87Save,
    /// FRSTOR.
    X87Restore,
    /// WAIT.
    X87Wait,
    /// EMMS.
    Emms,
    /// LDMXCSR, STMXCSR.
    Ldmxcsr,
    Stmxcsr,
    /// FXSAVE, FXRSTOR.
    Fxsave,
    Fxrstor,
    /// XSAVE and XRSTOR, of x87 and SSE state.
    Xsave,
    Xsaveopt,
    Xrstor,
    /// XCR0.
    Xgetbv,
    Xsetbv,
}
