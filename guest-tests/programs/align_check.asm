; #AC in ring 3 with CR0.AM and EFLAGS.AC (Vol. 3A, 6.15, "Interrupt 17"). QEMU's TCG checks no alignment.
        %include "test.inc"
        program "align_check"
main:   mov eax, cr0
        or eax, CR0_AM | CR0_NE
        mov cr0, eax
        user_raises AC, 0, "a double word at an odd address", .dword, AC_ | 2
        user_raises AC, 0, "a word at an odd address", .word, AC_ | 2
        user_raises AC, 0, "a write", .write, AC_ | 2
        user_raises USER_END, 0, "a byte", .byte, AC_ | 2
        user_raises USER_END, 0, "an aligned double word", .aligned, AC_ | 2
        user_raises AC, 0, "PUSH with an odd ESP", .push, AC_ | 2
        user_raises USER_END, 0, "AC clear", .dword
        mov eax, cr0
        and eax, ~CR0_AM
        mov cr0, eax
        user_raises USER_END, 0, "AM clear", .dword, AC_ | 2
        done
.dword: mov eax, [ARENA + 2]
        int USER_END
.word:  mov ax, [ARENA + 1]
        int USER_END
.write: mov [ARENA + 1], eax
        int USER_END
.byte:  mov al, [ARENA + 3]
        int USER_END
.aligned: mov eax, [ARENA + 4]
        int USER_END
.push:  dec esp
        push eax
        int USER_END
