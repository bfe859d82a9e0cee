; What QEMU's TCG gets wrong outside segmentation (README.md, "Judges"): each check names its place in the SDM.
        %include "test.inc"
        program "strict"
main:   ; Vol. 3A, 6.13: a fault while an exception is delivered has EXT set in its error code
        gate32 UD, KDATA, stubs_32 + UD * 16, 0x8e
        try
        ud2
        caught
        faulted GP, KDATA + 1, "#GP while delivering #UD"
        gate32 UD, KCODE32, stubs_32 + UD * 16, 0x0e
        try
        ud2
        caught
        faulted NP, UD * 8 + 2 + 1, "#NP while delivering #UD: EXT is set"
        gate32 UD, KCODE32, stubs_32 + UD * 16, 0x8e
        ; Vol. 2A, LTR
        xor eax, eax
        raises GP, 0, "LTR of the null selector", ltr ax
        ; Vol. 3A, 7.2.1 and 17.3.1.5: the T flag of a task state segment
        mov edi, ARENA
        mov ecx, 0x68 / 4
        rep stosd
        mov dword [ARENA + 0x20], .task
        mov dword [ARENA + 0x24], 2
        mov dword [ARENA + 0x38], ARENA + 0x8000
        mov dword [ARENA + 0x4c], KCODE32
        mov dword [ARENA + 0x50], KDATA
        mov dword [ARENA + 0x54], KDATA
        mov dword [ARENA + 0x48], KDATA
        mov byte [ARENA + 0x64], 1
        descriptor FREE, ARENA, 0x67, 0x89, 0
        meets DBG, 0, "the T flag of a TSS", call FREE:0
        is [last_ip], .task, "before the task's first instruction"
        mov eax, dr6
        and eax, 0xe00f
        is eax, 0x8000, "DR6.BT"
        xor eax, eax
        mov dr6, eax
        long_mode
        ; Vol. 2A, INTO, "64-Bit Mode Exceptions"
        raises UD, 0, "INTO in 64-bit mode", db 0xce
        ; Vol. 3A, 2.5: CR0.PG cannot be cleared in 64-bit mode
        mov rax, cr0
        btr rax, 31
        raises GP, 0, "clearing CR0.PG in 64-bit mode", mov cr0, rax
        ; Vol. 3A, 6.15, "Interrupt 12": a non-canonical reference through SS
        mov rax, 0x800000000000
        raises SS_, 0, "a non-canonical stack address", mov al, [rsp + rax]
        done
        bits 32
.task:  iretd
