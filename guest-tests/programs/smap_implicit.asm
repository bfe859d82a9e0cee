; SMAP: implicit supervisor accesses, here to a descriptor table, fail whatever EFLAGS.AC says (Vol. 3A, 4.6.1).
        %include "test.inc"
PT1 equ ARENA + 0x102000
PAGE_ equ ARENA + 0x200000
VIRTUAL equ 0x80000000
%macro mapped 1
        mov rax, %1
        mov [PT1], rax
        invlpg [rsi]
%endmacro
        program "smap_implicit"
main:   mov edi, PT1
        xor eax, eax
        mov ecx, 1024
        rep stosd
        long_mode
        ; What the kernel uses must not be a user's page now.
        mov esi, VIRTUAL
        mov qword [PML4 + 0x2000 + VIRTUAL / 0x200000 * 8], PT1 + P + W + U
        mov edi, PML4 + 0x2000
        mov ecx, 512
.super: and byte [rdi], ~U
        add rdi, 8
        dec ecx
        jnz .super
        mov rax, cr3
        mov cr3, rax
        mov eax, 7
        xor ecx, ecx
        cpuid
        bt ebx, 20
        jnc .no_smap
        mov rax, cr4
        or eax, CR4_SMAP
        mov cr4, rax
        ; Implicit supervisor accesses ignore AC: a descriptor table on a user page.
        mov rcx, [gdt + KDATA]
        mov [PAGE_ + 8], rcx
        mapped PAGE_ + P + W + U
        mov dword [gdt + FREE], (VIRTUAL << 16) & 0xffffffff | 0xfff
        mov dword [gdt + FREE + 4], VIRTUAL & 0xff000000 | 0x8200
        mov qword [gdt + FREE + 8], 0
        mov eax, FREE
        lldt ax
        mov eax, 8 + 4
        try
        stac
        mov fs, eax
        caught
        clac
        faulted PF, 1, "a descriptor on a user page with SMAP and AC"
        lea rdx, [rsi + 8]
        is [last_cr2], rdx, "CR2 of that"
        done
.no_smap:
        skip "SMAP"
        done
