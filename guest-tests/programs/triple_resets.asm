; A fault while #DF is delivered shuts the processor down, and the board resets it (Vol. 3A, 6.15, "Interrupt 8"). The verdict comes
; before; the harness wants the reset behind it.
        %include "test.inc"
        program "triple_resets"
main:   say {"PASS ", NAME}
        lidt [.empty]
        ud2
        flunk "the processor goes on behind a triple fault"
        done
        section .data
.empty: dw 0
        dd 0
