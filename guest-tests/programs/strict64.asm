; What QEMU's TCG gets wrong in 64-bit mode beside reserved bits (README.md, "Judges").
        %include "test.inc"
STAR equ 0xc0000081
LSTAR equ 0xc0000082
FMASK equ 0xc0000084
%macro msr 3                            ; MSR, low, high
        mov ecx, %1
        mov eax, %2
        mov edx, %3
        wrmsr
%endmacro
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
        program "strict64"
main:   long_mode
        ; A string instruction steps at each iteration.
        hook DBG, count
        mov dword [steps], 0
        mov edi, ARENA
        mov ecx, 7
        push 0x102
        popfq
        rep stosb
        push 2
        popfq
        hook DBG, 0
        is [steps], 9, "REP STOSB steps at each iteration"
        ; Vol. 3B, 17.2.3: DR6 tells all breakpoints that were hit
        mov eax, 0xffff0ff0
        mov dr6, rax
        mov eax, watched
        mov dr1, rax
        mov dr2, rax
        mov eax, watched + 8
        mov dr3, rax
        arm 0x400 | 0xf0 | (0x1 << 24) | (0x9 << 28) | 0x0c | (0xf << 20)
        try
        mov byte [watched], 1
        nop
        caught
        happened 6, "two breakpoints at once"
        ; Vol. 3B, 17.3.1.2
        ; REP: behind the iteration that hits
        arm 0x400 | 0xc0 | (0x1 << 28)  ; DR3, one byte
        mov edi, watched
        mov ecx, 16
        xor eax, eax
        try
        rep stosb
        nop
        caught
        faulted DBG, 0, "in REP STOSB"
        mov eax, watched + 9
        is rdi, rax, "REP STOSB: RDI behind the iteration that hit"
        is rcx, 7, "REP STOSB: RCX"
        happened 8, "REP STOSB: DR6"
        ; A breakpoint that MOV SS holds back and INT1 behind it are one exception (kvm-unit-tests, debug: "MOV SS + watchpoint + ICEBP").
        mov eax, stack_selector
        mov dr1, rax
        arm 0x400 | 0x0c | (0xf << 20)
        hook DBG, count
        mov dword [steps], 0
        mov ss, [stack_selector]
        db 0xf1
        nop
        hook DBG, 0
        is [steps], 1, "INT1 with a breakpoint that was held back"
        happened 2, "INT1 with a breakpoint: DR6"
        arm 0x400
        ; Vol. 2B, SYSCALL: the flags that FMASK does not name stay.
        mov ecx, EFER
        rdmsr
        or eax, EFER_SCE
        wrmsr
        msr STAR, 0, (UCODE32 << 16) | KCODE64
        msr LSTAR, .syscalled, 0
        msr FMASK, IF_ | DF_ | AC_, 0
        user_raises USER_END, 0, "SYSCALL", .user64, 0x646
        is [seen_flags], 0x46, "RFLAGS behind SYSCALL"
        ; Vol. 2B, SYSRET: #GP in ring 0, at SYSRET
        mov rcx, 0x800000000000
        mov r11d, 2
        raises GP, 0, "SYSRET to a non-canonical address", o64 sysret
        ; Vol. 2C, WRMSR
        meets GP, 0, "LSTAR takes canonical addresses only", call bad_lstar
        ; Vol. 2C, WRGSBASE
        mov eax, 7
        xor ecx, ecx
        cpuid
        bt ebx, 0
        jnc .no_fsgsbase
        mov rax, cr4
        or eax, 0x10000
        mov cr4, rax
        mov rax, 0x800000000000
        raises GP, 0, "WRGSBASE of a non-canonical address", wrgsbase rax
.no_fsgsbase:
        done
.user64: syscall
        int USER_END
.syscalled:
        mov r8, rsp
        mov rsp, RING0
        pushfq
        pop qword [seen_flags]
        mov rsp, r8
        o64 sysret
count:  inc dword [steps]
        ret
bad_lstar:
        msr LSTAR, 0, 0x8000
        ret
        section .data
steps:  dq 0
seen_flags: dq 0
        align 16
watched: dq 0, 0, 0
stack_selector: dq KDATA
