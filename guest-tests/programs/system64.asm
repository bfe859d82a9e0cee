; System instructions of 64-bit mode: CR8, descriptor tables and 16-byte descriptors, segments that are mostly ignored, far transfers,
; stack frames (Vol. 2; Vol. 3A, 3.4.4, 5.2.1, 10.8.6).
        %include "test.inc"
        program "system64"
main:   long_mode
        ; CR8 is TPR bits 7-4.
        mov eax, 5
        mov cr8, rax
        mov edi, 0xfee00080
        mov ecx, [rdi]
        is rcx, 0x50, "TPR behind MOV to CR8"
        mov dword [rdi], 0x7f
        mov rax, cr8
        is rax, 7, "CR8 behind a write to TPR"
        xor eax, eax
        mov cr8, rax
        user_raises GP, 0, "CR8 in ring 3", .cr8
        ; SGDT and SIDT store 10 bytes.
        mov qword [buffer], -1
        mov qword [buffer + 8], -1
        sgdt [buffer]
        is [buffer + 2], gdt, "SGDT: base"
        movzx eax, word [buffer + 10]
        is rax, 0xffff, "SGDT stores 10 bytes"
        sidt [buffer]
        is [buffer + 2], idt64, "SIDT: base"
        ; LLDT and LTR read 16 bytes.
        mov dword [gdt + FREE], 0x0000000f | ((ARENA & 0xffff) << 16)
        mov dword [gdt + FREE + 4], (ARENA >> 16) | 0x8200
        mov qword [gdt + FREE + 8], 0
        mov eax, FREE
        works "LLDT of 16 bytes", lldt ax
        mov rax, 0x00cf93000000ffff
        mov [ARENA + 8], rax
        mov eax, 12
        works "a selector of the LDT", mov fs, eax
        mov dword [gdt + FREE + 8], 0x00008000
        mov eax, FREE
        raises GP, FREE, "LLDT with a non-canonical base", lldt ax
        mov dword [gdt + FREE + 8], 0
        ; A null selector in SS is fine in ring 0, and DS, ES may hold anything valid; limits do not count.
        xor eax, eax
        works "a null SS in ring 0", mov ss, eax
        works "a push with a null SS", push rax
        pop rax
        mov eax, 3
        raises GP, 0, "a null SS with RPL 3 in ring 0", mov ss, eax
        mov eax, KDATA
        mov ss, eax
        xor eax, eax
        mov ds, eax
        mov es, eax
        works "data through a null DS", mov ebx, [buffer]
        mov eax, 0x1f8
        raises GP, 0x1f8, "an empty descriptor in DS", mov ds, eax
        descriptor FREE + 0x10, 0x1000, 0xf, 0x93, 0
        mov eax, FREE + 0x10
        mov fs, eax
        works "limits do not count", mov ebx, [fs:0x100000]
        mov ds, eax
        mov dword [ARENA + 0x20], 0x1234
        db 0x3e                         ; DS
        mov ebx, [ARENA + 0x20]
        is rbx, 0x1234, "the base of DS is 0"
        mov ebx, [fs:ARENA + 0x20 - 0x1000]
        is rbx, 0x1234, "the base of FS counts"
        mov eax, KDATA
        mov ds, eax
        xor eax, eax
        mov fs, eax
        ; Code segments: L and D both set is no code segment.
        descriptor FREE + 0x10, 0, 0xfffff, 0x9b, 0xe
        push FREE + 0x10
        push .here
        raises GP, FREE + 0x10, "RETF to a segment with L and D", o64 retf
        add rsp, 16
.here:  push KCODE64
        push .far
        o64 retf
        flunk "RETF"
.far:   mov dword [pointer], .farther
        mov word [pointer + 4], KCODE64
        jmp far dword [pointer]
        flunk "a far jump through m16:32"
.farther:
        mov rax, .farthest
        mov [pointer], rax
        mov word [pointer + 8], KCODE64
        o64 jmp far [pointer]
        flunk "a far jump through m16:64"
.farthest:
        ; 64-bit stack frames
        mov rbx, rsp
        mov rbp, 0x1122
        enter 32, 0
        lea rcx, [rbx - 8]
        is rbp, rcx, "RBP behind ENTER"
        lea rcx, [rbx - 40]
        is rsp, rcx, "RSP behind ENTER"
        leave
        is rsp, rbx, "RSP behind LEAVE"
        is rbp, 0x1122, "RBP behind LEAVE"
        push rsp
        pop rcx
        is rcx, rbx, "PUSH RSP pushes the old value"
        mov rcx, rsp
        sub rsp, 8
        mov qword [rsp], 0x77
        pop qword [rsp]
        is [rsp], 0x77, "POP [RSP] takes RSP behind the increment"
        mov rsp, rbx
        mov rax, 0x123456789abc
        mov cr2, rax
        mov rcx, cr2
        is rcx, rax, "CR2 holds 64 bits"
        ; LAR and LSL of a 16-byte descriptor
        mov ecx, TSS64
        lsl eax, ecx
        is rax, 0x2068, "LSL of the TSS"
        lar eax, ecx
        is rax, 0x8b00, "LAR of the TSS"
        mov ecx, UCODE64
        lar eax, ecx
        mov ecx, 0xa0fb00
        and eax, 0xf0ff00               ; the limit's bits are undefined
        is rax, rcx, "LAR of user code"
        ; SMSW, LMSW: PE cannot be cleared.
        smsw rax
        mov rcx, cr0
        is rax, rcx, "SMSW with REX.W"
        xor eax, eax
        works "LMSW", lmsw ax
        mov rax, cr0
        and eax, CR0_PE | CR0_PG
        mov ecx, CR0_PE | CR0_PG
        is rax, rcx, "PE and PG behind LMSW"
        ; Undefined in 64-bit mode
        raises UD, 0, "PUSH ES", db 0x06
        raises UD, 0, "DAA", db 0x27
        raises UD, 0, "POPA", db 0x61
        raises UD, 0, "82", db 0x82, 0xc0, 1
        raises UD, 0, "SALC", db 0xd6
        raises UD, 0, "far CALL", db 0x9a
        raises UD, 0, "AAM", db 0xd4, 10
        raises UD, 0, "UD0", db 0x0f, 0xff, 0xc0
        raises UD, 0, "UD1", db 0x0f, 0xb9, 0xc0
        done
.cr8:   mov rax, cr8
        section .data
        align 16
buffer: dq 0, 0
pointer: dq 0, 0
