; I/O APIC and local APIC: edge and level delivery, remote IRR, masks, self-IPI, NMI, spurious, priorities, ExtINT, errors
; (Vol. 3A, chapter 10; datasheet 82093AA).
        %include "test.inc"
        %include "irq.inc"
        program "apic"
main:   pic_start
        apic_start MASKED
        hook 0x40, edge
        hook 0x41, ipi
        hook 0x51, high
        hook 0x31, low_
        hook 0x42, level
        hook 0xff, spurious
        hook NMI, nmi
        mov eax, [LAPIC_VERSION]
        movzx ecx, al
        and ecx, 0xf0
        is ecx, 0x10, "an integrated APIC"
        mov dword [IOAPIC], 1
        mov eax, [IOAPIC + 0x10]
        shr eax, 16
        and eax, 0xff
        is eax, 23, "24 redirection entries"
        ; Edge: the 8254 at pin 2
        write 0x43, 0x34
        write 0x40, 0xa9
        write 0x40, 4
        route 2, 0x40
        wait_for edges, 5, "edge"
        route 2, MASKED | 0x40
        call short_wait
        mov dword [edges], 0
        quiet edges, 0, "masked"
        ; Self-IPI by ICR, by shorthand and by destination
        mov dword [LAPIC_ICR], 0x40041
        wait_for ipis, 1, "IPI to self"
        mov eax, [LAPIC_ID]
        mov [LAPIC_ICR_HIGH], eax
        mov dword [LAPIC_ICR], 0x41
        wait_for ipis, 2, "IPI by physical destination"
        mov dword [LAPIC_DFR], 0xffffffff
        mov dword [LAPIC_LDR], 0x04000000
        mov dword [LAPIC_ICR_HIGH], 0x06000000
        mov dword [LAPIC_ICR], 0x841
        wait_for ipis, 3, "IPI by logical destination"
        mov dword [LAPIC_ICR], 0x80041
        wait_for ipis, 4, "IPI to all"
        mov dword [LAPIC_ICR], 0xc0041
        quiet ipis, 4, "IPI to all but self"
        mov dword [LAPIC_ICR_HIGH], 0x08000000
        mov dword [LAPIC_ICR], 0x841
        quiet ipis, 4, "IPI to another logical destination"
        ; NMI: IF does not matter; a second one waits for IRET. The shorthand for self is for fixed delivery only (table 10-3).
        mov eax, [LAPIC_ID]
        mov [LAPIC_ICR_HIGH], eax
        mov dword [LAPIC_ICR], 0x400
        call late_enough
        is [nmis], 1, "NMI to self with IF clear"
        mov dword [nest], 1
        mov dword [LAPIC_ICR], 0x400
        call late_enough
        is [nmis], 3, "an NMI inside an NMI's handler comes behind it"
        is [deep], 0, "and not within"
        ; Priorities: the higher class first
        mov dword [LAPIC_ICR], 0x40031
        mov dword [LAPIC_ICR], 0x40051
        wait_for lows, 1, "two at once"
        is [order], 0x5131, "class 5 before class 3"
        ; A handler of class 3 is interrupted by class 5 but not by class 3.
        mov dword [order], 0
        mov dword [inner], 1
        mov dword [LAPIC_ICR], 0x40031
        wait_for lows, 3, "nested"
        is [order], 0x315131, "class 5 within class 3, class 3 behind it"
        ; Level, by a timer of the HPET: the line stays high until the device is served.
        mov eax, [HPET]
        cmp eax, 0xffffffff
        je .no_level
        mov eax, [HPET + 0x104]         ; allowed routes of timer 0
        bsr ecx, eax
        jz .no_level
        mov [pin], ecx
        lea eax, [ecx * 2 + 0x11]
        mov [IOAPIC], eax
        mov dword [IOAPIC + 0x10], 0
        dec eax
        mov [IOAPIC], eax
        mov dword [IOAPIC + 0x10], 0x8042
        mov dword [HPET + 0x10], 0
        mov dword [HPET + 0xf0], 0
        mov dword [HPET + 0xf4], 0
        mov dword [HPET + 0x108], 1000
        mov dword [HPET + 0x10c], 0
        shl ecx, 9
        or ecx, 6                       ; level, enabled, one-shot
        mov [HPET + 0x100], ecx
        mov dword [HPET + 0x20], 1
        mov dword [HPET + 0x10], 1
        wait_for levels, 1, "level"
        is [remote], 0x4000, "remote IRR in the handler"
        mov eax, [LAPIC_TMR + 0x20]
        and eax, 4
        is eax, 4, "TMR of vector 42h"
        ; EOI while the line is still high: it comes again.
        mov dword [served], 3
        mov dword [levels], 0
        mov dword [HPET + 0x10], 0
        mov eax, [HPET + 0xf0]
        add eax, 1000
        mov [HPET + 0x108], eax
        mov dword [HPET + 0x10], 1
        wait_for levels, 3, "a level line that stays high"
        quiet levels, 3, "and not when the device was served"
        mov eax, [pin]
        lea eax, [eax * 2 + 0x10]
        mov [IOAPIC], eax
        mov eax, [IOAPIC + 0x10]
        and eax, 0x4000
        is eax, 0, "remote IRR behind EOI"
        jmp .extint
.no_level:
        skip "HPET level interrupts"
.extint: ; The 8259 through LINT0
        hook 0x20, irq0
        mov dword [LAPIC_LINT0], 0x700
        write 0x21, 0xfe
        wait_for irqs, 3, "ExtINT through LINT0"
        mov dword [LAPIC_LINT0], MASKED | 0x700
        call short_wait
        mov dword [irqs], 0
        quiet irqs, 0, "LINT0 masked"
        write 0x21, 0xff
        ; x2APIC
        mov eax, 1
        cpuid
        bt ecx, 21
        jnc .no_x2apic
        mov ecx, 0x1b
        rdmsr
        or eax, 0x400
        wrmsr
        mov ecx, 0x803
        rdmsr
        and eax, 0xf0
        is eax, 0x10, "version in x2APIC mode"
        mov dword [ipis], 0
        mov ecx, 0x83f
        mov eax, 0x41
        xor edx, edx
        mov dword [x2], 1
        wrmsr
        wait_for ipis, 1, "SELF IPI of x2APIC mode"
        mov ecx, 0x802
        rdmsr
        mov edx, eax
        mov eax, 0x41
        mov ecx, 0x830
        wrmsr
        wait_for ipis, 2, "IPI of x2APIC mode"
        mov ecx, 0x80e
        raises GP, 0, "no DFR in x2APIC mode", rdmsr
        done
.no_x2apic:
        skip "x2APIC"
        done

late_enough:
        mov ecx, 100000
.more:  dec ecx
        jnz .more
        ret
eoi:    cmp dword [x2], 0
        jne .msr
        mov dword [LAPIC_EOI], 0
        ret
.msr:   mov ecx, 0x80b
        xor eax, eax
        xor edx, edx
        wrmsr
        ret
edge:   inc dword [edges]
        jmp eoi
ipi:    inc dword [ipis]
        jmp eoi
high:   shl dword [order], 8
        mov byte [order], 0x51
        jmp eoi
low_:   inc dword [lows]
        shl dword [order], 8
        mov byte [order], 0x31
        cmp dword [inner], 0
        je eoi
        mov dword [inner], 0
        mov dword [LAPIC_ICR], 0x40031
        mov dword [LAPIC_ICR], 0x40051
        sti
        call late_enough
        cli
        jmp eoi
level:  inc dword [levels]
        mov eax, [pin]
        lea eax, [eax * 2 + 0x10]
        mov [IOAPIC], eax
        mov eax, [IOAPIC + 0x10]
        and eax, 0x4000
        mov [remote], eax
        cmp dword [levels], 3
        jae .serve
        cmp dword [served], 0
        jne .not
.serve: mov dword [HPET + 0x20], 1
.not:   jmp eoi
irq0:   inc dword [irqs]
        write 0x20, 0x20
        ret
spurious: ret
nmi:    inc dword [nmis]
        cmp dword [nest], 0
        je .end
        mov dword [nest], 0
        mov dword [LAPIC_ICR], 0x400
        mov eax, [nmis]
        push eax
        call late_enough
        pop eax
        cmp eax, [nmis]
        je .end
        inc dword [deep]
.end:   ret
        irq_code
        section .data
edges:  dd 0
ipis:   dd 0
lows:   dd 0
levels: dd 0
nmis:   dd 0
nest:   dd 0
deep:   dd 0
inner:  dd 0
order:  dd 0
pin:    dd 0
remote: dd 0
served: dd 0
irqs:   dd 0
x2:     dd 0
