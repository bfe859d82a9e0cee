; The hardware task switch: JMP, CALL, IRET, interrupts through task gates, busy bits, links, faults (Vol. 3A, chapter 7).
        %include "test.inc"
TASK_A equ TSS32                        ; the program's own
TASK_B equ FREE
TASKGATE equ FREE + 8
NARROW equ FREE + 0x10                  ; a 16-bit TSS
FAULTS equ FREE + 0x18                 ; the task of #TS
A_ equ TASKS
B_ equ ARENA
C_ equ ARENA + 0x1000
D_ equ ARENA + 0x2000
; Offsets in a 32-bit TSS (figure 7-2)
LINK equ 0
T_CR3 equ 0x1c
T_EIP equ 0x20
T_FLAGS equ 0x24
T_EAX equ 0x28
T_ESP equ 0x38
T_ES equ 0x48
T_CS equ 0x4c
T_SS equ 0x50
T_DS equ 0x54
T_FS equ 0x58
T_GS equ 0x5c
T_LDT equ 0x60
T_TRAP equ 0x64

; busy SELECTOR: the access byte of a descriptor, in EAX
%macro access 1
        movzx eax, byte [gdt + (%1) + 5]
%endmacro
%macro fresh 1                          ; task B, about to run %1
        mov edi, B_
        mov ecx, 0x68 / 4
        xor eax, eax
        rep stosd
        mov dword [B_ + T_EIP], %1
        mov dword [B_ + T_FLAGS], 2
        mov dword [B_ + T_ESP], ARENA + 0x8000
        mov dword [B_ + T_CS], KCODE32
        mov dword [B_ + T_SS], KDATA
        mov dword [B_ + T_DS], KDATA
        mov dword [B_ + T_ES], KDATA
        mov dword [B_ + T_EAX], 0xb0b0b0b0
        mov word [B_ + 0x66], 0x68
        descriptor TASK_B, B_, 0x67, 0x89, 0
%endmacro
; refused FIELD, SELECTOR, "what": the switch to task B with that field ends in a fault with that selector, in B.
%macro refused 3
        fresh task_call
        mov dword [B_ + (%1)], %2
        call TASK_B:0
        is [fault_error], %2, {%3, ": error code"}
        is [fault_link], TASK_B, {%3, ": the task that faulted"}
        clts
%endmacro
        program "task"
main:   descriptor TASKGATE, 0, 0, 0, 0
        mov dword [gdt + TASKGATE], TASK_B << 16
        mov dword [gdt + TASKGATE + 4], 0xe500
        access TASK_A
        is eax, 0x8b, "LTR marks the TSS busy"
        descriptor TASK_B, B_, 0x67, 0x8b, 0
        mov eax, TASK_B
        raises GP, TASK_B, "LTR of a busy TSS", ltr ax
        mov eax, KDATA
        raises GP, KDATA, "LTR of a data segment", ltr ax
        descriptor TASK_B, B_, 0x67, 0x09, 0
        mov eax, TASK_B
        raises NP, TASK_B, "LTR of a TSS that is not present", ltr ax
        mov dword [A_ + T_CR3], 0x13570     ; static fields: no switch may write them
        ; CALL
        fresh task_call
        mov ebx, 0xa0a0a0a0
        mov esi, 0x51515151
        stc
        std
        call TASK_B:0
after_call:
        pushfd
        cld
        pop ecx
        and ecx, CF_ | DF_ | NT_
        is ecx, CF_ | DF_, "flags of the caller come back"
        is ebx, 0xa0a0a0a0, "EBX of the caller comes back"
        is esi, 0x51515151, "ESI of the caller comes back"
        is [b_eax], 0xb0b0b0b0, "EAX came from the TSS"
        is [b_esp], ARENA + 0x8000, "ESP came from the TSS"
        is [b_tr], TASK_B, "TR in the new task"
        mov eax, [b_flags]
        and eax, NT_
        is eax, NT_, "NT in a task that was called"
        movzx eax, word [B_ + LINK]
        is eax, TASK_A, "the link to the caller"
        is [A_ + T_EIP], after_call, "EIP saved in the caller's TSS"
        is [A_ + T_CR3], 0x13570, "CR3 is no part of what is saved"
        is [b_access_a], 0x8b, "the caller stays busy"
        is [b_access_b], 0x8b, "the called task is busy"
        access TASK_B
        is eax, 0x89, "IRET frees the task that it leaves"
        access TASK_A
        is eax, 0x8b, "the caller is busy again"
        str eax
        is eax, TASK_A, "TR after IRET"
        mov eax, cr0
        and eax, CR0_TS
        is eax, CR0_TS, "a task switch sets CR0.TS"
        clts
        mov eax, [B_ + T_FLAGS]
        and eax, NT_
        is eax, 0, "IRET saves NT clear in the task that it leaves"
        is [B_ + T_EIP], task_call_end, "EIP saved behind IRET"
        ; The task goes on behind its IRET when it is called again.
        call TASK_B:0
        is [b_eax], 0x2222, "a task goes on where it was left"

        ; JMP: no link, no NT; the old task is freed.
        fresh task_jump
        mov word [B_ + LINK], 0x7777
        jmp TASK_B:0
after_jump:
        mov eax, [b_flags]
        and eax, NT_
        is eax, 0, "NT in a task that was jumped to"
        movzx eax, word [B_ + LINK]
        is eax, 0x7777, "JMP writes no link"
        is [b_access_a], 0x89, "JMP frees the task that it leaves"
        access TASK_B
        is eax, 0x89, "and the jump back frees the other"
        clts
        ; Through a task gate in the GDT
        fresh task_call
        call TASKGATE:0
        is [b_eax], 0xb0b0b0b0, "CALL through a task gate"
        clts
        ; By an interrupt through a task gate in the IDT
        fresh task_call
        mov dword [idt32 + 8 * 0x90], TASK_B << 16
        mov dword [idt32 + 8 * 0x90 + 4], 0xe500
        int 0x90
        is [b_tr], TASK_B, "INT n through a task gate"
        clts
        ; An exception through a task gate: the error code is on the new task's stack.
        fresh task_fault
        mov dword [idt32 + 8 * GP], TASK_B << 16
        mov dword [idt32 + 8 * GP + 4], 0x8500
        descriptor FREE + 0x20, 0, 0xfffff, 0x93, 0xc
        try
        mov dword [A_ + T_EIP], 0
        mov eax, 0x1f0
faulting:
        mov fs, eax
after_fault:
        caught
        is [b_eax], 0x1f0, "the error code on the new task's stack"
        is [b_esp], ARENA + 0x8000 - 4, "the new task's stack with an error code"
        is [A_ + T_EIP], after_fault, "the handler moved EIP past the fault"
        is [b_flags], faulting, "EIP in the TSS of the task that faulted"
        gate32 GP, KCODE32, stubs_32 + GP * 16, 0x8e
        clts

        ; Refusals: the old task goes on, with an error code of the new one's selector.
        fresh task_call
        mov byte [gdt + TASK_B + 5], 0x8b
        raises GP, TASK_B, "CALL of a busy task", call TASK_B:0
        raises GP, TASK_B, "JMP to a busy task", jmp TASK_B:0
        mov byte [gdt + TASK_B + 5], 0x09
        raises NP, TASK_B, "CALL of a task that is not present", call TASK_B:0
        descriptor TASK_B, B_, 0x66, 0x89, 0
        raises TS, TASK_B, "a TSS that is too short", call TASK_B:0
        user_raises GP, TASK_B, "ring 3 calls a task of DPL 0", .user
        ; In the new task: a bad selector is its fault. Its stack is not there yet, so #TS must be a task.
        descriptor FAULTS, D_, 0x67, 0x89, 0
        mov edi, D_
        mov ecx, 0x68 / 4
        xor eax, eax
        rep stosd
        mov dword [D_ + T_EIP], fault_task
        mov dword [D_ + T_FLAGS], 2
        mov dword [D_ + T_ESP], ARENA + 0x7000
        mov dword [D_ + T_CS], KCODE32
        mov dword [D_ + T_SS], KDATA
        mov dword [D_ + T_DS], KDATA
        mov dword [idt32 + 8 * TS], FAULTS << 16
        mov dword [idt32 + 8 * TS + 4], 0x8500
        mov dword [idt32 + 8 * NP], FAULTS << 16
        mov dword [idt32 + 8 * NP + 4], 0x8500
        refused T_SS, KCODE32, "a TSS with code in SS"
        refused T_LDT, KDATA, "a TSS with data in LDT"
        refused T_LDT, 0x1f0, "a TSS with an empty descriptor in LDT"
        refused T_CS, 0, "a TSS with a null CS"
        refused T_CS, KDATA, "a TSS with data in CS"
        refused T_DS, 0x1f0, "a TSS with an empty descriptor in DS"
        refused T_FS, KCODE32 + 4, "a TSS with an LDT selector in FS"
        descriptor FREE + 0x20, 0, 0xfffff, 0x13, 0xc
        refused T_ES, FREE + 0x20, "a TSS with an absent segment in ES"
        gate32 TS, KCODE32, stubs_32 + TS * 16, 0x8e
        gate32 NP, KCODE32, stubs_32 + NP * 16, 0x8e
        descriptor TASK_B, B_, 0x67, 0x89, 0

        ; IRET with NT set and a link to a task that is not busy
        mov word [A_ + LINK], TASK_B
        descriptor TASK_B, B_, 0x67, 0x89, 0
        pushfd
        or dword [esp], NT_
        popfd
        raises TS, TASK_B, "IRET to a task that is not busy", iretd
        pushfd
        and dword [esp], ~NT_
        popfd

        ; A 16-bit TSS
        descriptor NARROW, C_, 0x2b, 0x81, 0
        mov edi, C_
        mov ecx, 0x2c / 2
        xor eax, eax
        rep stosw
        mov word [C_ + 0x0e], LOW
        mov word [C_ + 0x10], 2
        mov word [C_ + 0x12], 0x1357
        mov word [C_ + 0x1a], 0x7f00
        mov word [C_ + 0x22], KDATA16
        mov word [C_ + 0x24], KCODE16
        mov word [C_ + 0x26], KDATA16
        mov word [C_ + 0x28], KDATA16
        call NARROW:0
        movzx eax, word [narrow_ax]
        is eax, 0x1357, "AX from a 16-bit TSS"
        movzx eax, word [narrow_sp]
        is eax, 0x7f00, "SP from a 16-bit TSS"
        done
.user:  call TASK_B | 3:0

fault_task:
        pop dword [fault_error]
        movzx eax, word [D_ + LINK]
        mov [fault_link], eax
        and byte [gdt + TASK_A + 5], ~2
        jmp TASK_A:0
        jmp fault_task

task_call:
        call note
        iretd
task_call_end:
        mov dword [b_eax], 0x2222
        iretd
task_jump:
        call note
        jmp TASK_A:0
note:   mov [b_eax], eax
        lea eax, [esp + 4]
        mov [b_esp], eax
        pushfd
        pop dword [b_flags]
        mov dword [b_tr], 0
        str [b_tr]
        access TASK_A
        mov [b_access_a], eax
        access TASK_B
        mov [b_access_b], eax
        ret
task_fault:
        mov [b_esp], esp
        pop dword [b_eax]
        mov eax, [A_ + T_EIP]
        mov [b_flags], eax
        mov dword [A_ + T_EIP], after_fault
        iretd
        section .data
fault_error: dd 0
fault_link: dd 0
b_eax:  dd 0
b_esp:  dd 0
b_tr:   dd 0
b_flags: dd 0
b_access_a: dd 0
b_access_b: dd 0
        section .low
        bits 16
narrow_task:
        mov [narrow_ax], ax
        mov [narrow_sp], sp
        iret
narrow_ax: dw 0
narrow_sp: dw 0
