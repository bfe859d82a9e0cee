; What QEMU's TCG gets wrong of floating-point exceptions, MSRs and control registers (README.md, "Judges").
        %include "test.inc"
        program "strict_traps"
main:   mov eax, cr0
        or eax, CR0_NE | CR0_MP
        and eax, ~(CR0_EM | CR0_TS)
        mov cr0, eax
        ; Vol. 1, 8.7: a pending x87 exception strikes at the next waiting instruction.
        fninit
        mov word [word_], 0x37f & ~4
        fldcw [word_]
        fld1
        fldz
        fdivp
        raises MF, 0, "the next x87 instruction", fld1
        fninit
        ; Vol. 1, 11.5; Vol. 3A, 6.15, "Interrupt 19"
        mov eax, cr4
        or eax, CR4_OSFXSR
        mov cr4, eax
        xorps xmm0, xmm0
        mov dword [word_], 0x1f80 & ~0x200
        ldmxcsr [word_]
        mov dword [word_], 0x3f800000
        movss xmm1, [word_]
        raises UD, 0, "an SSE exception without OSXMMEXCPT", divss xmm1, xmm0
        mov eax, cr4
        or eax, CR4_OSXMMEXCPT
        mov cr4, eax
        raises XM, 0, "an SSE exception", divss xmm1, xmm0
        stmxcsr [word_]
        mov eax, [word_]
        and eax, 0x3f
        is eax, 4, "MXCSR.ZE"
        mov dword [word_], 0x1f80
        ldmxcsr [word_]
        mov dword [word_], 0x80000000
        raises GP, 0, "LDMXCSR with reserved bits", ldmxcsr [word_]
        mov dword [word_], 0x1f80
        fxsave [area]
        mov dword [area + 24], 0x10000
        raises GP, 0, "FXRSTOR with reserved MXCSR bits", fxrstor [area]
        ; Vol. 2, RDMSR, WRMSR, MOV to CR
        mov ecx, 0xdeadbeef
        raises GP, 0, "RDMSR of an unknown register", rdmsr
        raises GP, 0, "WRMSR of an unknown register", wrmsr
        mov ecx, EFER
        rdmsr
        or edx, 1
        raises GP, 0, "EFER with reserved bits", wrmsr
        mov eax, cr0
        and eax, ~CR0_PE
        or eax, CR0_PG
        raises GP, 0, "CR0 with PG and without PE", mov cr0, eax
        mov eax, cr0
        or eax, CR0_NW
        and eax, ~CR0_CD
        raises GP, 0, "CR0 with NW and without CD", mov cr0, eax
        mov eax, cr4
        or eax, 0x80000000
        raises GP, 0, "CR4 with reserved bits", mov cr4, eax
        ; Vol. 3A, 10.12.1.2
        mov eax, 1
        cpuid
        bt ecx, 21
        jnc .no_x2apic
        mov ecx, 0x1b
        rdmsr
        or eax, 0xc00
        wrmsr
        mov ecx, 0x80b
        mov eax, 1
        xor edx, edx
        raises GP, 0, "EOI of x2APIC mode takes 0 only", wrmsr
.no_x2apic:
        done
        section .data
word_:  dd 0
        align 64
area:   times 512 db 0
