; 4-level paging: 4 KiB, 2 MiB and 1 GiB pages, error codes, A and D, NX, WP, canonical addresses (Vol. 3A, 4.5-4.8, 4.10).
        %include "test.inc"
PDPT1 equ ARENA + 0x100000              ; maps VIRTUAL
PD1 equ ARENA + 0x101000
PT1 equ ARENA + 0x102000
PAGE_ equ ARENA + 0x200000
VIRTUAL equ 0xffff800000000000          ; PML4 entry 256
PML4E equ PML4 + 256 * 8

%macro mapped 1
        mov rax, %1
        mov [PT1], rax
        invlpg [rsi]
%endmacro
%macro cr2 2
        mov rax, %1
        is [last_cr2], rax, %2
%endmacro
%macro flush 0
        mov rax, cr3
        mov cr3, rax
%endmacro
        program "paging64"
main:   mov edi, PDPT1
        xor eax, eax
        mov ecx, 3 * 1024
        rep stosd
        long_mode
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        mov qword [PML4E], PDPT1 + P + W + U
        mov qword [PDPT1], PD1 + P + W + U
        mov qword [PD1], PT1 + P + W + U
        mov rsi, VIRTUAL
        mov dword [PAGE_], 0x600d600d
        mov byte [PAGE_ + 0x10], 0xc3           ; RET
        mapped 0
        raises PF, 0, "read of an absent page", mov eax, [rsi + 0x123]
        cr2 VIRTUAL + 0x123, "CR2 of a read"
        raises PF, 2, "write to an absent page", mov [rsi], eax
        mapped PAGE_ + P + W + U
        raises PF, 2, "write over the end of a page", mov [rsi + 0xffc], rax
        cr2 VIRTUAL + 0x1000, "CR2 is in the second page"
        is [PAGE_ + 0xffc], 0, "nothing was written to the first"
        lea rbx, [rsi + 0x2345]
        meets PF, 0x10, "execution of an absent page", call rbx
        is [last_ip], rbx, "RIP of that"
        cr2 VIRTUAL + 0x2345, "CR2 of a fetch"
        ; Each level not present
        mov qword [PD1], 0
        flush
        raises PF, 0, "an absent page table", mov eax, [rsi]
        mov qword [PD1], PT1 + P + W + U
        mov qword [PDPT1], 0
        flush
        raises PF, 0, "an absent page directory", mov eax, [rsi]
        mov qword [PDPT1], PD1 + P + W + U
        mov qword [PML4E], 0
        flush
        raises PF, 0, "an absent PDPT", mov eax, [rsi]
        mov qword [PML4E], PDPT1 + P + W + U
        flush
        ; A and D at each level
        mapped PAGE_ + P + W + U
        mov eax, [rsi]
        is rax, 0x600d600d, "a mapped page"
        is [PT1], PAGE_ + P + W + U + A, "A of the page"
        is [PD1], PT1 + P + W + U + A, "A of the table"
        is [PDPT1], PD1 + P + W + U + A, "A of the directory"
        is [PML4E], PDPT1 + P + W + U + A, "A of the PDPT"
        mov [rsi], eax
        is [PT1], PAGE_ + P + W + U + A + D, "D of the page"
        is [PD1], PT1 + P + W + U + A, "no D of the table"
        ; NX
        lea rbx, [rsi + 0x10]
        mapped PAGE_ + P + W + U
        works "execution of a page", call rbx
        mapped PAGE_ + P + W + U + (1 << 63)
        meets PF, 0x11, "execution with NX", call rbx
        is [last_ip], rbx, "RIP of that"
        works "a read with NX", mov eax, [rsi]
        works "a write with NX", mov [rsi + 8], eax
        mapped PAGE_ + P + W + U
        mov rax, PT1 + P + W + U + (1 << 63)
        mov [PD1], rax
        flush
        meets PF, 0x11, "execution with NX in the directory", call rbx
        user_raises PF, 0x15, "a user's execution with NX", .execute
        mov qword [PD1], PT1 + P + W + U
        ; A fetch's error code has no bit 4 without EFER.NXE.
        mov ecx, EFER
        rdmsr
        and eax, ~EFER_NXE
        wrmsr
        mapped 0
        meets PF, 0, "a fetch's error code without NXE", call rbx
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        ; Rights
        mapped PAGE_ + P + W
        user_raises PF, 5, "a user's read of a supervisor page", .read
        user_raises PF, 7, "a user's write to a supervisor page", .write
        user_raises PF, 0x15, "a user's fetch of a supervisor page", .execute
        mapped PAGE_ + P + U
        user_raises PF, 7, "a user's write to a read-only page", .write
        works "ring 0 writes it with WP clear", mov [rsi + 8], eax
        mov rax, cr0
        or eax, CR0_WP
        mov cr0, rax
        raises PF, 3, "ring 0 writes it with WP set", mov [rsi + 8], eax
        raises PF, 3, "LOCK ADD faults as a write", lock add [rsi + 8], eax
        mapped PAGE_ + P + W + U
        and qword [PML4E], ~W
        flush
        raises PF, 3, "W clear in the PML4", mov [rsi + 8], eax
        or qword [PML4E], W
        and qword [PML4E], ~U
        flush
        user_raises PF, 5, "U clear in the PML4", .read
        or qword [PML4E], U
        flush
        ; 2 MiB pages
        mov qword [PD1 + 8], (ARENA & ~0x1fffff) + P + W + U + PS
        flush
        mov rbx, VIRTUAL + 0x200000
        mov dword [ARENA + 0x1ffff8], 0x2222
        mov eax, [rbx + 0x1ffff8]
        is rax, 0x2222, "a 2 MiB page"
        mov [rbx + 0x1ffff8], eax
        mov rax, [PD1 + 8]
        and eax, A + D
        is rax, A + D, "A and D of a 2 MiB page"
        ; 1 GiB pages
        mov eax, 0x80000001
        cpuid
        bt edx, 26
        jnc .no_giga
        mov qword [PDPT1 + 8], P + W + U + PS
        mov rbx, VIRTUAL + 0x40000000
        flush
        mov dword [PAGE_ + 0x50], 0x3333
        mov eax, [rbx + PAGE_ + 0x50]
        is rax, 0x3333, "a 1 GiB page"
        mov [rbx + PAGE_ + 0x54], eax
        mov rax, [PDPT1 + 8]
        and eax, A + D
        is rax, A + D, "A and D of a 1 GiB page"
        jmp .giga_done
.no_giga:
        skip "1 GiB pages"
.giga_done:
        ; Canonical addresses
        mov rbx, 0x00007ffffffffffc
        raises PF, 0, "4 bytes below the canonical border", mov eax, [rbx]
        mov rbx, 0xffff7fffffffffff
        raises GP, 0, "below the upper half", mov al, [rbx]
        done
.read:  mov eax, [rsi]
        int USER_END
.write: mov [rsi + 8], eax
        int USER_END
.execute:
        call rbx
        int USER_END
