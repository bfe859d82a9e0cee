; REP string instructions are interrupted between iterations, by faults and by interrupts, with ECX, ESI, EDI at the iteration to come
; (Vol. 2B, REP); direction, widths, counts of 0, address size.
        %include "test.inc"
PT1 equ ARENA + 0x102000                ; VIRTUAL: page 0 and 2 present, page 1 as each test has it
FRAMES equ ARENA + 0x200000
VIRTUAL equ 0x80000000
%macro second 1
        mov qword [PT1 + 8], %1
        invlpg [r15 + 0x1000]
%endmacro
        program "rep"
main:   mov edi, PT1
        xor eax, eax
        mov ecx, 1024
        rep stosd
        long_mode
        mov r15d, VIRTUAL
        mov qword [PML4 + 0x2000 + VIRTUAL / 0x200000 * 8], PT1 + P + W + U
        mov qword [PT1], FRAMES + P + W + U
        mov qword [PT1 + 16], FRAMES + 0x2000 + P + W + U
        mov rax, cr3
        mov cr3, rax
        ; STOSB into an absent page: 16 bytes are written, 16 remain.
        second 0
        lea rdi, [r15 + 0xff0]
        mov ecx, 32
        mov al, 0xa5
        try
.stosb: rep stosb
        caught
        faulted PF, 2, "REP STOSB into an absent page"
        is rcx, 16, "REP STOSB: RCX at the fault"
        lea rbx, [r15 + 0x1000]
        is rdi, rbx, "REP STOSB: RDI at the fault"
        is [last_cr2], rbx, "REP STOSB: CR2"
        is [last_ip], .stosb, "REP STOSB: RIP"
        mov rdx, 0xa5a5a5a5a5a5a5a5
        is [FRAMES + 0xff8], rdx, "REP STOSB: what was written"
        ; Restarted behind the page's arrival
        second FRAMES + 0x1000 + P + W + U
        rep stosb
        is rcx, 0, "REP STOSB: the rest"
        is [FRAMES + 0x1008], rdx, "REP STOSB: the rest written"
        ; STOSQ that would straddle: the iteration that straddles has no effect at all.
        second 0
        lea rdi, [r15 + 0xfec]
        mov ecx, 4
        mov rax, 0x1122334455667788
        try
        rep stosq
        caught
        faulted PF, 2, "REP STOSQ over a page's end"
        is rcx, 2, "REP STOSQ: RCX"
        lea rbx, [r15 + 0xffc]
        is rdi, rbx, "REP STOSQ: RDI"
        mov eax, [FRAMES + 0xffc]
        mov ecx, 0xa5a5a5a5
        is rax, rcx, "REP STOSQ: nothing of the one that faults"
        ; MOVSB: a source fault, and a destination fault
        second 0
        lea rsi, [r15 + 0xffa]
        mov edi, ARENA
        mov ecx, 10
        try
        rep movsb
        caught
        faulted PF, 0, "REP MOVSB from an absent page"
        is rcx, 4, "REP MOVSB: RCX at a source fault"
        is rdi, ARENA + 6, "REP MOVSB: RDI at a source fault"
        mov esi, ARENA
        lea rdi, [r15 + 0xff8]
        mov ecx, 3
        try
        rep movsd
        caught
        faulted PF, 2, "REP MOVSD into an absent page"
        is rcx, 1, "REP MOVSD: RCX at a destination fault"
        is rsi, ARENA + 8, "REP MOVSD: RSI at a destination fault"
        ; Backwards
        std
        lea rdi, [r15 + 0x2003]
        mov ecx, 10
        mov al, 0x77
        try
        rep stosb
        caught
        faulted PF, 2, "REP STOSB downwards into an absent page"
        mov rax, [last_flags]
        and eax, DF_
        is rax, DF_, "DF saved"
        is rcx, 6, "REP STOSB downwards: RCX"
        lea rbx, [r15 + 0x1fff]
        is rdi, rbx, "REP STOSB downwards: RDI"
        cld
        mov eax, [FRAMES + 0x2000]
        is rax, 0x77777777, "REP STOSB downwards: what was written"
        ; CMPSB and SCASB: flags are those of the last iteration that ended.
        second 0
        lea rdi, [r15 + 0xff0]
        mov ecx, 16
        mov al, 0x42
        rep stosb
        lea rdi, [r15 + 0xff0]
        mov ecx, 32
        cmp al, al                      ; ZF
        try
        repe scasb
        caught
        faulted PF, 0, "REPE SCASB into an absent page"
        is rcx, 16, "REPE SCASB: RCX"
        lea rsi, [r15 + 0xffc]
        mov edi, ARENA
        mov dword [ARENA], 0x42424242
        mov ecx, 8
        try
        repe cmpsb
        caught
        faulted PF, 0, "REPE CMPSB into an absent page"
        is rcx, 4, "REPE CMPSB: RCX"
        is rdi, ARENA + 4, "REPE CMPSB: RDI"
        ; LODS, counts of zero, address size
        lea rsi, [r15 + 0xffe]
        mov ecx, 4
        try
        rep lodsb
        caught
        is rcx, 2, "REP LODSB: RCX"
        mov rdi, 0x800000000000
        xor ecx, ecx
        works "a count of zero touches nothing", rep stosb
        mov rcx, 0x100000000
        mov edi, ARENA
        works "a count of zero by the address size", a32 rep stosb
        mov rax, 0x100000000
        is rcx, rax, "that count stays"
        mov rdi, 0x1200000000 + ARENA
        mov ecx, 4
        mov al, 1
        a32 rep stosb
        is rdi, ARENA + 4, "EDI is zero-extended"
        ; Overlap: MOVSB one byte up spreads the first byte.
        mov byte [ARENA], 0x5a
        mov esi, ARENA
        mov edi, ARENA + 1
        mov ecx, 15
        rep movsb
        mov rax, 0x5a5a5a5a5a5a5a5a
        is [ARENA + 8], rax, "overlapping REP MOVSB"
        mov rdx, 0x0807060504030201
        mov [ARENA], rdx
        mov qword [ARENA + 8], 0
        mov esi, ARENA
        mov edi, ARENA + 4
        mov ecx, 3
        rep movsd
        mov rax, 0x0403020104030201
        is [ARENA + 8], rax, "overlapping REP MOVSD"
        std
        mov [ARENA], rdx
        mov esi, ARENA + 7
        mov edi, ARENA + 9
        mov ecx, 8
        rep movsb
        cld
        is [ARENA + 2], rdx, "overlapping REP MOVSB downwards"
        ; Interrupts in the middle: the PIT fires while REP STOSB fills 32 MiB, and the fill is whole at the end.
        mov al, 0x11
        out 0x20, al
        mov al, 0x20
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0xfe
        out 0x21, al
        mov al, 0x34
        out 0x43, al
        mov al, 0xa9                    ; 1000 Hz
        out 0x40, al
        mov al, 4
        out 0x40, al
        hook 0x20, tick
        sti
        mov r12d, 2000                  ; tries at most
.fill:  mov edi, 0x1000000
        mov ecx, 0x2000000
        mov al, r12b
        rep stosb
        is rcx, 0, "RCX behind the fill"
        cmp dword [inside], 0
        jne .seen
        dec r12d
        jnz .fill
        flunk "no interrupt ever came inside REP STOSB"
.seen:  cli
        is rdi, 0x3000000, "RDI behind the fill"
        mov edi, 0x1000000
        mov ecx, 0x2000000
        repe scasb
        is rcx, 0, "all bytes were written"
        mov rax, [count]
        add rax, [place]
        is rax, 0x3000000, "RCX and RDI in the handler agree"
        done
tick:   mov al, 0x20
        out 0x20, al
        mov rax, [rbp + F64_IP]
        cmp word [rax], 0xaaf3
        jne .not
        mov dword [inside], 1
        mov rax, [rbp + 104]            ; RCX
        mov [count], rax
        mov rax, [rbp + 64]             ; RDI
        mov [place], rax
.not:   ret
        section .data
inside: dq 0
count:  dq 0
place:  dq 0
