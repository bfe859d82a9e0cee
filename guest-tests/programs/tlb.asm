; What the TLB may keep and what must flush it: global pages, CR3, CR4, INVLPG, PCID, INVPCID (Vol. 3A, 4.10).
        %include "test.inc"
PT1 equ ARENA + 0x102000
PAGE_A equ ARENA + 0x200000
PAGE_B equ ARENA + 0x201000
VIRTUAL equ 0x80000000
%macro to 1                             ; the entry, without any flush
        mov qword [PT1], %1
%endmacro
%macro sees 2
        mov eax, [rsi]
        is rax, %1, %2
%endmacro
        program "tlb"
main:   mov edi, PT1
        xor eax, eax
        mov ecx, 1024
        rep stosd
        mov dword [PAGE_A], 0xaaaa
        mov dword [PAGE_B], 0xbbbb
        long_mode
        mov esi, VIRTUAL
        mov qword [PML4 + 0x2000 + VIRTUAL / 0x200000 * 8], PT1 + P + W + U
        mov rax, cr3
        mov cr3, rax
        ; What is not global goes with MOV CR3.
        to PAGE_A + P + W
        sees 0xaaaa, "the first page"
        to PAGE_B + P + W
        mov rax, cr3
        mov cr3, rax
        sees 0xbbbb, "behind MOV CR3"
        ; Not-present entries are never cached.
        to 0
        invlpg [rsi]
        raises PF, 0, "absent", mov eax, [rsi]
        to PAGE_A + P + W
        sees 0xaaaa, "an entry that becomes present needs no flush"
        ; More rights after a fault need no flush either: the fault itself drops the entry.
        mov rax, cr0
        or eax, CR0_WP
        mov cr0, rax
        to PAGE_A + P
        invlpg [rsi]
        raises PF, 3, "read-only", mov [rsi + 8], eax
        to PAGE_A + P + W
        works "writable again without a flush", mov [rsi + 8], eax
        ; Global pages live through MOV CR3 or do not (a processor may forget), but INVLPG and CR4.PGE drop them.
        mov rax, cr4
        or eax, CR4_PGE
        mov cr4, rax
        to PAGE_A + P + W + G
        invlpg [rsi]
        sees 0xaaaa, "a global page"
        to PAGE_B + P + W + G
        invlpg [rsi]
        sees 0xbbbb, "INVLPG drops a global page"
        to PAGE_A + P + W + G
        mov r8, cr4
        btr r8, 7
        mov cr4, r8
        sees 0xaaaa, "clearing CR4.PGE drops global pages"
        to PAGE_B + P + W + G
        bts r8, 7
        mov cr4, r8
        sees 0xbbbb, "setting CR4.PGE drops all"
        to PAGE_A + P + W
        mov rax, cr0
        btr rax, 16
        mov cr0, rax
        invlpg [rsi]
        sees 0xaaaa, "no global page"
        ; PCID
        mov eax, 1
        cpuid
        bt ecx, 17
        jnc .no_pcid
        ; CR4.PCIDE needs a CR3 with PCID 0.
        mov rax, cr3
        or rax, 5
        mov cr3, rax
        mov rcx, cr4
        or ecx, CR4_PCIDE
        raises GP, 0, "setting CR4.PCIDE with bits 11-0 of CR3 set", mov cr4, rcx
        mov eax, PML4
        mov cr3, rax
        works "setting CR4.PCIDE", mov cr4, rcx
        sees 0xaaaa, "PCID 0"
        mov r8d, PML4 + 1
        mov cr3, r8
        sees 0xaaaa, "PCID 1"
        to PAGE_B + P + W
        mov cr3, r8
        sees 0xbbbb, "MOV CR3 with bit 63 clear drops the PCID's entries"
        mov eax, PML4
        mov cr3, rax
        sees 0xbbbb, "and those of the PCID that comes"
        ; With bit 63 set nothing need be dropped, but INVLPG still works.
        mov rax, (1 << 63) + PML4
        to PAGE_A + P + W
        mov cr3, rax
        invlpg [rsi]
        sees 0xaaaa, "INVLPG behind MOV CR3 with bit 63"
        mov rax, cr3
        is rax, PML4, "bit 63 is not kept"
        ; INVPCID
        mov eax, 7
        xor ecx, ecx
        cpuid
        bt ebx, 10
        jnc .no_invpcid
        mov qword [desc], 0
        mov [desc + 8], rsi
        to PAGE_B + P + W
        xor ecx, ecx
        invpcid rcx, [desc]
        sees 0xbbbb, "INVPCID type 0: an address"
        to PAGE_A + P + W
        inc ecx
        invpcid rcx, [desc]
        sees 0xaaaa, "INVPCID type 1: a context"
        to PAGE_B + P + W + G
        inc ecx
        invpcid rcx, [desc]
        sees 0xbbbb, "INVPCID type 2: everything"
        to PAGE_A + P + W
        invpcid rcx, [desc]
        sees 0xaaaa, "and global pages"
        inc ecx
        to PAGE_B + P + W
        invpcid rcx, [desc]
        sees 0xbbbb, "INVPCID type 3: all but global pages"
        inc ecx
        raises GP, 0, "INVPCID type 4", invpcid rcx, [desc]
        xor ecx, ecx
        mov rax, 0x800000000000
        mov [desc + 8], rax
        raises GP, 0, "INVPCID of a non-canonical address", invpcid rcx, [desc]
        mov qword [desc], 0x1000
        mov [desc + 8], rsi
        raises GP, 0, "INVPCID with reserved bits", invpcid rcx, [desc]
        jmp .end
.no_invpcid:
        skip "INVPCID"
.end:   mov rax, cr4
        and eax, ~CR4_PCIDE
        works "clearing CR4.PCIDE", mov cr4, rax
        done
.no_pcid:
        skip "PCID"
        done
        section .data
        align 16
desc:   dq 0, 0
