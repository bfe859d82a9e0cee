; Gates of 32-bit protected mode: privilege changes and the stack from the TSS (Vol. 3A, 5.8, 6.12; Vol. 2A, CALL, INT n, IRET, RET).
        %include "test.inc"
CALLGATE equ FREE
CONFORMING equ FREE + 0x08
ABSENT equ FREE + 0x10
        program "gates32"
main:   callgate32 CALLGATE, KCODE32, callee, 0xec, 2
        descriptor CONFORMING, 0, 0xfffff, 0x9e, 0xc
        callgate32 ABSENT, KCODE32, callee, 0x6c, 0

        ; A call gate from ring 3: SS:ESP from the TSS, two parameters copied, RETF 8 drops them from both stacks.
        mov ebx, 0
        user_raises USER_END, 0, "call gate from ring 3", .caller
        is [gate_cs], KCODE32, "CS in the callee"
        is [gate_ss], KDATA, "SS in the callee"
        is [gate_esp], RING0 - 24, "ESP in the callee"
        is [gate_frame + 4], UCODE32, "CS that the gate pushed"
        is [gate_frame + 8], 0x11111111, "first parameter"
        is [gate_frame + 12], 0x22222222, "second parameter"
        is [gate_frame + 16], RING3 - 8, "ESP that the gate pushed"
        is [gate_frame + 20], UDATA, "SS that the gate pushed"
        is ebx, RING3, "ESP after RETF 8 to ring 3"
        is ecx, 0, "RETF to ring 3 nulls DS of DPL 0"

        ; The same gate from ring 0: no stack switch, no parameters.
        mov ebx, esp
        push dword 0
        push dword 0
        call CALLGATE:0
        is esp, ebx, "ESP after RETF 8 at the same privilege"
        lea eax, [ebx - 16]
        is [gate_esp], eax, "ESP in the callee called from ring 0"

        raises NP, ABSENT, "a gate that is not present", call ABSENT:0
        raises GP, 0, "a far call to the null selector", call 0:0
        raises GP, KDATA, "a far call to a data segment", call KDATA:0
        raises GP, 0x200, "a far call beyond the GDT", call 0x200:0
        raises GP, 0x1fc, "a far call to an empty LDT", call 0x1fc:0
        user_raises GP, KCODE32, "ring 3 calls ring 0 without a gate", .direct
        callgate32 CALLGATE, KCODE32, callee, 0x8c, 2
        user_raises GP, CALLGATE, "ring 3 calls a gate of DPL 0", .caller
        ; A jump through a gate may not change privilege.
        callgate32 CALLGATE, KCODE32, callee, 0xec, 2
        user_raises GP, KCODE32, "ring 3 jumps through a gate to ring 0", .jumper
        callgate32 CALLGATE, KDATA, callee, 0xec, 2
        user_raises GP, KDATA, "a gate to a data segment", .caller
        callgate32 CALLGATE, 0, callee, 0xec, 2
        user_raises GP, 0, "a gate to the null selector", .caller
        ; A conforming segment runs at the caller's privilege.
        user_raises USER_END, 0, "a conforming segment from ring 3", .conform
        is edx, CONFORMING + 3, "CS.RPL in a conforming segment"

        ; Interrupt gates clear IF, trap gates keep it; both clear TF, NT, RF, VM.
        gate32 0x90, KCODE32, flags_handler, 0xee
        gate32 0x91, KCODE32, flags_handler, 0xef
        sti
        int 0x90
        is eax, 0, "IF behind an interrupt gate"
        int 0x91
        is eax, IF_, "IF behind a trap gate"
        pushfd
        pop eax
        and eax, IF_
        is eax, IF_, "IRET brings IF back"
        cli
        ; Software interrupts obey the gate's DPL; the error code names the IDT entry.
        gate32 0x92, KCODE32, flags_handler, 0x8e
        user_raises GP, 0x92 * 8 + 2, "INT n through a gate of DPL 0", .int92
        user_raises GP, 13 * 8 + 2, "INT 13 from ring 3", .int13
        gate32 0x92, KCODE32, flags_handler, 0x6e
        raises NP, 0x92 * 8 + 2, "INT n through a gate that is not present", int 0x92
        gate32 0x92, KDATA, flags_handler, 0xee
        raises GP, KDATA, "INT n to a data segment", int 0x92
        gate32 0x92, 0, flags_handler, 0xee
        raises GP, 0, "INT n to the null selector", int 0x92
        gate32 0x92, KCODE32, flags_handler, 0xec
        raises GP, 0x92 * 8 + 2, "INT n through a call gate", int 0x92
        ; INT3 and INTO are traps with gates of DPL 3.
        user_raises BRK, 0, "INT3 from ring 3", .int3
        is [last_ip], .int3_next, "EIP saved by INT3"
        is [last_handler_sp], RING0 - 20, "stack from the TSS"
        is [last_sp], RING3, "ESP saved by INT3"
        is [last_ss], UDATA, "SS saved by INT3"
        user_raises OF, 0, "INTO from ring 3", .into
        is [last_ip], .into_next, "EIP saved by INTO"
        raises UD, 0, "UD2 saves its own address", ud2
        traps BRK, "INT3 in ring 0", int3

        ; IRET
        meets GP, 0, "IRET to the null selector", call iret_null
        meets GP, KDATA, "IRET to a data segment", call iret_data
        meets NP, FREE + 0x20, "IRET to a segment that is not present", call iret_absent
        meets GP, KDATA, "IRET to ring 3 with a stack of ring 0", call iret_bad_ss
        ; Ring 3 cannot change IOPL or IF.
        user_raises USER_END, 0, "POPF in ring 3", .popf
        and edx, IOPL3 | IF_
        is edx, IF_, "IOPL and IF after POPF in ring 3"
        user_raises GP, 0, "CLI in ring 3", .cli
        user_raises GP, 0, "HLT in ring 3", .hlt
        user_raises GP, 0, "LGDT in ring 3", .lgdt
        user_raises GP, 0, "MOV CR0 in ring 3", .cr0
        user_raises GP, 0, "IN in ring 3 with IOPL 0", .in
        user_raises USER_END, 0, "CLI in ring 3 with IOPL 3", .cli, 0x3202
        user_raises USER_END, 0, "IN in ring 3 with IOPL 3", .in, 0x3202
        ; The I/O permission bitmap: port 0xF4 + 3 lets ring 3 read, the one beside it does not.
        and byte [TASKS + 0x68 + 0x80 / 8], ~1
        user_raises USER_END, 0, "IN in ring 3 with the bit clear", .in
        user_raises GP, 0, "a word of which one bit is set", .inw
        and byte [TASKS + 0x68 + 0x80 / 8], ~2
        user_raises USER_END, 0, "a word of which both bits are clear", .inw
        mov word [TASKS + 0x66], 0x3000
        user_raises GP, 0, "a bitmap beyond the TSS limit", .in
        mov word [TASKS + 0x66], 0x68
        done

.caller: push dword 0x22222222
        push dword 0x11111111
        mov eax, KDATA
        call CALLGATE | 3:0
        mov ebx, esp
        mov ecx, ds
        mov eax, UDATA
        mov ds, eax
        int USER_END
.jumper: jmp CALLGATE | 3:0
.direct: call KCODE32 | 3:callee
.conform:
        call CONFORMING | 3:.in_conform
        int USER_END
.in_conform:
        mov edx, cs
        retf
.int92: int 0x92
.int13: int 13
.int3:  int3
.int3_next:
.into:  mov al, 0x7f
        add al, 1
        into
.into_next:
        int USER_END
.popf:  push dword 0x3002
        popfd
        pushfd
        pop edx
        int USER_END
.cli:   cli
        int USER_END
.hlt:   hlt
.lgdt:  lgdt [gdt_pointer]
.cr0:   mov eax, cr0
.in:    in al, 0x80
        int USER_END
.inw:   in ax, 0x80
        int USER_END

callee: push eax
        mov eax, [esp + 4]
        mov [gate_frame], eax
        mov eax, [esp + 8]
        mov [gate_frame + 4], eax
        mov eax, [esp + 12]
        mov [gate_frame + 8], eax
        mov eax, [esp + 16]
        mov [gate_frame + 12], eax
        mov eax, [esp + 20]
        mov [gate_frame + 16], eax
        mov eax, [esp + 24]
        mov [gate_frame + 20], eax
        pop eax
        mov [gate_esp], esp
        mov dword [gate_cs], 0
        mov [gate_cs], cs
        mov dword [gate_ss], 0
        mov [gate_ss], ss
        push eax
        mov eax, KDATA
        mov ds, eax
        pop eax
        retf 8

flags_handler:
        pushfd
        pop eax
        and eax, IF_ | TF_ | NT_
        iretd

iret_null:
        push dword 2
        push dword 0
        push dword 0
        iretd
iret_data:
        push dword 2
        push dword KDATA
        push dword 0
        iretd
iret_absent:
        descriptor FREE + 0x20, 0, 0xfffff, 0x1b, 0xc
        push dword 2
        push dword FREE + 0x20
        push dword 0
        iretd
iret_bad_ss:
        push dword KDATA
        push dword RING3
        push dword 2
        push dword UCODE32
        push dword 0
        iretd

        section .data
gate_frame: times 6 dd 0
gate_esp: dd 0
gate_cs: dd 0
gate_ss: dd 0
