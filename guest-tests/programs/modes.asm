; The modes of operation and the ways between them (Vol. 3A, 2.2, 9.8.5, 9.9).
        %include "test.inc"
        program "modes"
main:   mov eax, cr0
        and eax, CR0_PE | CR0_PG
        is eax, CR0_PE, "CR0 at the start"

        ; 32-bit protected mode -> 16-bit protected mode -> real mode -> 32-bit protected mode
        mov dword [saved_esp], esp
        jmp KCODE16:protected16
        bits 32
back_from_real:
        mov eax, KDATA
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov esp, [saved_esp]
        lidt [idt32_pointer]
        movzx eax, word [r_push16]
        is eax, 2, "a push in 16-bit mode takes 2 bytes"
        movzx eax, word [r_push32]
        is eax, 4, "a push with an operand-size prefix in 16-bit mode takes 4 bytes"
        movzx eax, word [r_wrap]
        is eax, 0xfffe, "SP wraps in a 16-bit stack"
        movzx eax, word [r_pe]
        is eax, 0, "SMSW in real mode"
        movzx eax, word [r_int]
        is eax, 0x1234, "INT n in real mode"
        movzx eax, word [r_int_flags]
        is eax, 0, "INT n in real mode clears IF and TF"
        movzx eax, word [r_iret_flags]
        is eax, IF_, "IRET in real mode restores IF"
        movzx eax, word [r_frame_cs]
        is eax, 0x0800, "CS pushed by INT n in real mode"
        movzx eax, word [r_frame_ip]
        is eax, real_int_next - LOW, "IP pushed by INT n in real mode"
        is [r_segment], 0xabcd5678, "segment register times 16"
        movzx eax, word [r_far]
        is eax, 0x55, "far CALL and RETF in real mode"
        movzx eax, word [r_de]
        is eax, real_div - LOW, "#DE in real mode saves the IP of the instruction"
        movzx eax, word [r_idt]
        is eax, 0x77, "the IDTR's base holds in real mode"

        ; Long mode and its compatibility mode
        long_mode
        mov ecx, EFER
        rdmsr
        and eax, EFER_LME | EFER_LMA
        is rax, EFER_LME | EFER_LMA, "EFER in long mode"
        mov rax, -1
        mov eax, 5
        is rax, 5, "a 32-bit write clears the upper half"
        mov rax, -1
        mov ax, 5
        mov rcx, 0xffffffffffff0005
        is rax, rcx, "a 16-bit write keeps the rest"
        lea rbx, [rsp]
        push ax
        sub rbx, rsp
        pop ax
        is rbx, 2, "PUSH AX in 64-bit mode takes 2 bytes"
        raises UD, 0, "PUSHA in 64-bit mode", db 0x60
        raises UD, 0, "PUSH CS in 64-bit mode", db 0x0e
        raises UD, 0, "AAA in 64-bit mode", db 0x37
        mov rax, 0x800000000000
        raises GP, 0, "a non-canonical address", mov al, [rax]
        ; To compatibility mode, 32-bit and 16-bit, and back
        mov r8, 0x1122334455667788
        mov [saved_rsp], rsp
        jmp far dword [to_compat]
        bits 32
compat: mov eax, KDATA
        mov ss, eax
        mov ds, eax
        mov es, eax
        mov eax, 0x12345678
        inc eax                         ; 40h is no REX prefix here
        is eax, 0x12345679, "40h is INC in compatibility mode"
        pushad
        popad
        is eax, 0x12345679, "PUSHAD and POPAD in compatibility mode"
        raises UD, 0, "UD2 in compatibility mode comes back to it", ud2
        is [last_cs], KCODE32, "CS saved from compatibility mode"
        jmp KCODE16:compat16
back_from_compat16:
        is eax, 0x2468, "16-bit compatibility mode"
        jmp KCODE64:long64
        bits 64
long64:  mov rsp, [saved_rsp]
        mov rax, 0x1122334455667788
        is r8, rax, "R8 lives through compatibility mode"
        legacy_mode
        mov ecx, EFER
        rdmsr
        and eax, EFER_LME | EFER_LMA
        is eax, 0, "EFER after long mode"
        raises UD, 0, "UD2 after long mode", ud2
        raises UD, 0, "SYSCALL outside long mode with SCE clear", syscall
        done

        bits 32

        section .data
saved_esp: dd 0
saved_rsp: dq 0
to_compat: dd compat
        dw KCODE32
        section .low
        bits 16
protected16:
        mov ax, KDATA16
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov fs, ax                      ; limits and attributes stay in real mode (Vol. 3A, 9.9.2)
        mov gs, ax
        mov esp, STACK & 0xff00
        mov bx, sp
        push ax
        sub bx, sp
        mov [r_push16], bx
        pop ax
        mov bx, sp
        push eax
        sub bx, sp
        mov [r_push32], bx
        pop eax
        ; A 16-bit stack segment uses SP only: 0 - 2 = FFFE, upper half of ESP kept.
        mov bp, sp
        xor sp, sp
        push ax
        mov [r_wrap], sp
        mov sp, bp
        mov eax, cr0
        and al, ~CR0_PE
        mov cr0, eax
        jmp 0x0800:real - LOW
real:   mov ax, 0x800
        mov ds, ax
        xor ax, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7f00
        lidt [real_idt - LOW]
        smsw ax
        and ax, 1
        mov [r_pe - LOW], ax
        ; The vector table at 0.
        mov word [es:0x60 * 4], real_int - LOW
        mov word [es:0x60 * 4 + 2], 0x0800
        mov word [es:0], real_de - LOW
        mov word [es:2], 0x0800
        sti
        int 0x60
real_int_next:
        pushf
        pop ax
        cli
        and ax, IF_ | TF_
        mov [r_iret_flags - LOW], ax
        ; 1234h:5678h is 179B8h
        mov ax, 0x1234
        mov fs, ax
        mov dword [fs:0x5678], 0xabcd5678
        mov ax, 0x1000
        mov gs, ax
        mov eax, [gs:0x79b8]
        mov [r_segment - LOW], eax
        call 0x0800:real_far - LOW
        xor dx, dx
        mov ax, 1
        xor cx, cx
real_div:
        div cx
real_div_next:
        ; A vector table elsewhere
        mov word [es:0x600 + 0x61 * 4], real_int61 - LOW
        mov word [es:0x600 + 0x61 * 4 + 2], 0x0800
        lidt [real_idt2 - LOW]
        int 0x61
        lidt [real_idt - LOW]
        mov eax, cr0
        or al, CR0_PE
        mov cr0, eax
        jmp dword KCODE32:back_from_real

compat16:
        mov ax, 0x1234
        add ax, ax
        movzx eax, ax
        jmp dword KCODE32:back_from_compat16

real_int:
        push bp
        mov bp, sp
        pushf
        pop ax
        and ax, IF_ | TF_
        mov [r_int_flags - LOW], ax
        mov ax, [bp + 2]
        mov [r_frame_ip - LOW], ax
        mov ax, [bp + 4]
        mov [r_frame_cs - LOW], ax
        mov word [r_int - LOW], 0x1234
        pop bp
        iret
real_int61:
        mov word [r_idt - LOW], 0x77
        iret
real_de:
        push bp
        mov bp, sp
        mov ax, [bp + 2]
        mov [r_de - LOW], ax
        mov word [bp + 2], real_div_next - LOW
        pop bp
        iret
real_far:
        mov word [r_far - LOW], 0x55
        retf
real_idt:
        dw 0x3ff
        dd 0
real_idt2:
        dw 0x3ff
        dd 0x600
r_push16: dw 0
r_push32: dw 0
r_wrap: dw 0
r_pe:   dw 0xffff
r_int:  dw 0
r_int_flags: dw 0xffff
r_iret_flags: dw 0xffff
r_frame_ip: dw 0
r_frame_cs: dw 0
r_segment: dd 0
r_far:  dw 0
r_de:   dw 0
r_idt:  dw 0
