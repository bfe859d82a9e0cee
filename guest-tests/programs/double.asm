; Double faults: which pairs of exceptions make one, its error code and stack (Vol. 3A, 6.15, table 6-5).
        %include "test.inc"
        program "double"
main:   ; 32-bit: contributory behind contributory
        gate32 NP, KDATA, stubs_32 + NP * 16, 0x8e
        descriptor FREE, 0, 0xfffff, 0x13, 0xc
        try
        mov eax, FREE
        mov es, eax                     ; #NP, whose gate leads to data: #GP, so #DF
        caught
        faulted DF, 0, "#GP while delivering #NP"
        gate32 NP, KCODE32, stubs_32 + NP * 16, 0x8e
        ; #DE is contributory.
        gate32 DE, KCODE32, stubs_32, 0x0e
        try
        xor ecx, ecx
        div ecx
        caught
        faulted DF, 0, "#NP while delivering #DE"
        gate32 DE, KCODE32, stubs_32, 0x8e

        long_mode
        ; #PF behind #PF: the IDT's page goes away for vector 14 alone by a gate that points to nowhere is no fault of delivery;
        ; a stack that is not mapped is one.
        mov byte [idt64 + 16 * DF + 4], 1       ; #DF on IST1
        mov dword [PML4 + 0x2000 + 8 * 32], 0   ; 64 MiB + 2 MiB: not mapped
        mov rax, cr3
        mov cr3, rax
        mov ebx, 0x4000000
        mov rbp, rsp
        try
        lea rsp, [rbx + 0x1000]
        mov al, [rbx]
        caught
        faulted DF, 0, "#PF while delivering #PF"
        is [last_handler_sp], IST1 - 40, "#DF on IST1"
        is [last_sp], 0x4001000, "RSP of the code that faulted"
        is [last_cr2], 0x4000ff8, "CR2 of the second fault"
        ; #PF behind #GP is a #PF when it strikes the delivery of a contributory exception: contributory, then page fault: both in turn.
        mov byte [idt64 + 16 * PF + 4], 2
        try
        lea rsp, [rbx + 0x1000]
        mov eax, KCODE64
        mov ss, eax                     ; #GP, whose frame meets an absent page
        caught
        faulted PF, 2, "#PF while delivering #GP"
        is [last_cr2], 0x4000ff8, "CR2 of that"
        is [last_handler_sp], IST2 - 40, "#PF on IST2"
        ; #GP behind #PF is a double fault.
        mov byte [idt64 + 16 * PF + 4], 0
        mov word [idt64 + 16 * PF + 2], KDATA
        try
        mov al, [rbx]
        caught
        faulted DF, 0, "#GP while delivering #PF"
        is rsp, rbp, "RSP after all that"
        done
