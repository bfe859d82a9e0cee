; Alignment checks, the x87 and SSE exceptions and lazy switching, interrupt shadows, HLT, LOCK and CMPXCHG16B, FXSAVE and XSAVE,
; reserved bits and unknown MSRs.
        %include "test.inc"
        program "traps"
main:   mov eax, cr0
        or eax, CR0_NE | CR0_MP
        and eax, ~(CR0_EM | CR0_TS)
        mov cr0, eax
        fninit
        ; #NM: TS with MP, EM
        mov eax, cr0
        or eax, CR0_TS
        mov cr0, eax
        raises NM, 0, "x87 with TS", fld1
        raises NM, 0, "WAIT with TS and MP", db 0x9b
        mov eax, cr0
        and eax, ~CR0_MP
        mov cr0, eax
        works "WAIT with TS without MP", db 0x9b
        raises NM, 0, "MMX with TS", movq mm0, mm1
        works "integers with TS", nop
        clts
        works "x87 behind CLTS", fld1
        mov eax, cr0
        or eax, CR0_EM
        mov cr0, eax
        raises NM, 0, "x87 with EM", fld1
        raises UD, 0, "MMX with EM", movq mm0, mm1
        mov eax, cr0
        and eax, ~CR0_EM
        or eax, CR0_MP
        mov cr0, eax
        ; #MF: at the next waiting instruction
        fninit
        mov word [word_], 0x37f & ~4    ; divide by zero unmasked
        fldcw [word_]
        fld1
        fldz
        works "a division by zero is pending only", fdivp
        works "FNSTSW does not wait", fnstsw ax
        and eax, 0x8084
        is eax, 0x8084, "B, ES and ZE"
        raises MF, 0, "WAIT", db 0x9b
        fnclex
        works "behind FNCLEX", fld1
        fninit
        ; SSE: CR4.OSFXSR, #XM
        mov eax, cr4
        and eax, ~(CR4_OSFXSR | CR4_OSXMMEXCPT)
        mov cr4, eax
        raises UD, 0, "SSE without OSFXSR", xorps xmm0, xmm0
        mov eax, cr4
        or eax, CR4_OSFXSR
        mov cr4, eax
        works "SSE with OSFXSR", xorps xmm0, xmm0
        mov eax, area + 4
        raises GP, 0, "MOVAPS that is not aligned", movaps xmm0, [eax]
        works "MOVUPS that is not aligned", movups xmm0, [eax]
        mov ecx, cr0
        or ecx, CR0_TS
        mov cr0, ecx
        raises NM, 0, "SSE with TS", xorps xmm0, xmm0
        raises NM, 0, "FXSAVE with TS", fxsave [area]
        clts
        raises GP, 0, "FXSAVE that is not aligned", fxsave [eax + 4]
        ; FXSAVE and FXRSTOR carry everything.
        fninit
        fld1
        fldpi
        pcmpeqd xmm3, xmm3
        fxsave [area]
        fninit
        pxor xmm3, xmm3
        fxrstor [area]
        movd eax, xmm3
        is eax, -1, "XMM3 behind FXRSTOR"
        fstp tword [area + 512]
        is [area + 516], 0xc90fdaa2, "ST0 behind FXRSTOR"
        fnstsw ax
        and eax, 0x3800
        is eax, 0x3800, "TOP behind FXRSTOR and FSTP"
        movzx eax, byte [area + 4]
        is eax, 0xc0, "the abridged tag word"
        fninit
        ; #AC only in ring 3, with AM and AC
        mov eax, cr0
        or eax, CR0_AM
        mov cr0, eax
        pushfd
        or dword [esp], AC_
        popfd
        works "ring 0 is never checked", mov eax, [area + 1]
        pushfd
        and dword [esp], ~AC_
        popfd
        ; HLT wakes up by an interrupt; STI holds interrupts off for one instruction.
        call pic
        hook 0x20, tick
        mov dword [ticks], 0
        sti
.halt:  hlt
        cmp dword [ticks], 3
        jb .halt
        cli
        ; An interrupt waits: STI; CLI lets none in, STI; NOP does.
        call await
        mov dword [ticks], 0
        sti
        cli
        is [ticks], 0, "no interrupt between STI and the next instruction"
        sti
        nop
        cli
        is [ticks], 1, "but behind it"
        call await
        mov dword [ticks], 0
        mov dword [when], 0
        sti
.sti_next: nop
.behind: cli
        is [when], .behind, "the interrupt is behind the instruction that follows STI"
        ; POPF holds nothing off. (debug.asm shows that MOV SS does.)
        call await
        push dword IF_ | 2
        popfd
.popf_next: nop
        cli
        is [when], .popf_next, "the interrupt is right behind POPF"
        ; STI; HLT with a pending interrupt wakes up at once.
        call await
        sti
        hlt
.woken: cli
        is [when], .woken, "EIP behind HLT"
        mov al, 0xff
        out 0x21, al
        ; MSRs and control registers
        user_raises GP, 0, "RDMSR in ring 3", .rdmsr
        raises UD, 0, "CR1", db 0x0f, 0x20, 0xc8
        mov eax, cr4
        or eax, CR4_TSD
        mov cr4, eax
        works "RDTSC with TSD in ring 0", rdtsc
        user_raises GP, 0, "RDTSC with TSD in ring 3", .rdtsc
        mov eax, cr4
        and eax, ~CR4_TSD
        mov cr4, eax
        user_raises USER_END, 0, "RDTSC without TSD in ring 3", .rdtsc
        ; LOCK
        raises UD, 0, "LOCK MOV", db 0xf0, 0x89, 0x05, 0, 0, 0x40, 0
        raises UD, 0, "LOCK with a register", db 0xf0, 0x01, 0xc0
        works "LOCK ADD", lock add dword [area], 1
        mov eax, 1
        cpuid
        test ecx, 1 << 13
        jz .no_cx16
        long_mode
        mov ebx, area
        mov rax, [rbx]
        mov rdx, [rbx + 8]
        mov rbp, rbx
        push rbx
        mov rbx, 0x1111
        mov rcx, 0x2222
        lock cmpxchg16b [rbp]
        setz r8b
        movzx r8, r8b
        is r8, 1, "CMPXCHG16B: ZF"
        is [rbp], 0x1111, "CMPXCHG16B: low"
        is [rbp + 8], 0x2222, "CMPXCHG16B: high"
        xor eax, eax
        xor edx, edx
        lock cmpxchg16b [rbp]
        setnz r8b
        movzx r8, r8b
        is r8, 1, "CMPXCHG16B that fails: ZF"
        is rax, 0x1111, "CMPXCHG16B that fails: RAX"
        is rdx, 0x2222, "CMPXCHG16B that fails: RDX"
        raises GP, 0, "CMPXCHG16B that is not aligned", cmpxchg16b [rbp + 8]
        ; XSAVE
        mov eax, 1
        cpuid
        bt ecx, 26
        jnc .no_xsave
        raises UD, 0, "XGETBV without OSXSAVE", xgetbv
        mov rax, cr4
        or eax, CR4_OSXSAVE
        mov cr4, rax
        mov eax, 1
        cpuid
        bt ecx, 27
        setc al
        movzx eax, al
        is rax, 1, "CPUID shows OSXSAVE"
        xor ecx, ecx
        mov eax, 3
        xor edx, edx
        works "XSETBV", xsetbv
        xgetbv
        is rax, 3, "XGETBV"
        mov eax, 2
        raises GP, 0, "XCR0 without x87", xsetbv
        mov edi, area
        mov ecx, 4096 / 8
        xor eax, eax
        rep stosq
        pcmpeqd xmm5, xmm5
        mov eax, 2
        xor edx, edx
        xsave [area]
        is [area + 512], 2, "XSTATE_BV"
        is [area + 160 + 16 * 5], -1, "XMM5 in the area"
        pxor xmm5, xmm5
        mov eax, 2
        xor edx, edx
        xrstor [area]
        movq rax, xmm5
        is rax, -1, "XMM5 behind XRSTOR"
        mov qword [area + 512], 0
        mov eax, 2
        xrstor [area]
        movq rax, xmm5
        is rax, 0, "XRSTOR initialises what XSTATE_BV lacks"
        mov rax, 1 << 62
        mov [area + 512], rax
        mov eax, 2
        raises GP, 0, "XRSTOR with unknown state", xrstor [area]
        mov ebx, area
        raises GP, 0, "XSAVE that is not aligned", xsave [rbx + 16]
        done
.no_cx16:
        skip "CMPXCHG16B"
        done
        bits 64
.no_xsave:
        skip "XSAVE"
        done
        bits 32
.rdmsr: rdmsr
.rdtsc: rdtsc
        int USER_END
; The 8259 at vector 20h, the 8254 at 1000 Hz.
pic:    mov al, 0x11
        out 0x20, al
        mov al, 0x20
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0x34
        out 0x43, al
        mov al, 0xa9
        out 0x40, al
        mov al, 4
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        ret
; Until the 8259 has a request pending.
await:  mov al, 0x0a
        out 0x20, al
.more:  in al, 0x20
        test al, 1
        jz .more
        ret
tick:   inc dword [ticks]
        mov eax, [ebp + F32_IP]
        mov [when], eax
        mov al, 0x20
        out 0x20, al
        ret
        section .data
word_:  dd 0
ticks:  dd 0
when:   dd 0
        align 64
area:   times 8192 db 0
