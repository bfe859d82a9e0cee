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
    /// FXAM.
    X87Examine,
    /// F2XM1, FSIN, FCOS.
    X87Unary,
    /// FPATAN, FYL2X, FYL2XP1.
    X87Binary,
    /// FPREM, FPREM1, FSCALE.
    X87Scale,
    /// FXTRACT, FPTAN, FSINCOS.
    X87Double,
    /// FBLD.
    X87LoadDecimal,
    /// FBSTP.
    X87StoreDecimal,
    /// FSTPNCE: FSTP ST(i) that raises no stack fault.
    X87StoreAnyway,
    /// FCMOVcc.
    X87MoveIf,
    /// FFREE, FFREEP, FINCSTP, FDECSTP, FNOP.
    X87Stack,
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
