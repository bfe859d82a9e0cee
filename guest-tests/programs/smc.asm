; Self-modifying and cross-modifying code (Vol. 3A, 11.6, 8.1.3): the next instruction, the same block, another page, through another
; linear address, by string instructions, over a page's end, and pages that are mapped anew.
        %include "test.inc"
CODE_ equ ARENA
OTHER equ ARENA + 0x1000
ALIAS equ 0x80000000
; put ADDRESS, BYTES...: code
%macro put 2+
        mov edi, %1
        mov esi, %%code
        mov ecx, %%end - %%code
        rep movsb
        jmp %%end
%%code: %2
%%end:
%endmacro
        program "smc"
main:   ; Straight in front of the instruction pointer: MOV EAX, imm32 whose operand the instruction before writes.
        mov dword [.imm + 1], 0x2222
.imm:   mov eax, 0x1111
        is eax, 0x2222, "the next instruction"
        ; In a loop: each turn adds another number.
        xor eax, eax
        mov ecx, 100
.loop:  add eax, 1
.operand equ $ - 1
        inc byte [.operand]
        dec ecx
        jnz .loop
        ; The loop's immediate is a signed byte: 1 + ... + 100.
        is eax, 5050, "a loop that changes itself"
        ; An opcode: INC EBX becomes DEC EBX behind the write and before it.
        mov ebx, 10
        mov byte [.opcode], 0x4b
.opcode: inc ebx
        is ebx, 9, "an opcode"
        ; A subroutine on another page, run often, then changed.
        put CODE_, db 0xb8, 1, 0, 0, 0, 0xc3            ; MOV EAX, 1; RET
        mov ebp, 2000
        xor edx, edx
.warm:  mov ecx, CODE_
        call ecx
        add edx, eax
        dec ebp
        jnz .warm
        is edx, 2000, "a subroutine on another page"
        mov dword [CODE_ + 1], 2
        mov ecx, CODE_
        call ecx
        is eax, 2, "changed by a double word"
        mov byte [CODE_ + 1], 3
        call ecx
        is eax, 3, "changed by a byte"
        lock inc dword [CODE_ + 1]
        call ecx
        is eax, 4, "changed by LOCK INC"
        mov eax, 4
        mov ebx, 5
        cmpxchg [CODE_ + 1], ebx
        call ecx
        is eax, 5, "changed by CMPXCHG"
        mov eax, 6
        mov edi, CODE_ + 1
        stosb
        call ecx
        is eax, 6, "changed by STOSB"
        push dword 7
        mov ebx, esp
        mov esp, CODE_ + 5
        push dword 7
        mov esp, ebx
        add esp, 4
        call ecx
        is eax, 7, "changed by PUSH"
        fninit
        fild dword [.eight]
        fistp dword [CODE_ + 1]
        call ecx
        is eax, 8, "changed by FISTP"
        ; REP MOVSB and REP STOSB over code
        put CODE_, db 0xb8, 9, 0, 0, 0, 0xc3
        mov ecx, CODE_
        call ecx
        is eax, 9, "changed by REP MOVSB"
        mov edi, CODE_
        mov ecx, 0x400
        mov eax, 0xc3c3c3c3
        rep stosd
        mov ecx, CODE_
        mov eax, 77
        call ecx
        is eax, 77, "REP STOSD over code"
        ; REP STOSB over itself: the instruction goes on to its end, what follows is new.
        mov edi, .over
        mov ecx, 6
        mov al, 0x90
        mov ebx, 5
        rep stosb
.over:  inc ebx
        inc ebx
        inc ebx
        inc ebx
        inc ebx
        inc ebx
        is ebx, 5, "REP STOSB over what follows it"
        ; An instruction that crosses into the next page: only the second page is written.
        put OTHER - 2, db 0xb8, 1, 0, 0, 0, 0xc3
        mov ecx, OTHER - 2
        call ecx
        is eax, 1, "an instruction over a page's end"
        mov byte [OTHER], 0x55
        call ecx
        is eax, 0x5501, "its second page changed"
        mov byte [OTHER - 1], 2
        call ecx
        is eax, 0x5502, "its first page changed"
        ; Data and code on one page: writes to the data leave the code as it is.
        put CODE_, db 0xff, 0x05, 0x00, 0x08, 0x40, 0x00, 0xc3  ; INC DWORD [CODE_ + 800h]; RET
        mov dword [CODE_ + 0x800], 0
        mov edx, 1000
        mov ecx, CODE_
.data:  call ecx
        dec edx
        jnz .data
        is [CODE_ + 0x800], 1000, "data beside code"

        ; Under paging: the same page at another address, and another page at the same address.
        long_mode
        ; The table of 2 MiB pages gets one of 4 KiB pages at ALIAS.
        mov edi, ARENA + 0x10000
        xor eax, eax
        mov ecx, 512
        rep stosq
        mov qword [PML4 + 0x2000 + ALIAS / 0x200000 * 8], ARENA + 0x10000 + P + W + U
        mov qword [ARENA + 0x10000], CODE_ + P + W + U
        mov rax, cr3
        mov cr3, rax
        put CODE_, db 0xb8, 1, 0, 0, 0, 0xc3
        put OTHER, db 0xb8, 0x11, 0, 0, 0, 0xc3
        mov ecx, CODE_
        mov ebx, ALIAS
        call rcx
        is rax, 1, "before a write through an alias"
        mov dword [rbx + 1], 2
        call rcx
        is rax, 2, "a write through an alias"
        call rbx
        is rax, 2, "execution through the alias"
        mov dword [rcx + 1], 3
        call rbx
        is rax, 3, "a write through the first address, execution through the alias"
        mov qword [ARENA + 0x10000], OTHER + P + W + U
        invlpg [rbx]
        call rbx
        is rax, 0x11, "another page at the same address"
        mov qword [ARENA + 0x10000], CODE_ + P + W + U
        invlpg [rbx]
        call rbx
        is rax, 3, "the first page again"
        ; A write that faults half way changes nothing that runs.
        mov qword [ARENA + 0x10008], 0
        mov rdi, ALIAS + 0xffc
        invlpg [rdi + 4]
        mov byte [CODE_ + 0xffc], 0xc3
        lea rdx, [rbx + 0xffc]
        call rdx
        mov rax, 0x9090909090909090
        raises PF, 2, "a write of which half faults", mov [rdi], rax
        call rdx
        ; Often
        mov r8d, 3000
        xor r9d, r9d
.many:  mov [CODE_ + 1], r8d
        mov ecx, CODE_
        call rcx
        add r9, rax
        dec r8d
        jnz .many
        is r9, 4501500, "3000 rewrites"
        done
        section .data
.eight: dd 8
