; Instruction fetch: over page ends, into absent and forbidden pages, instructions of 15 and 16 bytes, from memory that changes its mapping,
; faults at the second instruction of a page and behind a jump (Vol. 3A, 4.7; Vol. 2A, 2.3.11).
        %include "test.inc"
PT1 equ ARENA + 0x102000
FRAMES equ ARENA + 0x200000
VIRTUAL equ 0x80000000
%macro second 1                         ; the entry of the second page
        mov rax, %1
        mov [PT1 + 8], rax
        invlpg [r15 + 0x1000]
%endmacro
%macro bytes 2+                         ; AT, bytes...: code at that offset of the frames
        mov edi, FRAMES + (%1)
        mov esi, %%code
        mov ecx, %%end - %%code
        rep movsb
        jmp %%end
%%code: db %2
%%end:
%endmacro
%macro at_ 2                            ; last_ip is that offset
        lea rax, [r15 + (%1)]
        is [last_ip], rax, %2
%endmacro
        program "fetch"
main:   mov edi, PT1
        xor eax, eax
        mov ecx, 1024
        rep stosd
        long_mode
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        mov r15d, VIRTUAL
        mov qword [PML4 + 0x2000 + VIRTUAL / 0x200000 * 8], PT1 + P + W + U
        mov qword [PT1], FRAMES + P + W + U
        mov rax, cr3
        mov cr3, rax
        ; MOV EAX, imm32 of which two bytes are on the second page
        bytes 0xffd, 0xb8, 0x11, 0x22, 0x33, 0x44, 0xc3
        lea rbx, [r15 + 0xffd]
        second 0
        meets PF, 0x10, "an instruction whose end is absent", call rbx
        at_ 0xffd, "RIP at its start"
        lea rcx, [r15 + 0x1000]
        is [last_cr2], rcx, "CR2 at the second page"
        second FRAMES + 0x1000 + P + W + U + (1 << 63)
        meets PF, 0x11, "an instruction whose end may not be executed", call rbx
        is [last_cr2], rcx, "CR2 of that"
        second FRAMES + 0x1000 + P + W + U
        works "the whole instruction", call rbx
        call rbx
        is rax, 0x44332211, "its value"
        ; The second page becomes another frame: the second half is fetched anew.
        mov byte [FRAMES + 0x2000], 0x55
        mov byte [FRAMES + 0x2001], 0x66
        mov byte [FRAMES + 0x2002], 0xc3
        second FRAMES + 0x2000 + P + W + U
        call rbx
        is rax, 0x66552211, "the second page mapped anew"
        second 0
        meets PF, 0x10, "and taken away", call rbx
        ; Straight-line code that runs off a page: what comes before the end is executed.
        bytes 0xffc, 0xff, 0xc0, 0xff, 0xc0             ; INC EAX twice
        lea rbx, [r15 + 0xffc]
        xor eax, eax
        try
        call rbx
        caught
        faulted PF, 0x10, "running off a page"
        is rax, 2, "both instructions before it ran"
        at_ 0x1000, "RIP at the second page"
        ; The same with the page there, then gone, many times: a translation must not outlive its mapping.
        mov word [FRAMES + 0x1000], 0xc3c3
        xor r12d, r12d
        mov r13d, 200
.turns: second FRAMES + 0x1000 + P + W + U
        xor eax, eax
        call rbx
        add r12d, eax
        second 0
        try
        call rbx
        caught
        cmp dword [last_vector], PF
        jne .bad
        dec r13d
        jnz .turns
.bad:   is r13, 0, "the page there and gone"
        is r12, 400, "what ran meanwhile"
        ; Length: 15 bytes are allowed, 16 are not.
        second FRAMES + 0x1000 + P + W + U
        lea rbx, [r15 + 0x100]
        bytes 0x100, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90, 0xc3
        works "15 bytes", call rbx
        bytes 0x100, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90, 0xc3
        meets GP, 0, "16 bytes", call rbx
        at_ 0x100, "RIP of 16 bytes"
        bytes 0xff1, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66
        second 0
        lea rbx, [r15 + 0xff2]
        meets PF, 0x10, "14 prefixes at the end of a page", call rbx
        ; A fault in the middle of a block: registers are those of the instructions before.
        bytes 0x200, 0xff, 0xc0, 0xff, 0xc0, 0x8b, 0x0b, 0xff, 0xc0, 0xc3   ; INC EAX; INC EAX; MOV ECX, [RBX]; INC EAX; RET
        lea rdx, [r15 + 0x200]
        lea rbx, [r15 + 0x1000]
        mov r13d, 100
        xor r12d, r12d
.blocks: xor eax, eax
        try
        call rdx
        caught
        add r12d, eax
        dec r13d
        jnz .blocks
        is r12, 200, "two of three INCs each time"
        at_ 0x204, "RIP in the middle of a block"
        ; A branch to itself, and one to the last byte of a page
        bytes 0xfff, 0xc3
        lea rbx, [r15 + 0xfff]
        works "RET as a page's last byte", call rbx
        ; User code loses its page.
        bytes 0x300, 0xcd, USER_END
        lea rbx, [r15 + 0x300]
        user_raises USER_END, 0, "user code", rbx
        mov qword [PT1], FRAMES + P + W
        invlpg [r15]
        user_raises PF, 0x15, "user code on a supervisor page", rbx
        mov qword [PT1], FRAMES + P + W + U
        invlpg [r15]
        user_raises USER_END, 0, "and again", rbx
        done
