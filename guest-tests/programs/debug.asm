; Single step and breakpoints: TF, RF, DR0-DR7 for code, data and I/O, general detect, what is a trap and what a fault (Vol. 3B, 17.2-17.3).
        %include "test.inc"
%macro happened 2                            ; WANT, "what": the bits that tell what happened; then clears them
        mov rax, dr6
        and eax, 0xe00f
        is rax, %1, %2
        mov eax, 0xffff0ff0
        mov dr6, rax
%endmacro
%macro arm 1
        mov eax, %1
        mov dr7, rax
%endmacro
        program "debug"
main:   long_mode
        mov rax, dr6
        mov eax, 0xffff0ff0
        mov dr6, rax
        mov rax, dr7
        is rax, 0x400, "DR7 at the start"
        ; Single step: a trap behind the instruction that begins with TF set.
        try
        push 0x102
        popfq
        nop
.stepped:
        nop
        caught
        faulted DBG, 0, "TF"
        is [last_ip], .stepped, "TF: RIP behind one instruction"
        happened 0x4000, "TF: DR6.BS"
        mov rax, [last_flags]
        and eax, TF_
        is rax, TF_, "TF: saved"
        ; A debug exception clears B0 to B3 of the last one, and leaves the other bits.
        mov eax, 0xffff2ff3
        mov dr6, rax
        try
        push 0x102
        popfq
        nop
        caught
        faulted DBG, 0, "TF once more"
        happened 0x6000, "DR6.B0 to B3 are those of the last exception, BD stays"
        ; Steps counted by a handler that goes on.
        hook DBG, count
        mov dword [steps], 0
        push 0x102
        popfq
        nop
        nop
        xor eax, eax
        push 2
        popfq
        hook DBG, 0
        is [steps], 5, "five instructions step"
        ; INT n is stepped over: TF is clear in the handler, and the trap comes neither before nor in it.
        hook DBG, count
        hook 0x85, nothing
        mov dword [steps], 0
        push 0x102
        popfq
        int 0x85
        nop
        push 2
        popfq
        hook DBG, 0
        hook 0x85, 0
        is [steps], 3, "no step behind INT n"
        ; MOV SS holds the trap off for one instruction.
        hook DBG, count
        mov dword [steps], 0
        mov edx, KDATA
        push 0x102
        popfq
        mov ss, edx
        nop
        nop
        push 2
        popfq
        hook DBG, 0
        is [steps], 4, "no step behind MOV SS"
        mov eax, 0xffff0ff0
        mov dr6, rax
        ; An instruction breakpoint: a fault, before the instruction; RF is clear in the saved flags (Vol. 3B, 17.3.1.1).
        mov eax, .here
        mov dr0, rax
        arm 0x402                       ; G0
        xor ebx, ebx
        try
        inc ebx
.here:  inc ebx
        caught
        faulted DBG, 0, "instruction breakpoint"
        is [last_ip], .here, "instruction breakpoint: RIP"
        is rbx, 1, "instruction breakpoint: before the instruction"
        happened 1, "instruction breakpoint: DR6.B0"
        mov rax, [last_flags]
        and eax, RF_
        is rax, 0, "instruction breakpoint: RF is not saved as set"
        raises UD, 0, "another fault", ud2
        mov rax, [last_flags]
        and eax, RF_
        is rax, RF_, "RF saved by other faults"
        traps BRK, "a trap", int3
        mov rax, [last_flags]
        and eax, RF_
        is rax, 0, "RF saved by a trap"
        ; IRET with RF set lets the instruction run once.
        hook DBG, resumed
        mov dword [steps], 0
        mov ecx, 3
.again: mov eax, .here2
        mov dr0, rax
.here2: dec ecx
        jnz .again
        hook DBG, 0
        is [steps], 3, "one breakpoint each turn, IRET with RF goes on"
        mov rax, dr6
        mov eax, 0xffff0ff0
        mov dr6, rax
        ; The breakpoint's address must be the first byte.
        mov eax, .middle + 1
        mov dr0, rax
.middle: mov eax, 0x90909090
        happened 0, "no breakpoint in the middle of an instruction"
        ; Another condition: disabled
        mov eax, .off
        mov dr0, rax
        arm 0x400
.off:   nop
        happened 0, "disabled"
        ; Data breakpoints: traps, behind the instruction.
        mov eax, watched
        mov dr1, rax
        arm 0x400 | 0x0c | (0xd << 20)  ; L1 G1, write, 4 bytes
        try
        mov dword [watched], 5
.written:
        nop
        caught
        faulted DBG, 0, "data breakpoint"
        is [last_ip], .written, "data breakpoint: RIP behind"
        happened 2, "data breakpoint: DR6.B1"
        is [watched], 5, "data breakpoint: the write is done"
        mov eax, [watched]
        happened 0, "a read is no write"
        try
        mov byte [watched + 3], 5
        nop
        caught
        faulted DBG, 0, "a byte within"
        happened 2, "a byte within: DR6"
        mov byte [watched + 4], 5
        happened 0, "a byte behind"
        try
        mov qword [watched - 4], 0
        nop
        caught
        faulted DBG, 0, "a wider write over it"
        happened 2, "a wider write: DR6"
        arm 0x400 | 0x0c | (0xf << 20)  ; read or write
        try
        mov eax, [watched]
        nop
        caught
        faulted DBG, 0, "a read"
        happened 2, "a read: DR6"
        try
        push qword [watched]
        nop
        caught
        faulted DBG, 0, "PUSH from it"
        happened 2, "PUSH: DR6"
        ; One byte and eight bytes
        mov eax, watched
        mov dr2, rax
        mov eax, watched + 8
        mov dr3, rax
        arm 0x400 | 0xf0 | (0x1 << 24) | (0x9 << 28) | 0x0c | (0xf << 20)
        try
        mov byte [watched + 15], 1
        nop
        caught
        happened 8, "a breakpoint of 8 bytes"
        ; I/O breakpoints with CR4.DE
        mov rax, cr4
        or eax, CR4_DE
        mov cr4, rax
        mov eax, 0x80
        mov dr0, rax
        arm 0x402 | (0x2 << 16)
        try
        in al, 0x80
.input: nop
        caught
        faulted DBG, 0, "I/O breakpoint"
        is [last_ip], .input, "I/O breakpoint: RIP behind"
        happened 1, "I/O breakpoint: DR6"
        arm 0x400
        raises UD, 0, "DR4 with CR4.DE", mov rax, dr4
        mov rax, cr4
        and eax, ~CR4_DE
        mov cr4, rax
        works "DR4 without CR4.DE", mov rax, dr4
        ; General detect
        arm 0x2400
        raises DBG, 0, "MOV from DR with GD", mov rax, dr0
        mov rax, dr6
        and eax, 0x2000
        is rax, 0x2000, "DR6.BD"
        mov rax, dr7
        is rax, 0x400, "the exception clears GD"
        mov eax, 0xffff0ff0
        mov dr6, rax
        user_raises GP, 0, "MOV from DR in ring 3", .user_dr
        mov rax, 0x100000000
        raises GP, 0, "the upper half of DR7", mov dr7, rax
        raises GP, 0, "the upper half of DR6", mov dr6, rax
        ; INT1 (F1) is a trap of its own without DR6; INT3 hits no breakpoint condition.
        try
        db 0xf1
.icebp: nop
        caught
        faulted DBG, 0, "INT1"
        is [last_ip], .icebp, "INT1: RIP behind"
        happened 0, "INT1: DR6"
        ; Single step in ring 3 traps to ring 0; SYSCALL and the like stand in their own program.
        user_raises DBG, 0, "single step in ring 3", .user_step, 0x302
        is [last_ip], .user_step + 1, "single step in ring 3: RIP"
        happened 0x4000, "single step in ring 3: DR6"
        done
.user_dr: mov rax, dr0
.user_step: nop
        nop
        int USER_END
count:  inc dword [steps]
        ret
resumed: inc dword [steps]
        or dword [rbp + F64_FLAGS], RF_
nothing: ret
        section .data
steps:  dq 0
        align 16
        dq 0
watched: dq 0, 0, 0
