//! System instructions, far transfers and segment registers (Vol. 1, 5.1.7, 5.1.11 to 5.1.13, 5.20).

rows! {
    Mov_Sreg_rm16 Mov_Sreg_r32m16 Mov_Sreg_r64m16 => helper MovToSegment;
    Popw_ES Popd_ES Popw_SS Popd_SS Popw_DS Popd_DS => helper PopSegment;
    Popw_FS Popd_FS Popq_FS Popw_GS Popd_GS Popq_GS => helper PopSegment;
    Les_r16_m1616 Les_r32_m1632 Lds_r16_m1616 Lds_r32_m1632 => helper LoadFarPointer;
    Lss_r16_m1616 Lss_r32_m1632 Lss_r64_m1664 => helper LoadFarPointer;
    Lfs_r16_m1616 Lfs_r32_m1632 Lfs_r64_m1664 => helper LoadFarPointer;
    Lgs_r16_m1616 Lgs_r32_m1632 Lgs_r64_m1664 => helper LoadFarPointer;
    Lldt_rm16 Lldt_r32m16 Lldt_r64m16 => helper Lldt;
    Ltr_rm16 Ltr_r32m16 Ltr_r64m16 => helper Ltr;
    Sldt_rm16 Sldt_r32m16 Sldt_r64m16 => helper Sldt;
    Str_rm16 Str_r32m16 Str_r64m16 => helper Str;
    Lgdt_m1632_16 Lgdt_m1632 Lgdt_m1664 Lidt_m1632_16 Lidt_m1632 Lidt_m1664 => helper LoadTable;
    Sgdt_m1632_16 Sgdt_m1632 Sgdt_m1664 Sidt_m1632_16 Sidt_m1632 Sidt_m1664 => helper StoreTable;
    Lar_r16_rm16 Lar_r32_r32m16 Lar_r64_r64m16 Lsl_r16_rm16 Lsl_r32_r32m16 Lsl_r64_r64m16 => helper LarLsl;
    Verr_rm16 Verr_r32m16 Verr_r64m16 Verw_rm16 Verw_r32m16 Verw_r64m16 => helper Verify;
    Arpl_rm16_r16 Arpl_r32m16_r32 => helper Arpl;
    Swapgs => helper Swapgs;
    Rdfsbase_r32 Rdfsbase_r64 Rdgsbase_r32 Rdgsbase_r64 => helper SegmentBase;
    Wrfsbase_r32 Wrfsbase_r64 Wrgsbase_r32 Wrgsbase_r64 => helper SegmentBase;

    Jmp_ptr1616 Jmp_ptr1632 Jmp_m1616 Jmp_m1632 Jmp_m1664 => helper JmpFar;
    Call_ptr1616 Call_ptr1632 Call_m1616 Call_m1632 Call_m1664 => helper CallFar;
    Retfw Retfd Retfq Retfw_imm16 Retfd_imm16 Retfq_imm16 => helper RetFar;
    Int_imm8 => helper IntN;
    Int3 => helper Int3;
    Into => helper Into;
    Int1 => helper Int1;
    Iretw Iretd Iretq => helper Iret;
    Syscall => helper Syscall;
    Sysretd Sysretq => helper Sysret;
    Sysenter => helper Sysenter;
    Sysexitd Sysexitq => helper Sysexit;

    Mov_r32_cr Mov_r64_cr => helper MovFromCr;
    Mov_cr_r32 Mov_cr_r64 => helper MovToCr;
    Mov_r32_dr Mov_r64_dr => helper MovFromDr;
    Mov_dr_r32 Mov_dr_r64 => helper MovToDr;
    Clts => helper Clts;
    Lmsw_rm16 Lmsw_r32m16 Lmsw_r64m16 => helper Lmsw;
    Smsw_rm16 Smsw_r32m16 Smsw_r64m16 => helper Smsw;
    Invlpg_m => helper Invlpg;
    Invpcid_r32_m128 Invpcid_r64_m128 => helper Invpcid;
    Invd Wbinvd => helper InvalidateCaches;
    Cli => helper Cli;
    Sti => helper Sti;
    Clac Stac => helper ClacStac;
    Hlt => helper Hlt;
    Monitorw Monitord Monitorq => helper Monitor;
    Mwait => helper Mwait;
    Rdmsr => helper Rdmsr;
    Wrmsr => helper Wrmsr;
    Rdtsc Rdtscp => helper TimeStamp;
    Rdpmc => helper Rdpmc;
    Cpuid => helper Cpuid;
}
