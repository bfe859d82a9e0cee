; PAE paging: 4 KiB and 2 MiB pages, NX (Vol. 3A, 4.4).
        %include "test.inc"
PT1 equ ARENA + 0x100000
PAGE_ equ ARENA + 0x200000
VIRTUAL equ 0x40000000                  ; the second PDPT entry
PDE equ PDPT + 0x2000

%macro mapped 2
        mov dword [PT1], %1
        mov dword [PT1 + 4], %2
        invlpg [VIRTUAL]
%endmacro
%macro flush 0
        mov eax, cr3
        mov cr3, eax
%endmacro
        program "paging_pae"
main:   mov edi, PT1
        xor eax, eax
        mov ecx, 1024
        rep stosd
        call paging_pae
        mov dword [PDE], PT1 + P + W + U
        mov dword [PDE + 4], 0
        flush
        mov dword [PAGE_], 0x600d600d
        mov byte [PAGE_ + 0x10], 0xc3
        mov esi, VIRTUAL
        mapped 0, 0
        raises PF, 0, "read of an absent page", mov eax, [esi]
        mapped PAGE_ + P + W + U, 0
        is [esi], 0x600d600d, "a mapped page"
        is [PT1], PAGE_ + P + W + U + A, "A"
        mov [esi], eax
        is [PT1], PAGE_ + P + W + U + A + D, "D"
        is [PDE], PT1 + P + W + U + A, "A of the table"
        ; NX
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        lea ebx, [esi + 0x10]
        mapped PAGE_ + P + W + U, 0
        works "execution", call ebx
        mapped PAGE_ + P + W + U, NX_HIGH
        meets PF, 0x11, "execution with NX", call ebx
        works "read with NX", mov eax, [esi]
        user_raises PF, 0x15, "a user's execution with NX", .execute
        mapped 0, 0
        meets PF, 0x10, "execution of an absent page with NXE", call ebx
        ; 2 MiB
        mov dword [PDE + 8], (ARENA & ~0x1fffff) + P + W + U + PS
        flush
        mov dword [ARENA + 0x1ffffc], 0x2222
        is [esi + 0x3ffffc], 0x2222, "a 2 MiB page"
        ; WP and user rights
        mapped PAGE_ + P + U, 0
        works "WP clear", mov [esi], eax
        mov eax, cr0
        or eax, CR0_WP
        mov cr0, eax
        raises PF, 3, "WP set", mov [esi], eax
        mapped PAGE_ + P, 0
        user_raises PF, 5, "a user's read of a supervisor page", .read
        done
.read:  mov eax, [VIRTUAL]
        int USER_END
.execute: call ebx
        int USER_END
