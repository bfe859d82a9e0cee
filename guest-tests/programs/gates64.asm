; Gates of 64-bit mode: 16-byte gates, stack switches without SS, the interrupt stack table (Vol. 3A, 5.8.3.1, 6.14).
        %include "test.inc"
CALLGATE equ FREE                       ; two slots

; gate64 VECTOR, SELECTOR, OFFSET, IST, ACCESS
%macro gate64 5
        mov eax, %3
        mov [idt64 + 16 * (%1)], ax
        shr eax, 16
        mov [idt64 + 16 * (%1) + 6], ax
        mov dword [idt64 + 16 * (%1) + 2], (%2) | ((%4) << 16) | ((%5) << 24)
%endmacro
%macro callgate64 4                     ; SELECTOR, CODE, OFFSET, ACCESS
        mov eax, %3
        mov [gdt + ((%1) & ~7)], ax
        shr eax, 16
        mov [gdt + ((%1) & ~7) + 6], ax
        mov dword [gdt + ((%1) & ~7) + 2], (%2) | ((%4) << 24)
        mov qword [gdt + ((%1) & ~7) + 8], 0
%endmacro
        program "gates64"
main:   long_mode
        ; An interrupt in ring 0 pushes SS:RSP too, after aligning RSP by 16.
        gate64 0x90, KCODE64, keep, 0, 0xee
        mov rbx, rsp
        and rsp, -16
        sub rsp, 8
        mov rcx, rsp
        int 0x90
        is rsp, rcx, "RSP after IRETQ"
        mov rsp, rbx
        lea rdx, [rcx]
        and rdx, -16
        sub rdx, 40
        is [entry_rsp], rdx, "the frame begins at an aligned address"
        is [entry_frame + 24], rcx, "RSP in the frame"
        is [entry_frame + 32], KDATA, "SS in the frame"
        is [entry_frame + 8], KCODE64, "CS in the frame"
        mov rdx, KDATA
        is [entry_ss], rdx, "SS stays without a privilege change"

        ; The interrupt stack table: a switch without a privilege change.
        gate64 0x90, KCODE64, keep, 1, 0xee
        mov rcx, rsp
        int 0x90
        is [entry_rsp], IST1 - 40, "IST1"
        is [entry_frame + 24], rcx, "RSP in the frame on IST1"
        gate64 0x90, KCODE64, keep, 2, 0xee
        int 0x90
        is [entry_rsp], IST2 - 40, "IST2"
        mov qword [TASKS + 0x4000 + 0x54], IST1 - 8
        gate64 0x90, KCODE64, keep, 7, 0xee
        int 0x90
        is [entry_rsp], IST1 - 16 - 40, "IST7, aligned"

        ; From ring 3: RSP0, a null SS.
        gate64 0x90, KCODE64, keep, 0, 0xee
        user_raises USER_END, 0, "an interrupt in ring 3", .int90
        is [entry_rsp], RING0 - 40, "RSP0"
        is [entry_ss], 0, "SS behind a privilege change"
        is [entry_frame + 8], UCODE64, "CS of ring 3 in the frame"
        is [entry_frame + 24], RING3, "RSP of ring 3 in the frame"
        is [entry_frame + 32], UDATA, "SS of ring 3 in the frame"
        gate64 0x90, KCODE64, keep, 1, 0xee
        user_raises USER_END, 0, "an interrupt in ring 3 with IST", .int90
        is [entry_rsp], IST1 - 40, "IST1 from ring 3"

        ; Gates that are wrong
        gate64 0x90, KCODE64, keep, 0, 0x8e
        user_raises GP, 0x90 * 8 + 2, "INT n through a gate of DPL 0", .int90
        gate64 0x90, KCODE32, keep, 0, 0xee
        raises GP, KCODE32, "an interrupt to a 32-bit segment", int 0x90
        gate64 0x90, KDATA, keep, 0, 0xee
        raises GP, KDATA, "an interrupt to a data segment", int 0x90
        gate64 0x90, KCODE64, keep, 0, 0x6e
        raises NP, 0x90 * 8 + 2, "a gate that is not present", int 0x90
        gate64 0x90, KCODE64, keep, 0, 0xe5
        raises GP, 0x90 * 8 + 2, "a task gate in long mode", int 0x90

        ; IF by interrupt and trap gate
        gate64 0x90, KCODE64, flags, 0, 0xee
        gate64 0x91, KCODE64, flags, 0, 0xef
        sti
        int 0x90
        is rax, 0, "IF behind an interrupt gate"
        int 0x91
        is rax, IF_, "IF behind a trap gate"
        cli

        ; Call gates
        callgate64 CALLGATE, KCODE64, callee, 0xec
        user_raises USER_END, 0, "a call gate from ring 3", .caller
        is [entry_rsp], RING0 - 32, "RSP in the callee"
        is [entry_frame + 8], UCODE64, "CS that the gate pushed"
        is [entry_frame + 16], RING3, "RSP that the gate pushed"
        is [entry_frame + 24], UDATA, "SS that the gate pushed"
        is [entry_ss], 0, "SS in the callee"
        is rbx, RING3, "RSP back in ring 3"
        mov rbx, rsp
        call far dword [pointer]
        is rsp, rbx, "RSP after a call gate in ring 0"
        lea rax, [rbx - 16]
        is [entry_rsp], rax, "RSP in the callee from ring 0"
        callgate64 CALLGATE, KCODE64, callee, 0x6c
        raises NP, CALLGATE, "a call gate that is not present", call far dword [pointer]
        callgate64 CALLGATE, KCODE32, callee, 0xec
        raises GP, KCODE32, "a call gate to a 32-bit segment", call far dword [pointer]
        callgate64 CALLGATE, KCODE64, callee, 0xec
        mov dword [gdt + CALLGATE + 12], 0x100
        raises GP, CALLGATE, "a call gate with a type in its upper half", call far dword [pointer]

        ; IRETQ to ring 0 takes a null SS; to ring 3 it does not.
        xor ecx, ecx
        push rcx
        push rsp
        add qword [rsp], 8
        push 2
        push KCODE64
        push .null_ss
        iretq
.null_ss:
        mov ecx, ss
        is rcx, 0, "SS after IRETQ to ring 0 with a null selector"
        mov ecx, KDATA
        mov ss, ecx
        add rsp, 8
        meets GP, 0, "IRETQ to ring 3 with a null SS", call iret_null_ss
        meets GP, 0, "IRETQ to a non-canonical RIP", call iret_canonical
        meets GP, 0, "IRETQ to the null selector", call iret_null
        ; Compatibility mode at ring 3 and back by an interrupt
        gate64 0x90, KCODE64, keep, 0, 0xee
        try
        push UDATA
        push RING3
        push 2
        push UCODE32
        push .compat
        iretq
        caught
        faulted USER_END, 0, "32-bit code at ring 3"
        is [entry_frame + 8], UCODE32, "CS of 32-bit code in the frame"
        is [entry_rsp], RING0 - 40, "RSP0 from 32-bit code"
        is [last_cs], UCODE32, "CS saved from 32-bit code"
        done
        bits 32
.compat:
        int 0x90
        int USER_END
        bits 64
.int90: int 0x90
        int USER_END
.caller: call far dword [user_pointer]
        mov rbx, rsp
        int USER_END

keep:   push rax
        push rcx
        push rdi
        push rsi
        lea rsi, [rsp + 32]
        mov [entry_rsp], rsi
        mov edi, entry_frame
        mov ecx, 5
        cld
        rep movsq
        xor eax, eax
        mov ax, ss
        mov [entry_ss], rax
        pop rsi
        pop rdi
        pop rcx
        pop rax
        iretq
flags:  pushfq
        pop rax
        and eax, IF_ | TF_ | NT_
        iretq
callee: push rax
        push rcx
        push rdi
        push rsi
        lea rsi, [rsp + 32]
        mov [entry_rsp], rsi
        mov edi, entry_frame
        mov ecx, 4
        cld
        rep movsq
        xor eax, eax
        mov ax, ss
        mov [entry_ss], rax
        pop rsi
        pop rdi
        pop rcx
        pop rax
        o64 retf
iret_null_ss:
        push 0
        push RING3
        push 2
        push UCODE64
        push 0
        iretq
iret_canonical:
        mov rax, 0x8000000000000000
        push KDATA
        push STACK
        push 2
        push KCODE64
        push rax
        iretq
iret_null:
        push KDATA
        push STACK
        push 2
        push 0
        push 0
        iretq
        section .data
entry_rsp: dq 0
entry_ss: dq 0
entry_frame: times 5 dq 0
pointer: dd 0
        dw CALLGATE
user_pointer: dd 0
        dw CALLGATE | 3
