; The 8259 pair, the 8254 and the RTC behind it: masks, EOI, the cascade, polling, counter modes, periodic and update
; interrupts (datasheets 8259A, 8254, MC146818A).
        %include "test.inc"
        %include "irq.inc"
%macro pit_mode 2                       ; counter 0: mode, count
        write 0x43, 0x30 | ((%1) << 1)
        write 0x40, (%2) & 0xff
        write 0x40, (%2) >> 8
%endmacro
%macro cmos 2
        write 0x70, %1
        write 0x71, %2
%endmacro
        program "pic"
main:   pic_start
        hook 0x20, irq0
        hook 0x27, irq7
        hook 0x28, irq8
        hook 0x2f, irq15
        hook 0x2a, irq10
        ; The mask registers read back.
        write 0x21, 0xa5
        in al, 0x21
        movzx eax, al
        is eax, 0xa5, "OCW1 reads back"
        write 0x21, 0xff
        ; Mode 0: one interrupt at the end of the count
        pit_mode 0, 2000
        write 0x21, 0xfe
        wait_for ticks, 1, "8254 mode 0"
        quiet ticks, 1, "mode 0 comes once"
        ; Mode 2 and mode 3: again and again
        mov dword [ticks], 0
        pit_mode 2, 1193
        wait_for ticks, 5, "8254 mode 2"
        mov dword [ticks], 0
        pit_mode 3, 1193
        wait_for ticks, 5, "8254 mode 3"
        ; Mode 4: one strobe
        pit_mode 4, 3000
        mov dword [ticks], 0
        wait_for ticks, 1, "8254 mode 4"
        ; The counter counts down, and latches hold.
        pit_mode 0, 0xffff
        write 0x43, 0                   ; latch
        in al, 0x40
        mov cl, al
        in al, 0x40
        mov ch, al
        call short_wait
        write 0x43, 0
        in al, 0x40
        mov dl, al
        in al, 0x40
        mov dh, al
        movzx ecx, cx
        movzx edx, dx
        cmp edx, ecx
        jne .counts
        flunk "the counter does not count"
.counts:
        ; Read-back: status of counter 0: mode, access, output
        pit_mode 2, 1193
        write 0x43, 0xe2
        in al, 0x40
        and eax, 0x3f
        is eax, 0x34, "read-back status"
        ; Counter 2: gate and output at port 61h
        in al, 0x61
        and al, 0xfc
        out 0x61, al
        write 0x43, 0xb0                ; mode 0
        write 0x42, 100
        write 0x42, 0
        in al, 0x61
        and eax, 0x20
        is eax, 0, "OUT2 while the gate is low"
        in al, 0x61
        or al, 1
        out 0x61, al
        call short_wait
        in al, 0x61
        and eax, 0x20
        is eax, 0x20, "OUT2 at the end of the count"
        write 0x21, 0xff
        ; ISR, EOI: a request of the same line waits while it is in service.
        mov dword [no_eoi], 1
        mov dword [ticks], 0
        pit_mode 2, 1193
        write 0x21, 0xfe
        wait_for ticks, 1, "IRQ 0"
        quiet ticks, 1, "no second one before EOI"
        write 0x20, 0x0b
        in al, 0x20
        movzx eax, al
        is eax, 1, "ISR"
        write 0x20, 0x0a
        in al, 0x20
        and eax, 1
        is eax, 1, "IRR"
        mov dword [no_eoi], 0
        write 0x20, 0x60                ; specific EOI
        wait_for ticks, 2, "behind the EOI"
        write 0x21, 0xff
        write 0x20, 0x0b
        in al, 0x20
        movzx eax, al
        is eax, 0, "ISR behind all"
        ; The RTC behind the cascade: periodic
        cmos 0x0a, 0x26                 ; 1024 Hz
        cmos 0x0b, 0x42
        write 0x70, 0x0c
        in al, 0x71
        write 0x21, 0xfb
        write 0xa1, 0xfe
        wait_for rtc, 5, "RTC, periodic"
        mov al, [register_c]
        and eax, 0xc0
        is eax, 0xc0, "register C: IRQF and PF"
        ; Register C must be read: no interrupt until then.
        mov dword [no_read], 1
        mov dword [rtc], 0
        wait_for rtc, 1, "one more"
        quiet rtc, 1, "no further one while register C is not read"
        mov dword [no_read], 0
        write 0x70, 0x0c
        in al, 0x71
        wait_for rtc, 2, "behind the read of register C"
        ; Masked at the master, everything behind the cascade is.
        write 0x21, 0xff
        mov dword [rtc], 0
        quiet rtc, 0, "the cascade masked"
        cmos 0x0b, 2
        ; Time runs: the update interrupt
        write 0x70, 0x0c
        in al, 0x71
        write 0x21, 0xfb
        call short_wait                 ; what the 8259 latched before
        mov dword [rtc], 0
        cmos 0x0b, 0x12
        wait_for rtc, 1, "RTC, update"
        mov al, [register_c]
        and eax, 0x90
        is eax, 0x90, "register C: IRQF and UF"
        cmos 0x0b, 2
        write 0x21, 0xff
        write 0xa1, 0xff
        ; CMOS memory
        cmos 0x50, 0x5a
        write 0x70, 0x50
        in al, 0x71
        movzx eax, al
        is eax, 0x5a, "CMOS memory"
        ; The poll command acknowledges a request without INTA.
        pit_mode 2, 1193
        write 0x21, 0xfe
        write 0x20, 0x0a
.pending: in al, 0x20
        test al, 1
        jz .pending
        write 0x20, 0x0c                ; poll
        in al, 0x20
        and eax, 0x87
        is eax, 0x80, "the poll command names IRQ 0"
        write 0x20, 0x0b
        in al, 0x20
        and eax, 1
        is eax, 1, "and puts it in service"
        write 0x20, 0x20
        write 0x21, 0xff
        done
irq0:   inc dword [ticks]
        cmp dword [no_eoi], 0
        jne .none
        write 0x20, 0x20
.none:  ret
irq8:   inc dword [rtc]
        cmp dword [no_read], 0
        jne .none
        write 0x70, 0x0c
        in al, 0x71
        mov [register_c], al
.none:  write 0xa0, 0x20
        write 0x20, 0x20
        ret
irq7:
irq15:
irq10:  inc dword [spurious]
        ret
        irq_code
        section .data
ticks:  dd 0
rtc:    dd 0
spurious: dd 0
no_eoi: dd 0
no_read: dd 0
register_c: dd 0
