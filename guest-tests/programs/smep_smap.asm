; SMEP and SMAP: supervisor accesses to user pages (Vol. 3A, 4.6), STAC, CLAC; UMIP beside them.
        %include "test.inc"
PT1 equ ARENA + 0x102000
PAGE_ equ ARENA + 0x200000
VIRTUAL equ 0x80000000
%macro mapped 1
        mov rax, %1
        mov [PT1], rax
        invlpg [rsi]
%endmacro
        program "smep_smap"
main:   mov edi, PT1
        xor eax, eax
        mov ecx, 1024
        rep stosd
        long_mode
        ; What the kernel uses must not be a user's page now: the first GiB is the supervisor's, but for the page of user code.
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
        mov byte [PAGE_ + 0x10], 0xc3
        lea rbx, [rsi + 0x10]
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov ebp, ebx
        lea rbx, [rsi + 0x10]
        mapped PAGE_ + P + W + U
        ; SMEP
        bt ebp, 7
        jnc .no_smep
        works "ring 0 executes a user page with SMEP clear", call rbx
        mov rax, cr4
        or eax, CR4_SMEP
        mov cr4, rax
        meets PF, 0x11, "ring 0 executes a user page with SMEP set", call rbx
        is [last_ip], rbx, "RIP of that"
        is [last_cr2], rbx, "CR2 of that"
        works "SMEP lets reads pass", mov eax, [rsi]
        mapped PAGE_ + P + W
        works "SMEP lets a supervisor page pass", call rbx
        mapped 0
        meets PF, 0x10, "bit 4 for a fetch with SMEP and without NXE", call rbx
        mapped PAGE_ + P + W + U
        jmp .smap
.no_smep:
        skip "SMEP"
.smap:  bt ebp, 20
        jnc .no_smap
        mov rax, cr4
        or eax, CR4_SMAP
        mov cr4, rax
        clac
        raises PF, 1, "ring 0 reads a user page with SMAP", mov eax, [rsi]
        raises PF, 3, "ring 0 writes a user page with SMAP", mov [rsi + 8], eax
        try
        stac
        mov eax, [rsi]
        mov [rsi + 8], eax
        clac
        caught
        mov eax, [last_vector]
        mov ecx, 0xffffffff
        is rax, rcx, "between STAC and CLAC"
        raises PF, 1, "behind CLAC", mov eax, [rsi]
        mapped PAGE_ + P + W
        works "SMAP lets a supervisor page pass", mov eax, [rsi]
        mapped PAGE_ + P + W + U
        ; EFLAGS.AC by POPF; interrupts clear nothing but save it.
        try
        stac
        int 0x85
        caught
        mov rax, [last_flags]
        and eax, AC_
        is rax, AC_, "AC in the saved flags"
        ; STAC is for ring 0.
        mov dword [PAGE_ + 0x20], 0xcb010f                ; STAC
        lea rdx, [rsi + 0x20]
        user_raises UD, 0, "STAC in ring 3", rdx
        jmp .umip
.no_smap:
        skip "SMAP"
.umip:  mov eax, 7
        xor ecx, ecx
        cpuid
        bt ecx, 2
        jnc .no_umip
        mov rax, cr4
        or eax, CR4_UMIP
        mov cr4, rax
        mov rax, cr4
        btr rax, 21
        mov cr4, rax
        mov dword [PAGE_ + 0x30], 0xcde0010f    ; SMSW EAX; INT
        mov byte [PAGE_ + 0x34], USER_END
        mov dword [PAGE_ + 0x40], 0xcdc8000f    ; STR EAX; INT
        mov byte [PAGE_ + 0x44], USER_END
        lea rdx, [rsi + 0x30]
        user_raises GP, 0, "SMSW in ring 3 with UMIP", rdx
        lea rdx, [rsi + 0x40]
        user_raises GP, 0, "STR in ring 3 with UMIP", rdx
        mov rax, cr4
        btr rax, 11
        mov cr4, rax
        user_raises USER_END, 0, "STR in ring 3 without UMIP", rdx
        done
.no_umip:
        skip "UMIP"
        done
