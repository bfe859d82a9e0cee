; A reset by the keyboard controller pulses the reset line (command FEh). The verdict comes before; the harness wants the reset behind it.
        %include "test.inc"
        program "i8042_resets"
main:   say {"PASS ", NAME}
        mov al, 0xfe
        out 0x64, al
        mov ecx, 100000000
.more:  dec ecx
        jnz .more
        flunk "the machine goes on"
        done
