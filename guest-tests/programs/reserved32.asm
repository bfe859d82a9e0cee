; 32-bit and PAE paging: reserved bits set bits 3 and 0 of the error code (Vol. 3A, 4.3, 4.7); the PDPTE registers (4.4.1).
        %include "test.inc"
TABLE equ ARENA + 0x100000              ; maps VIRTUAL, 4 MiB
PAGE_ equ ARENA + 0x200000              ; what the entries point to
VIRTUAL equ 0x40000000
PDE equ PD32 + VIRTUAL / 0x400000 * 4

; mapped ENTRY: the first page of VIRTUAL, nothing cached
%macro mapped_pae 2
        mov dword [TABLE], %1
        mov dword [TABLE + 4], %2
        invlpg [VIRTUAL]
%endmacro
%macro mapped 1
        mov dword [TABLE], %1
        invlpg [VIRTUAL]
%endmacro
%macro flush 0
        mov eax, cr3
        mov cr3, eax
%endmacro
        program "reserved32"
main:   mov edi, TABLE
        xor eax, eax
        mov ecx, 1024
        rep stosd
        call paging32
        mov dword [PDE], TABLE + P + W + U
        mov esi, VIRTUAL
        mov dword [PDE + 4], (ARENA & 0xffc00000) + P + W + U + PS + 0x200000
        mov eax, cr3
        mov cr3, eax
        raises PF, 9, "a reserved bit of a 4 MiB page, read", mov eax, [esi + 0x400000]
        raises PF, 0xb, "the same, written", mov [esi + 0x400000], eax
        mov dword [PDE + 4], (ARENA & 0xffc00000) + W + U + PS + 0x200000
        raises PF, 0, "not present before reserved bits", mov eax, [esi + 0x400000]
        mov eax, cr0
        btr eax, 31
        mov cr0, eax
        call paging_pae
        mov dword [PDPT + 0x2000], TABLE + P + W + U
        mov dword [PDPT + 0x2004], 0
        flush
        mapped_pae PAGE_ + P + W + U, 0
        mov eax, [esi]
        ; No protection by PDPT entries, and no A: these hold only P and address.
        is [PDPT + 8], PDPT + 0x2000 + P, "a PDPT entry keeps its value"
        ; The PDPTE registers are loaded by MOV CR3: a change in memory waits for it.
        mov dword [PDPT + 8], 0
        invlpg [esi]
        works "the PDPTE register holds", mov eax, [esi]
        flush
        raises PF, 0, "an absent PDPT entry", mov eax, [esi]
        mov dword [PDPT + 8], PDPT + 0x2000 + P + 2
        mov eax, cr3
        raises GP, 0, "MOV CR3 with a reserved bit in a PDPT entry", mov cr3, eax
        mov dword [PDPT + 8], PDPT + 0x2000 + P
        flush
        mapped_pae PAGE_ + P + W + U, 0x40000000
        raises PF, 9, "a reserved bit", mov eax, [esi]
        mov dword [PDPT + 0x2000 + 8], (ARENA & ~0x1fffff) + P + W + U + PS + 0x2000
        flush
        raises PF, 9, "a reserved bit of a 2 MiB page", mov eax, [esi + 0x200000]
        done
