; Loops that end when an interrupt comes, in shapes of which a translator of hot loops takes a part: an interrupt reaches each, whichever
; way round it goes (Vol. 3A, 6.6: interrupts are taken at instruction boundaries).
        %include "test.inc"
        %include "irq.inc"
        program "loops"
main:   pic_start
        hook 0x20, irq0
        write 0x43, 0x34                ; mode 2, once a millisecond
        write 0x40, 0xa9
        write 0x40, 4
        write 0x21, 0xfe
        ; The head in the middle: back to .low, forward over an instruction of the x87, forward to the head
        mov dword [ticks], 0
        xor ebx, ebx
        sti
        jmp .low
.low:   inc eax
        test ebx, ebx
        jnz .head
        fnop
        jmp .head
        nop
.head:  cmp dword [ticks], 20
        jb .low
        cli
        ; Two loops that share a part, out of each into the other
        mov dword [ticks], 0
        xor ecx, ecx
        sti
.one:   inc ecx
        test cl, 1
        jz .two
        fnop
        cmp dword [ticks], 20
        jb .one
        jmp .done
.two:   fnop
        test cl, 2
        jnz .one
        cmp dword [ticks], 20
        jb .one
.done:  cli
        ; Through a table
        mov dword [ticks], 0
        xor ecx, ecx
        sti
.next:  mov eax, ecx
        and eax, 3
        jmp [.table + eax * 4]
.third: add edx, eax
        inc ecx
        jmp .next
.second:
        fnop
        inc ecx
        jmp .next
.first: cmp dword [ticks], 20
        lea ecx, [ecx + 1]
        jb .next
        cli
        ; Flags that a loop leaves are those of its last round, whatever came in.
        mov dword [ticks], 0
        mov esi, 200000
        xor edi, edi
        sti
.flags: lahf
        test ah, 1                      ; CF of the compare, none in the first round
        jz .none
        inc edi
.none:  dec esi
        cmp esi, 100000
        jne .flags
        cli
        is edi, 0, "CF in a loop of compares"
        mov esi, 0
        xor edi, edi
        sti
.below: setc al
        movzx eax, al
        add edi, eax
        inc esi
        cmp esi, 100000
        jb .below
        cli
        is edi, 99999, "CF in each round but the first"
        write 0x21, 0xff
        done
.table: dd .first, .second, .third, .third

irq0:   inc dword [ticks]
        write 0x20, 0x20
        ret
        irq_code
        section .data
ticks:  dd 0
