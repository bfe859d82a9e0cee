; The local APIC's timer: one-shot, periodic, TSC deadline, masks and the current count (Vol. 3A, 10.5.4).
        %include "test.inc"
        %include "irq.inc"
        program "apic_timer"
main:   pic_start
        apic_start MASKED
        hook 0x40, tick
        mov dword [LAPIC_DIVIDE], 0xb           ; by 1
        ; One-shot
        mov dword [LAPIC_TIMER], 0x40
        mov dword [LAPIC_INITIAL], 100000
        wait_for ticks, 1, "one-shot"
        is [LAPIC_CURRENT], 0, "the count behind a one-shot"
        quiet ticks, 1, "a one-shot comes once"
        ; Periodic
        mov dword [ticks], 0
        mov dword [LAPIC_TIMER], 0x20040
        mov dword [LAPIC_INITIAL], 100000
        wait_for ticks, 5, "periodic"
        ; Interrupts are off now; the next one stands in the IRR when the timer is stopped, and comes in spite of it.
        mov ecx, 100000000
.pending:
        test dword [LAPIC_IRR + 0x20], 1
        jnz .stop
        loop .pending
        flunk "periodic: nothing in the IRR"
.stop:  mov dword [LAPIC_INITIAL], 0
        mov dword [ticks], 0
        quiet ticks, 1, "what was pending at the stop comes"
        mov dword [ticks], 0
        quiet ticks, 0, "an initial count of 0 stops it"
        ; Counting down
        mov dword [LAPIC_TIMER], MASKED | 0x40
        mov dword [LAPIC_INITIAL], 0xffffffff
        mov eax, [LAPIC_CURRENT]
        call short_wait
        mov ecx, [LAPIC_CURRENT]
        cmp ecx, eax
        jb .down
        flunk "the count goes down"
.down:  mov dword [ticks], 0
        mov dword [LAPIC_INITIAL], 1000
        quiet ticks, 0, "masked"
        is [LAPIC_CURRENT], 0, "it counts all the same"
        ; The divider: by 128 the count goes slower than by 1.
        mov dword [LAPIC_DIVIDE], 0xa
        mov dword [LAPIC_INITIAL], 0xffffffff
        call short_wait
        mov esi, 0xffffffff
        sub esi, [LAPIC_CURRENT]
        mov dword [LAPIC_DIVIDE], 0xb
        mov dword [LAPIC_INITIAL], 0xffffffff
        call short_wait
        mov edi, 0xffffffff
        sub edi, [LAPIC_CURRENT]
        shl esi, 3
        cmp esi, edi
        jb .divided
        flunk "divided by 128"
.divided:
        mov dword [LAPIC_INITIAL], 0
        ; TPR holds the vector's class back.
        mov dword [LAPIC_TIMER], 0x40
        mov dword [LAPIC_TPR], 0x40
        mov dword [ticks], 0
        mov dword [LAPIC_INITIAL], 1000
        quiet ticks, 0, "TPR of the same class"
        mov eax, [LAPIC_IRR + 0x20]
        and eax, 1
        is eax, 1, "IRR of vector 40h"
        mov dword [LAPIC_TPR], 0x3f
        wait_for ticks, 1, "TPR of the class below"
        mov dword [LAPIC_TPR], 0
        is [isr], 1, "ISR in the handler"
        is [LAPIC_ISR + 0x20], 0, "ISR behind EOI"
        ; TSC deadline
        mov eax, 1
        cpuid
        bt ecx, 24
        jnc .no_deadline
        mov dword [ticks], 0
        mov dword [LAPIC_TIMER], 0x40040
        rdtsc
        add eax, 3000000
        adc edx, 0
        mov ecx, 0x6e0
        wrmsr
        wait_for ticks, 1, "TSC deadline"
        mov ecx, 0x6e0
        rdmsr
        or eax, edx
        is eax, 0, "the deadline behind the interrupt"
        quiet ticks, 1, "a deadline comes once"
        ; One that has passed comes at once; 0 disarms.
        mov dword [ticks], 0
        rdtsc
        mov ecx, 0x6e0
        wrmsr
        wait_for ticks, 1, "a deadline that has passed"
        mov dword [ticks], 0
        mov eax, 0xffffffff
        mov edx, eax
        wrmsr
        xor eax, eax
        xor edx, edx
        wrmsr
        quiet ticks, 0, "disarmed"
        mov dword [LAPIC_INITIAL], 1000
        quiet ticks, 0, "the initial count does nothing in deadline mode"
        mov dword [LAPIC_TIMER], 0x40
        rdtsc
        mov ecx, 0x6e0
        wrmsr
        quiet ticks, 0, "the deadline does nothing in one-shot mode"
        done
.no_deadline:
        skip "TSC deadline"
        done
tick:   inc dword [ticks]
        mov eax, [LAPIC_ISR + 0x20]
        mov [isr], eax
        mov dword [LAPIC_EOI], 0
        ret
        irq_code
        section .data
ticks:  dd 0
isr:    dd 0
