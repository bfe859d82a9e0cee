; CR4 takes a bit if CPUID shows its feature, and raises #GP otherwise (Vol. 3A, 2.5; Vol. 2B, MOV to CR);
; IA32_PAT takes memory types only, and the time-stamp counter takes what is written (Vol. 2C, WRMSR; Vol. 3B, 17.17.3).
        %include "test.inc"
; cr4_follows WORD, BIT, CR4 BIT, "what": the bit of CR4 can be set with the feature and raises #GP without it.
%macro cr4_follows 4
        mov rax, cr4
        mov rbx, rax
        bts rax, %3
        bt dword [%1], %2
        jc %%has
        raises GP, 0, {%4, ": CR4 without the feature"}, mov cr4, rax
        jmp %%end
%%has:  works {%4, ": CR4 with the feature"}, mov cr4, rax
        mov cr4, rbx
%%end:
%endmacro
        program "strict_system"
main:   mov eax, 1
        cpuid
        mov [leaf1c], ecx
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov [leaf7b], ebx
        mov [leaf7c], ecx
        long_mode
        ; With SMEP and SMAP the code here must be the supervisor's.
        and byte [PML4], ~U
        mov rax, cr3
        mov cr3, rax
        cr4_follows leaf1c, 17, 17, "PCID"
        cr4_follows leaf1c, 26, 18, "XSAVE"
        cr4_follows leaf7b, 0, 16, "FSGSBASE"
        cr4_follows leaf7b, 7, 20, "SMEP"
        cr4_follows leaf7b, 20, 21, "SMAP"
        cr4_follows leaf7c, 2, 11, "UMIP"
        cr4_follows leaf7c, 3, 22, "PKU"
        mov ecx, 0x277
        mov eax, 2
        mov edx, 0x00070406
        raises GP, 0, "IA32_PAT with a reserved type", wrmsr
        mov ecx, 0x10
        xor eax, eax
        mov edx, 0x1000
        wrmsr
        rdtsc
        is rdx, 0x1000, "a TSC that was written"
        ; Vol. 2B, RDPMC
        mov ecx, 64
        raises GP, 0, "RDPMC of a counter that there is not", rdpmc
        ; Vol. 2B, MOV to CR; Vol. 2A, LGDT
        mov eax, 0x10
        raises GP, 0, "CR8 with reserved bits", mov cr8, rax
        mov word [buffer], 0xfff
        mov rax, 0x800000000000
        mov [buffer + 2], rax
        raises GP, 0, "LGDT with a non-canonical base", lgdt [buffer]
        ; MOV to CR takes 64 bits; the upper halves are reserved.
        mov rax, cr0
        bts rax, 32
        raises GP, 0, "the upper half of CR0", mov cr0, rax
        mov rax, cr4
        bts rax, 32
        raises GP, 0, "the upper half of CR4", mov cr4, rax
        done
        section .data
buffer: dq 0, 0
leaf1c: dd 0
leaf7b: dd 0
leaf7c: dd 0
