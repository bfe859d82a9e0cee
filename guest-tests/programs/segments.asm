; Segmentation: limits, expand-down, types, null selectors, LDT, VERR, LAR, LSL, stack widths (Vol. 3A, 5.3-5.6; Vol. 2). QEMU's TCG
; checks no limits.
        %include "test.inc"
SMALL equ FREE                          ; base ARENA, limit 0FFFh, data
DOWN equ FREE + 8                       ; expand-down, limit 0FFFh, 32-bit
DOWN16 equ FREE + 0x10                  ; expand-down, 16-bit: up to FFFFh
READ equ FREE + 0x18                    ; read-only
EXEC equ FREE + 0x20                    ; execute-only
CODE_ equ FREE + 0x28                   ; base 0, limit of a few bytes behind a label
LDT_ equ FREE + 0x30
%macro verifies 3                       ; VERR or VERW, selector, ZF
        mov ecx, %2
        %1 cx
        setz al
        movzx eax, al
        is eax, %3, "VERR or VERW"
%endmacro
        program "segments"
main:   descriptor SMALL, ARENA, 0xfff, 0x93, 4
        descriptor DOWN, ARENA, 0xfff, 0x97, 4
        descriptor DOWN16, ARENA, 0xfff, 0x97, 0
        descriptor READ, ARENA, 0xfff, 0x91, 4
        descriptor EXEC, 0, 0xfffff, 0x99, 0xc
        mov eax, SMALL
        mov fs, eax
        works "the last byte", mov al, [fs:0xfff]
        raises GP, 0, "a byte beyond the limit", mov al, [fs:0x1000]
        raises GP, 0, "a word of which one byte is beyond", mov ax, [fs:0xfff]
        works "the last double word", mov eax, [fs:0xffc]
        raises GP, 0, "a double word beyond", mov eax, [fs:0xffd]
        raises GP, 0, "a double word that wraps", mov eax, [fs:0xfffffffe]
        raises GP, 0, "a write beyond", mov [fs:0x1000], al
        fninit
        raises GP, 0, "80 bits beyond", fld tword [fs:0xff7]
        works "the last 80 bits", fld tword [fs:0xff6]
        ; The base wraps at 4 GiB.
        mov dword [ARENA + 0x10], 0x1234
        descriptor FREE + 0x40, 0xfffff000, 0xfffff, 0x93, 0xc
        mov eax, FREE + 0x40
        mov gs, eax
        is [gs:ARENA + 0x1010], 0x1234, "linear addresses wrap at 4 GiB"
        ; Expand-down
        mov eax, DOWN
        mov fs, eax
        raises GP, 0, "expand-down: the limit itself", mov al, [fs:0xfff]
        works "expand-down: behind the limit", mov al, [fs:0x1000]
        raises GP, 0, "expand-down: a double word over the limit", mov eax, [fs:0xffe]
        works "expand-down: far up", mov al, [fs:0x2000000]
        mov eax, DOWN16
        mov fs, eax
        works "16-bit expand-down: FFFFh", mov al, [fs:0xffff]
        raises GP, 0, "16-bit expand-down: 10000h", mov al, [fs:0x10000]
        raises GP, 0, "16-bit expand-down: a word at FFFFh", mov ax, [fs:0xffff]
        ; Types
        mov eax, READ
        mov fs, eax
        works "reading a read-only segment", mov al, [fs:0]
        raises GP, 0, "writing a read-only segment", mov [fs:0], al
        raises GP, 0, "INC of a read-only segment", inc byte [fs:0]
        mov eax, READ
        raises GP, READ, "a read-only segment in SS", mov ss, eax
        mov eax, EXEC
        raises GP, EXEC, "an execute-only segment in DS", mov ds, eax
        mov eax, KCODE32
        mov fs, eax
        works "reading a readable code segment", mov al, [fs:main]
        raises GP, 0, "writing a code segment", mov [fs:ARENA], al
        raises GP, 0, "writing through CS", mov [cs:ARENA], al
        mov eax, TSS32
        raises GP, TSS32, "a TSS in DS", mov ds, eax
        ; Null selectors
        xor eax, eax
        mov fs, eax
        raises GP, 0, "reading through a null selector", mov al, [fs:0]
        mov eax, 3
        works "a null selector with RPL 3", mov fs, eax
        xor eax, eax
        raises GP, 0, "a null selector in SS", mov ss, eax
        mov eax, 0x1f8
        raises GP, 0x1f8, "an empty descriptor", mov fs, eax
        mov eax, 0x203
        raises GP, 0x200, "a selector beyond the GDT: RPL is no part of the error code", mov fs, eax
        mov eax, KDATA + 3
        raises GP, KDATA, "SS with RPL 3 in ring 0", mov ss, eax
        mov eax, UDATA
        raises GP, UDATA & ~3, "SS of DPL 3 in ring 0", mov ss, eax
        descriptor FREE + 0x48, 0, 0xfffff, 0x13, 0xc
        mov eax, FREE + 0x48
        raises NP, FREE + 0x48, "an absent segment in DS", mov ds, eax
        raises SS_, FREE + 0x48, "an absent segment in SS", mov ss, eax
        ; Loading sets the accessed bit.
        descriptor FREE + 0x50, 0, 0xfffff, 0x92, 0xc
        mov eax, FREE + 0x50
        mov fs, eax
        movzx eax, byte [gdt + FREE + 0x55]
        is eax, 0x93, "the accessed bit"
        ; BP and SP mean SS: #SS. The handler needs a stack, so the limit is tried with an address far from ESP.
        descriptor FREE + 0x58, 0, 0x4ff, 0x93, 0xc
        mov edx, FREE + 0x58
        mov ss, edx
        mov ebp, 0x500000
        raises SS_, 0, "beyond the limit of SS", mov eax, [ebp]
        mov ss, edx
        raises SS_, 0, "an ESP-based access beyond the limit", mov eax, [esp + 0x500000]
        mov ss, edx
        works "an override takes DS", mov eax, [ds:ebp]
        mov eax, KDATA
        mov ss, eax
        ; Limits of code: a jump beyond is a #GP at the target's instruction or at the jump; either way error code 0.
        descriptor CODE_, 0x100000, .behind - $$ - 1, 0x9b, 4
        meets GP, 0, "a far jump beyond the limit", jmp CODE_:.behind - $$
        try
        jmp CODE_:.last - $$
.last:  nop
.behind:
        caught
        faulted GP, 0, "running off the end of a code segment"
        is [last_ip], .behind - $$, "EIP there"
        is [last_cs], CODE_, "CS there"
        ; BOUND is about arrays, not segments, but its vector is of this family.
        mov dword [ARENA], 2
        mov dword [ARENA + 4], 5
        mov eax, 5
        works "BOUND within", bound eax, [ARENA]
        mov eax, 6
        raises BR, 0, "BOUND beyond", bound eax, [ARENA]
        mov eax, -1
        raises BR, 0, "BOUND below", bound eax, [ARENA]
        ; LDT
        mov dword [ARENA + 8], 0x0000ffff
        mov dword [ARENA + 12], 0x00cf9300
        descriptor LDT_, ARENA, 0xf, 0x82, 0
        mov eax, 0xc
        raises GP, 0xc, "an LDT selector without an LDT", mov fs, eax
        mov eax, LDT_
        lldt ax
        mov eax, 0xc
        works "an LDT selector", mov fs, eax
        mov eax, 0x14
        raises GP, 0x14, "beyond the LDT", mov fs, eax
        mov eax, KDATA
        raises GP, KDATA, "LLDT of a data segment", lldt ax
        mov eax, 0xc
        raises GP, 0xc, "LLDT of an LDT selector", lldt ax
        sldt eax
        is eax, LDT_, "SLDT"
        xor eax, eax
        lldt ax
        ; LAR, LSL, VERR, VERW
        xor eax, eax
        mov ecx, SMALL
        lar eax, ecx
        is eax, 0x00409300, "LAR"
        lsl eax, ecx
        is eax, 0xfff, "LSL"
        mov ecx, KDATA
        lsl eax, ecx
        is eax, 0xffffffff, "LSL with G set"
        mov eax, 0x77
        mov ecx, 0x1f8
        lar eax, ecx
        is eax, 0x77, "LAR of an empty descriptor leaves its destination"
        setz al
        movzx eax, al
        is eax, 0, "and clears ZF"
        verifies verr, READ, 1
        verifies verw, READ, 0
        verifies verr, EXEC, 0
        verifies verr, KCODE32, 1
        verifies verw, KCODE32, 0
        verifies verw, SMALL, 1
        verifies verr, TSS32, 0
        verifies verr, 0, 0
        ; ARPL
        mov eax, KDATA
        mov ecx, 3
        arpl ax, cx
        setz dl
        is eax, KDATA + 3, "ARPL raises RPL"
        movzx edx, dl
        is edx, 1, "ARPL sets ZF"
        ; Real-mode style limits in virtual-8086 mode
        try
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword 0x600
        push dword 0xff0
        push dword VM_ | 2
        push dword LOW >> 4
        push dword v_limit - LOW
        iretd
        caught
        faulted GP, 0, "an access over 64 KiB in V86 mode"
        done
        section .low
        bits 16
v_limit:
        mov bx, 0xffff
        mov ax, [bx]
