; Virtual-8086 mode (Vol. 3B, chapter 20): entering by IRET, leaving by interrupts and faults to ring 0, IOPL-sensitive instructions,
; segment arithmetic, the I/O bitmap, interrupt redirection and virtual interrupts of VME.
        %include "test.inc"
V_STACK equ 0x6000                      ; SS:SP = 0600h:0FF0h
; v86 LABEL in .low [, FLAGS]: runs it in virtual-8086 mode until something reaches ring 0
%macro v86 1-2 VM_ | IF_ | 2
        try
        push dword 0x1357               ; GS
        push dword 0x2468               ; FS
        push dword 0x0800               ; DS
        push dword 0x0900               ; ES
        push dword V_STACK >> 4
        push dword 0xff0
        push dword %2
        push dword LOW >> 4
        push dword %1 - LOW
        iretd
        caught
%endmacro
%macro v86_raises 4-5 VM_ | IF_ | 2     ; VECTOR, ERROR, "what", LABEL, FLAGS
        v86 %4, %5
        faulted %1, %2, {%3}
        mov esi, [last_flags]
        and esi, VM_
        is esi, VM_, {%3, ": VM saved"}
%endmacro
        program "v86"
main:   ; INT n with IOPL 0 is a #GP, whatever the gate.
        v86_raises GP, 0, "INT n with IOPL 0", v_int
        is [last_ip], v_int_at - LOW, "IP saved by a fault"
        is [last_cs], LOW >> 4, "CS saved by a fault"
        is [last_sp], 0xff0, "SP saved by a fault"
        is [last_ss], V_STACK >> 4, "SS saved by a fault"
        is [last_handler_sp], RING0 - 36, "the frame with four data segments"
        is [RING0 - 16], 0x0900, "ES in the frame"
        is [RING0 - 12], 0x0800, "DS in the frame"
        is [RING0 - 8], 0x2468, "FS in the frame"
        is [RING0 - 4], 0x1357, "GS in the frame"
        mov eax, fs
        is eax, 0, "FS is null in ring 0"
        mov eax, gs
        is eax, 0, "GS is null in ring 0"
        ; With IOPL 3 INT n goes through the IDT, if its gate's DPL allows it.
        v86_raises USER_END, 0, "INT n with IOPL 3", v_int, VM_ | IOPL3 | IF_ | 2
        is [last_ip], v_int_next - LOW, "IP saved by INT n"
        v86_raises GP, 0x90 * 8 + 2, "INT n with IOPL 3 through a gate of DPL 0", v_int90, VM_ | IOPL3 | 2
        v86_raises BRK, 0, "INT3 with IOPL 0", v_int3
        v86_raises GP, 0, "CLI with IOPL 0", v_cli
        v86_raises GP, 0, "STI with IOPL 0", v_sti
        v86_raises GP, 0, "PUSHF with IOPL 0", v_pushf
        v86_raises GP, 0, "POPF with IOPL 0", v_popf
        v86_raises GP, 0, "IRET with IOPL 0", v_iret
        v86_raises GP, 0, "HLT", v_hlt, VM_ | IOPL3 | 2
        v86_raises GP, 0, "MOV CR0", v_cr0, VM_ | IOPL3 | 2
        v86_raises GP, 0, "LGDT", v_lgdt, VM_ | IOPL3 | 2
        v86_raises UD, 0, "LLDT", v_lldt, VM_ | IOPL3 | 2
        v86_raises UD, 0, "ARPL", v_arpl, VM_ | IOPL3 | 2
        v86_raises UD, 0, "LAR", v_lar, VM_ | IOPL3 | 2
        ; The I/O bitmap rules whatever IOPL is.
        v86_raises GP, 0, "IN with IOPL 3 and the bit set", v_in, VM_ | IOPL3 | 2
        and byte [TASKS + 0x68 + 0x80 / 8], ~1
        v86_raises USER_END, 0, "IN with the bit clear", v_in, VM_ | IOPL3 | 2
        ; Arithmetic of segments, real-mode style far transfers
        v86_raises USER_END, 0, "segments", v_segments, VM_ | IOPL3 | 2
        is [v_read], 0xcafe1234, "segment times 16"
        is eax, 0x4321, "a far call"
        ; POPF and IRET in V86 mode leave VM and IOPL as they are.
        v86_raises USER_END, 0, "POPF with IOPL 3", v_popf3, VM_ | IOPL3 | 2
        mov eax, [last_flags]
        and eax, VM_ | IOPL3 | IF_ | NT_
        is eax, VM_ | IOPL3 | NT_, "VM and IOPL behind POPF"
        v86_raises USER_END, 0, "IRET with IOPL 3", v_iret3, VM_ | IOPL3 | 2
        mov eax, [last_flags]
        and eax, VM_ | IOPL3 | IF_
        is eax, VM_ | IOPL3 | IF_, "VM and IOPL behind IRET"
        ; A page fault from V86 mode is a user's.
        call paging32
        mov dword [PD32 + 4 * 100], 0
        and dword [PD32], ~U
        mov eax, cr3
        mov cr3, eax
        v86_raises PF, 5, "a supervisor page", v_nothing
        is [last_cr2], v_nothing, "CR2 of that"
        or dword [PD32], U
        mov eax, cr0
        btr eax, 31
        mov cr0, eax
        ; A monitor: ring 0 emulates INT by reflecting it to the 8086 program's own handler and goes back by IRET.
        mov word [0x66 * 4], v_handler - LOW
        mov word [0x66 * 4 + 2], LOW >> 4
        hook GP, reflect
        v86_raises USER_END, 0, "a reflected interrupt", v_reflected, VM_ | IF_ | 2
        hook GP, 0
        is eax, 0xbeef, "AX from the reflected handler"
        ; VME
        mov eax, 1
        cpuid
        bt edx, 1
        jnc .no_vme
        mov eax, cr4
        or eax, CR4_VME
        mov cr4, eax
        ; The redirection bitmap, 32 bytes below the I/O bitmap: 0 sends INT n to the 8086 program's own handler.
        mov word [TASKS + 0x66], 0x68 + 32
        mov edi, TASKS + 0x68
        mov eax, -1
        mov ecx, 8
        rep stosd
        v86_raises GP, 0, "INT n with its redirection bit set and IOPL 0", v_int66
        and byte [TASKS + 0x68 + 0x66 / 8], ~(1 << (0x66 % 8))
        v86_raises USER_END, 0, "INT n redirected with IOPL 3", v_int66, VM_ | IOPL3 | IF_ | 2
        is eax, 0xbeef, "AX from the handler"
        is ecx, IF_ | IOPL3, "the pushed image with IOPL 3"
        v86_raises GP, 0, "INT n redirected with IOPL 0", v_int66, VM_ | VIF_ | 2
        is [last_ip], v_int66_next - LOW, "back behind INT n"
        mov edx, [last_flags]
        and edx, VIF_
        is edx, VIF_, "VIF comes back by IRET"
        is eax, 0xbeef, "AX from the handler with IOPL 0"
        is ecx, IOPL3 | IF_, "IOPL 3 and VIF as IF in the pushed image"
        ; Virtual IF: CLI and STI move VIF; STI with VIP set is a #GP; PUSHF shows VIF as IF.
        v86_raises GP, 0, "STI, PUSHF and HLT with VME", v_virtual, VM_ | 2
        and edx, IF_ | IOPL3
        is edx, IF_ | IOPL3, "PUSHF shows VIF and IOPL 3"
        mov eax, [last_flags]
        and eax, VIF_ | IF_
        is eax, VIF_, "VIF behind STI"
        v86_raises GP, 0, "STI with VIP set", v_sti, VM_ | VIP_ | 2
        is [last_ip], v_sti - LOW, "at STI"
        mov eax, cr4
        and eax, ~CR4_VME
        mov cr4, eax
        done
.no_vme:
        skip "VME"
        done

; What a monitor does for INT n: pushes IP, CS, FLAGS on the 8086 stack and enters the vector. Other things are the test's end.
reflect:
        movzx esi, word [ebp + F32_CS]
        shl esi, 4
        add esi, [ebp + F32_IP]
        cmp byte [esi], 0xcf
        je .iret
        movzx ebx, byte [esi + 1]
        sub word [ebp + F32_SP], 6
        movzx edi, word [ebp + F32_SP + 4]
        shl edi, 4
        add edi, [ebp + F32_SP]
        mov eax, [ebp + F32_IP]
        add eax, 2
        mov [edi], ax
        mov eax, [ebp + F32_CS]
        mov [edi + 2], ax
        mov eax, [ebp + F32_FLAGS]
        mov [edi + 4], ax
        movzx eax, word [ebx * 4]
        mov [ebp + F32_IP], eax
        movzx eax, word [ebx * 4 + 2]
        mov [ebp + F32_CS], eax
        cmp bl, USER_END
        je .end
        ret
.end:   hook GP, 0
        mov dword [ebp + F32_FLAGS], VM_ | IOPL3 | 2
        mov dword [ebp + F32_IP], v_int - LOW
        mov dword [ebp + F32_CS], LOW >> 4
        ret
.iret:  movzx edi, word [ebp + F32_SP + 4]
        shl edi, 4
        add edi, [ebp + F32_SP]
        movzx eax, word [edi]
        mov [ebp + F32_IP], eax
        movzx eax, word [edi + 2]
        mov [ebp + F32_CS], eax
        add word [ebp + F32_SP], 6
        ret

        section .low
        bits 16
v_int:
v_int_at:
        int USER_END
v_int_next:
v_int90: int 0x90
v_int3: int3
v_cli:  cli
v_sti:  sti
v_pushf: pushf
v_popf: popf
v_iret: iret
v_hlt:  hlt
v_cr0:  mov eax, cr0
v_lgdt: lgdt [0]
v_lldt: lldt ax
v_arpl: arpl ax, ax
v_lar:  lar ax, ax
v_in:   in al, 0x80
        int USER_END
v_segments:
        mov ax, 0x700
        mov es, ax
        mov dword [es:0x10], 0xcafe1234
        mov ax, 0x600
        mov fs, ax
        mov eax, [fs:0x1010]
        mov [v_read - LOW], eax
        xor eax, eax
        call (LOW >> 4):v_far - LOW
        int USER_END
v_far:  mov ax, 0x4321
        retf
v_popf3:
        push NT_ | 2
        popf
        int USER_END
v_iret3:
        push IF_ | 2
        push LOW >> 4
        push v_int - LOW
        iret
v_nothing: nop
        int USER_END
v_reflected:
        int 0x66
        int USER_END
v_int66:
        int 0x66
v_int66_next:
        int USER_END
v_handler:
        mov bp, sp
        movzx ecx, word [bp + 4]
        and ecx, IF_ | IOPL3
        mov eax, 0xbeef
        iret
v_virtual:
        cli
        sti
        pushf
        pop dx
        hlt
v_read: dd 0
