; Power-on, reset, second boot: what a reset sets anew and what it keeps. CMOS memory lives through a reset; the processor starts as at
; power-on; the program is loaded anew.
        %include "test.inc"
        program "second_boot_reboots"
main:   mov al, 0x51
        out 0x70, al
        in al, 0x71
        cmp al, 0x5a
        je .second
        say "first boot"
        mov al, 0x51
        out 0x70, al
        mov al, 0x5a
        out 0x71, al
        ; Traces that must be gone: control registers, debug registers, MSRs, data of the image.
        mov dword [mark], 2
        mov eax, cr4
        or eax, CR4_DE | CR4_OSFXSR
        mov cr4, eax
        mov eax, 0x1234
        mov dr0, eax
        mov eax, 0x402
        mov dr7, eax
        mov dword [0xfee00080], 0x50            ; TPR
        lidt [empty_idt]
        ud2
.second: say "second boot"
        mov al, 0x51
        out 0x70, al
        xor eax, eax
        out 0x71, al
        is [mark], 1, "the image is loaded anew"
        mov eax, cr4
        and eax, CR4_DE | CR4_OSFXSR
        is eax, 0, "CR4"
        mov eax, dr7
        is eax, 0x400, "DR7"
        mov eax, dr0
        is eax, 0, "DR0"
        is [0xfee00080], 0, "the task priority"
        raises UD, 0, "exceptions work", ud2
        done
        section .data
empty_idt: dw 0
        dd 0
mark:   dd 1
