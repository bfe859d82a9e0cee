; The HPET (IA-PC HPET 1.0a) and the keyboard controller (8042): counting, comparators, periodic mode, legacy replacement; the
; controller's self test, the output buffer, IRQ 1, the keyboard behind it.
        %include "test.inc"
        %include "irq.inc"
        program "hpet_i8042"
main:   pic_start
        apic_start MASKED
        hook 0x40, tick
        hook 0x21, key
        mov eax, [HPET]
        shr eax, 16
        is eax, 0x8086, "vendor"
        mov eax, [HPET + 4]
        test eax, eax
        jz .bad_period
        cmp eax, 100000000              ; 100 ns: the most that is allowed
        jbe .period
.bad_period:
        flunk "the period"
.period: ; Halted, it can be written; then it counts up.
        mov dword [HPET + 0x10], 0
        mov dword [HPET + 0xf0], 0x12345678
        mov dword [HPET + 0xf4], 0
        is [HPET + 0xf0], 0x12345678, "the counter when halted"
        mov dword [HPET + 0x10], 1
        call short_wait
        mov eax, [HPET + 0xf0]
        cmp eax, 0x12345678
        ja .counts
        flunk "the counter counts"
.counts:
        ; Timer 0: edge, one-shot, on the highest pin that it may have
        mov eax, [HPET + 0x104]
        bsr ecx, eax
        lea eax, [ecx * 2 + 0x11]
        mov [IOAPIC], eax
        mov dword [IOAPIC + 0x10], 0
        dec eax
        mov [IOAPIC], eax
        mov dword [IOAPIC + 0x10], 0x40
        mov dword [HPET + 0x10], 0
        mov dword [HPET + 0xf0], 0
        mov dword [HPET + 0x108], 10000
        mov dword [HPET + 0x10c], 0
        shl ecx, 9
        mov esi, ecx
        or ecx, 4
        mov [HPET + 0x100], ecx
        mov dword [HPET + 0x10], 1
        wait_for ticks, 1, "one-shot"
        quiet ticks, 1, "a one-shot comes once"
        ; Periodic
        mov eax, [HPET + 0x100]
        bt eax, 4
        jnc .no_periodic
        mov dword [HPET + 0x10], 0
        mov dword [HPET + 0xf0], 0
        mov dword [ticks], 0
        mov ecx, esi
        or ecx, 0x4c                    ; enabled, periodic, value set
        mov [HPET + 0x100], ecx
        mov dword [HPET + 0x108], 20000
        mov dword [HPET + 0x108], 20000
        mov dword [HPET + 0x10], 1
        wait_for ticks, 5, "periodic"
        jmp .stop
.no_periodic:
        skip "periodic mode of the HPET"
.stop:  mov dword [HPET + 0x10], 0
        mov [HPET + 0x100], esi
        call short_wait
        mov dword [ticks], 0
        quiet ticks, 0, "stopped"
        ; Legacy replacement: timer 0 takes the place of the 8254 at pin 2.
        mov eax, [HPET]
        bt eax, 15
        jnc .no_legacy
        route 2, 0x40
        mov dword [HPET + 0xf0], 0
        mov dword [HPET + 0x108], 10000
        mov dword [HPET + 0x100], 4
        mov dword [HPET + 0x10], 3
        wait_for ticks, 1, "legacy replacement"
        mov dword [HPET + 0x10], 0
        mov dword [HPET + 0x100], 0
        jmp .keyboard
.no_legacy:
        skip "legacy replacement of the HPET"
.keyboard:
        ; The controller's self test
        call drain
        mov al, 0xaa
        call command
        call read
        is eax, 0x55, "self test"
        mov al, 0xab
        call command
        call read
        is eax, 0, "interface test"
        ; The command byte: translation on, keyboard interrupt off
        mov al, 0x60
        call command
        mov al, 0x44
        call data
        mov al, 0x20
        call command
        call read
        is eax, 0x44, "the command byte"
        ; The keyboard: echo, identity, and its acknowledge
        mov al, 0xae
        call command
        mov al, 0xee
        call data
        call read
        is eax, 0xee, "echo"
        mov al, 0xf5
        call data
        call read
        is eax, 0xfa, "disable scanning"
        mov al, 0xf2
        call data
        call read
        is eax, 0xfa, "identify: acknowledge"
        call read
        is eax, 0xab, "identify: first byte"
        ; With the interrupt on, IRQ 1 comes for what the controller puts there.
        mov al, 0x60
        call command
        mov al, 0x45
        call data
        call drain
        write 0x21, 0xfd
        mov al, 0xd2                    ; write to the keyboard's output buffer
        call command
        mov al, 0x1c
        call data
        mov dword [LAPIC_LINT0], 0x700
        wait_for keys, 1, "IRQ 1"
        is [scan], 0x1c, "the byte behind IRQ 1"
        ; A20 by port 92h
        in al, 0x92
        or al, 2
        out 0x92, al
        in al, 0x92
        and eax, 2
        is eax, 2, "A20 is on"
        done
drain:  mov ecx, 1000
.more:  in al, 0x64
        test al, 1
        jz .next
        in al, 0x60
.next:  dec ecx
        jnz .more
        ret
command: mov ah, al
.wait:  in al, 0x64
        test al, 2
        jnz .wait
        mov al, ah
        out 0x64, al
        ret
data:   mov ah, al
.wait:  in al, 0x64
        test al, 2
        jnz .wait
        mov al, ah
        out 0x60, al
        ret
read:   call deadline
.wait:  in al, 0x64
        test al, 1
        jnz .there
        call late
        jnc .wait
        mov eax, -1
        ret
.there: in al, 0x60
        movzx eax, al
        ret
tick:   inc dword [ticks]
        mov dword [LAPIC_EOI], 0
        ret
key:    inc dword [keys]
        in al, 0x60
        movzx eax, al
        mov [scan], eax
        write 0x20, 0x20
        ret
        irq_code
        section .data
ticks:  dd 0
keys:   dd 0
scan:   dd 0
