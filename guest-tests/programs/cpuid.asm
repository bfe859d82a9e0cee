; CPUID: leaves, vendor, features that all have, MSRs, the time-stamp counter (Vol. 2A, CPUID).
        %include "test.inc"
        program "cpuid"
main:   ; EFLAGS.ID can be toggled.
        pushfd
        pop eax
        mov ecx, eax
        xor eax, 1 << 21
        push eax
        popfd
        pushfd
        pop eax
        xor eax, ecx
        and eax, 1 << 21
        is eax, 1 << 21, "EFLAGS.ID"
        xor eax, eax
        cpuid
        cmp eax, 7
        jae .leaf7
        flunk "leaf 7"
.leaf7: mov eax, 1
        cpuid
        mov [leaf1d], edx
        mov eax, [leaf1d]
        and eax, 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26
        is eax, 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26, "features that all 64-bit processors have"
        shr ebx, 24
        mov ecx, [0xfee00020]
        shr ecx, 24
        is ebx, ecx, "the initial APIC ID"
        mov eax, 0x80000000
        cpuid
        cmp eax, 0x80000008
        jae .extended
        flunk "leaf 80000008h"
.extended:
        mov eax, 0x80000001
        cpuid
        mov [ext1d], edx
        bt edx, 29
        jc .long
        flunk "long mode"
.long:  bt edx, 20
        jc .nx
        flunk "NX"
.nx:    ; SYSCALL is shown in 64-bit mode (Intel shows it there only).
        long_mode
        mov eax, 0x80000001
        cpuid
        shr edx, 11
        and edx, 1
        is rdx, 1, "SYSCALL in 64-bit mode"
        ; CPUID clears the upper halves.
        mov rax, 0x1111111100000000
        mov rbx, -1
        mov rcx, 0x2222222200000000
        mov rdx, -1
        cpuid
        shr rax, 32
        is rax, 0, "RAX behind CPUID"
        shr rbx, 32
        is rbx, 0, "RBX behind CPUID"
        shr rcx, 32
        is rcx, 0, "RCX behind CPUID"
        shr rdx, 32
        is rdx, 0, "RDX behind CPUID"
        mov eax, 0x80000008
        cpuid
        movzx ecx, ah
        cmp ecx, 57
        je .five
        is rcx, 48, "linear address bits"
.five:
        movzx ecx, al
        cmp ecx, 36
        jb .few
        cmp ecx, 52
        jbe .bits
.few:   flunk "physical address bits"
.bits:
        ; MSRs that every processor of today has
        mov ecx, 0x1b
        rdmsr
        and eax, 0xfffff900
        mov ecx, 0xfee00900
        is rax, rcx, "IA32_APIC_BASE"
        mov ecx, 0x277
        rdmsr
        is rax, 0x00070406, "IA32_PAT, low"
        is rdx, 0x00070406, "IA32_PAT, high"
        ; The time-stamp counter goes forward.
        rdtsc
        mov esi, eax
        mov edi, edx
        rdtsc
        sub eax, esi
        sbb edx, edi
        jnc .forward
        flunk "the TSC goes forward"
.forward:
        bt dword [ext1d], 27
        jnc .no_tscp
        mov ecx, 0xc0000103
        mov eax, 0x1234
        xor edx, edx
        wrmsr
        rdtscp
        is rcx, 0x1234, "RDTSCP: IA32_TSC_AUX"
        done
.no_tscp:
        skip "RDTSCP"
        done
        section .data
leaf1d: dd 0
ext1d:  dd 0
