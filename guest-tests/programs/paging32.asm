; 32-bit paging: 4 KiB and 4 MiB pages, error codes, CR2, A and D, WP, INVLPG (Vol. 3A, 4.3, 4.7, 4.8, 4.10).
        %include "test.inc"
TABLE equ ARENA + 0x100000              ; maps VIRTUAL, 4 MiB
PAGE_ equ ARENA + 0x200000              ; what the entries point to
VIRTUAL equ 0x40000000
PDE equ PD32 + VIRTUAL / 0x400000 * 4

; mapped ENTRY: the first page of VIRTUAL, nothing cached
%macro mapped 1
        mov dword [TABLE], %1
        invlpg [VIRTUAL]
%endmacro
%macro cr2 2
        is [last_cr2], %1, %2
%endmacro
        program "paging32"
main:   mov edi, TABLE
        xor eax, eax
        mov ecx, 1024
        rep stosd
        call paging32
        mov dword [PDE], TABLE + P + W + U
        mov dword [PAGE_], 0x600d600d
        mov esi, VIRTUAL
        ; Not present
        mapped 0
        raises PF, 0, "read of an absent page", mov eax, [esi + 0x123]
        cr2 VIRTUAL + 0x123, "CR2 of a read"
        raises PF, 2, "write to an absent page", mov [esi + 0xffe], eax
        cr2 VIRTUAL + 0xffe, "CR2 of a write over a page's end"
        mapped PAGE_ + P + W + U
        raises PF, 2, "write over the end of a page", mov [esi + 0xffe], eax
        cr2 VIRTUAL + 0x1000, "CR2 is in the second page"
        movzx eax, word [PAGE_ + 0xffe]
        is eax, 0, "nothing was written to the first"
        meets PF, 0, "execution of an absent page", call [.absent_code]
        cr2 VIRTUAL + 0x2000, "CR2 of a fetch"
        ; A and D
        mapped PAGE_ + P + W + U
        mov eax, [esi]
        is eax, 0x600d600d, "a mapped page"
        is [TABLE], PAGE_ + P + W + U + A, "a read sets A"
        and dword [PDE], ~A
        mov eax, cr3
        mov cr3, eax
        mov [esi], eax
        is [TABLE], PAGE_ + P + W + U + A + D, "a write sets D"
        mov eax, [PDE]
        and eax, A + D
        is eax, A, "a walk sets A in the directory, and not D"
        ; Supervisor pages from ring 3
        mapped PAGE_ + P + W
        works "a supervisor page in ring 0", mov [esi], eax
        user_raises PF, 5, "a user's read of a supervisor page", .read
        cr2 VIRTUAL, "its CR2"
        user_raises PF, 7, "a user's write to a supervisor page", .write
        user_raises PF, 5, "a user's fetch from a supervisor page", .execute
        is [TABLE], PAGE_ + P + W + A + D, "the entry behind faults"
        mapped PAGE_ + P + W
        user_raises PF, 5, "again, with A clear", .read
        is [TABLE], PAGE_ + P + W, "a protection fault sets no A"
        mapped 0
        user_raises PF, 4, "a user's read of an absent page", .read
        user_raises PF, 6, "a user's write to an absent page", .write
        ; User needs U in both levels.
        mapped PAGE_ + P + W + U
        and dword [PDE], ~U
        invlpg [esi]
        user_raises PF, 5, "U clear in the directory", .read
        or dword [PDE], U
        ; Read-only pages and CR0.WP
        mapped PAGE_ + P + U
        user_raises PF, 7, "a user's write to a read-only page", .write
        user_raises USER_END, 0, "a user's read of a read-only page", .read
        works "ring 0 writes a read-only page with WP clear", mov [esi], eax
        is [TABLE], PAGE_ + P + U + A + D, "and sets D"
        mov eax, cr0
        or eax, CR0_WP
        mov cr0, eax
        raises PF, 3, "ring 0 writes a read-only page with WP set", mov [esi], eax
        raises PF, 3, "a read-modify-write faults as a write", add [esi], eax
        raises PF, 3, "XCHG faults as a write", xchg [esi], eax
        raises PF, 3, "CMPXCHG that does not store faults as a write", cmpxchg [esi], ecx
        mapped PAGE_ + P + W + U
        and dword [PDE], ~W
        invlpg [esi]
        raises PF, 3, "W clear in the directory", mov [esi], eax
        or dword [PDE], W
        mov eax, cr0
        and eax, ~CR0_WP
        mov cr0, eax
        ; A stale translation may be used until INVLPG; after INVLPG it must not.
        mapped PAGE_ + P + W + U
        mov eax, [esi]
        mov dword [TABLE], PAGE_ + 0x1000 + P + W + U
        mov dword [PAGE_ + 0x1000], 0x2222
        invlpg [esi + 0xabc]
        is [esi], 0x2222, "INVLPG with any address of the page"
        mov dword [TABLE], PAGE_ + P + W + U
        mov dword [PAGE_], 0x1111
        mov eax, cr3
        mov cr3, eax
        is [esi], 0x1111, "MOV CR3 flushes"
        user_raises GP, 0, "INVLPG in ring 3", .invlpg
        ; 4 MiB pages
        mov dword [VIRTUAL / 0x400000 * 4 + PD32 + 4], (ARENA & 0xffc00000) + P + W + U + PS
        mov eax, cr3
        mov cr3, eax
        is [esi + 0x400000 + PAGE_ - ARENA], 0x1111, "a 4 MiB page"
        mov eax, [PDE + 4]
        and eax, A + D
        is eax, A, "A of a 4 MiB page"
        mov [esi + 0x400000 + 0x3ffffc], eax
        mov eax, [PDE + 4]
        and eax, A + D
        is eax, A + D, "D of a 4 MiB page"
        ; PSE off: bit 7 is ignored, the entry points to a table. Nothing else may be mapped by 4 MiB pages then.
        mov edi, ARENA + 0x110000
        mov eax, P + W + U
        mov ecx, 0x4000
.fill:  mov [edi], eax
        add eax, 0x1000
        add edi, 4
        dec ecx
        jnz .fill
        mov eax, ARENA + 0x110000 + P + W + U
        mov edi, PD32
        mov ecx, 16
.tables: stosd
        add eax, 0x1000
        dec ecx
        jnz .tables
        mov dword [PDE], TABLE + P + W + U + PS
        mov eax, cr4
        and eax, ~CR4_PSE
        mov cr4, eax
        is [esi], 0x1111, "bit 7 without PSE"
        ; Paging off and on again
        mov eax, cr0
        btr eax, 31
        mov cr0, eax
        is [PAGE_], 0x1111, "paging off"
        mov eax, cr0
        bts eax, 31
        mov cr0, eax
        is [esi], 0x1111, "paging on"
        ; A descriptor on an absent page: the access is a supervisor's, though ring 3 causes it.
        mov dword [TABLE + 12], 0
        descriptor FREE, VIRTUAL + 0x3000, 0xfff, 0x82, 0
        mov eax, FREE
        lldt ax
        user_raises PF, 0, "ring 3 loads a descriptor from an absent page", .ldt
        cr2 VIRTUAL + 0x3010, "CR2 of that"
        done

.read:  mov eax, [VIRTUAL]
        int USER_END
.write: mov [VIRTUAL], eax
        int USER_END
.execute:
        call [.code]
.invlpg: invlpg [0]
.ldt:   mov eax, 0x17
        mov fs, eax
        int USER_END
        section .data
.code:  dd VIRTUAL
.absent_code: dd VIRTUAL + 0x2000
