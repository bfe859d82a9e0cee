; SYSCALL and SYSRET, SYSENTER and SYSEXIT, SWAPGS, the segment bases (Vol. 2B; Vol. 3A, 5.8.7, 5.8.8).
        %include "test.inc"
STAR equ 0xc0000081
LSTAR equ 0xc0000082
CSTAR equ 0xc0000083
FMASK equ 0xc0000084
FS_BASE equ 0xc0000100
GS_BASE equ 0xc0000101
KERNEL_GS_BASE equ 0xc0000102
SYSENTER_CS equ 0x174
SYSENTER_ESP equ 0x175
SYSENTER_EIP equ 0x176
%macro msr 3                            ; MSR, low, high
        mov ecx, %1
        mov eax, %2
        mov edx, %3
        wrmsr
%endmacro
        program "syscall"
main:   ; SYSENTER from 32-bit ring 3
        mov eax, 1
        cpuid
        bt edx, 11
        jnc .no_sep
        msr SYSENTER_CS, 0, 0
        user_raises GP, 0, "SYSENTER with a null SYSENTER_CS", .sysenter
        msr SYSENTER_CS, KCODE32, 0
        msr SYSENTER_ESP, STACK - 0x1000, 0
        msr SYSENTER_EIP, .entered32, 0
        user_raises USER_END, 0, "SYSENTER and SYSEXIT, 32-bit", .sysenter
        is [seen_cs], KCODE32, "CS behind SYSENTER"
        is [seen_ss], KCODE32 + 8, "SS behind SYSENTER"
        is [seen_sp], STACK - 0x1000, "ESP behind SYSENTER"
        mov eax, [seen_flags]
        and eax, IF_ | VM_
        is eax, 0, "IF behind SYSENTER"
        is [last_cs], (KCODE32 + 16) | 3, "CS behind SYSEXIT"
        is [last_ss], (KCODE32 + 24) | 3, "SS behind SYSEXIT"
        is [last_sp], RING3 - 0x40, "ESP behind SYSEXIT"
        user_raises GP, 0, "SYSEXIT in ring 3", .sysexit
        jmp .long
.no_sep:
        skip "SYSENTER"
.long:  long_mode
        raises UD, 0, "SYSCALL with EFER.SCE clear", syscall
        raises UD, 0, "SYSRET with EFER.SCE clear", sysret
        mov ecx, EFER
        rdmsr
        or eax, EFER_SCE
        wrmsr
        msr STAR, 0, (UCODE32 << 16) | KCODE64
        msr LSTAR, .syscalled, 0
        msr CSTAR, .syscalled, 0
        msr FMASK, IF_ | DF_ | AC_, 0
        mov rbx, 0x1111111111111111
        user_raises USER_END, 0, "SYSCALL and SYSRET, 64-bit", .user64, 0x646
        is [seen_cs], KCODE64, "CS behind SYSCALL"
        is [seen_ss], KDATA, "SS behind SYSCALL"
        is [seen_sp], RING3, "RSP behind SYSCALL"
        is [seen_rcx], .user64_next, "RCX behind SYSCALL"
        is [seen_r11], 0x646, "R11 behind SYSCALL"
        mov rax, [seen_flags]
        and eax, IF_ | DF_ | RF_
        is rax, 0, "RFLAGS behind SYSCALL"
        is [last_cs], UCODE64, "CS behind SYSRET"
        is [last_ss], UDATA, "SS behind SYSRET"
        mov rax, [last_flags]
        and eax, 0xfff
        is rax, 0x646, "RFLAGS behind SYSRET"
        user_raises GP, 0, "SYSRET in ring 3", .user_sysret
        ; To compatibility mode
        mov ecx, .compat
        mov r11d, 0x202
        mov [kernel_sp], rsp
        try
        mov esp, RING3
        sysret
        caught
        faulted USER_END, 0, "SYSRET to compatibility mode"
        is [last_cs], UCODE32, "CS of that"
        is [last_ss], UDATA, "SS of that"
        ; SYSENTER to 64-bit code and SYSEXIT of both sizes
        mov eax, 1
        cpuid
        bt edx, 11
        jnc .bases
        msr SYSENTER_CS, KCODE64, 0
        msr SYSENTER_ESP, STACK - 0x1000, 0
        msr SYSENTER_EIP, .entered64, 0
        user_raises USER_END, 0, "SYSENTER and SYSEXIT, 64-bit", .sysenter64
        is [seen_cs], KCODE64, "CS behind SYSENTER in 64-bit mode"
        is [seen_ss], KDATA, "SS behind SYSENTER in 64-bit mode"
        is [seen_sp], STACK - 0x1000, "RSP behind SYSENTER"
        is [last_cs], (KCODE64 + 32) | 3, "CS behind 64-bit SYSEXIT"
        is [last_ss], (KCODE64 + 40) | 3, "SS behind 64-bit SYSEXIT"
        ; FS and GS
.bases: msr FS_BASE, ARENA, 0
        msr GS_BASE, ARENA + 0x100, 0
        msr KERNEL_GS_BASE, ARENA + 0x200, 0
        mov dword [ARENA], 1
        mov dword [ARENA + 0x100], 2
        mov dword [ARENA + 0x200], 3
        mov eax, [fs:abs 0]
        is rax, 1, "FS base"
        mov eax, [gs:abs 0]
        is rax, 2, "GS base"
        swapgs
        mov eax, [gs:abs 0]
        is rax, 3, "GS base behind SWAPGS"
        mov ecx, KERNEL_GS_BASE
        rdmsr
        is rax, ARENA + 0x100, "KERNEL_GS_BASE behind SWAPGS"
        swapgs
        user_raises GP, 0, "SWAPGS in ring 3", .swapgs
        ; A return to ring 3 hides what ring 3 may not see: the selector becomes null, and the base stays (kvm-unit-tests, emulator: "iret with a
        ; nullified segment").
        mov eax, KDATA
        mov gs, eax
        msr GS_BASE, ARENA + 0x100, 0
        user .gs_hidden
        is [seen_gs], 0, "GS hidden by a return to ring 3"
        is [seen_gs_base], 2, "the base of a hidden GS"
        mov eax, KDATA
        mov fs, eax
        mov ecx, FS_BASE
        rdmsr
        is rax, 0, "a selector load sets the base"
        ; The base is 64 bits wide and wraps.
        msr FS_BASE, 0xfffff000, 0xffffffff
        mov ebx, ARENA + 0x1000
        mov eax, [fs:rbx]
        is rax, 1, "a negative FS base"
        msr FS_BASE, 0, 0
        ; FSGSBASE
        mov eax, 7
        xor ecx, ecx
        cpuid
        bt ebx, 0
        jnc .no_fsgsbase
        raises UD, 0, "RDFSBASE with CR4.FSGSBASE clear", rdfsbase rax
        mov rax, cr4
        or eax, 0x10000
        mov cr4, rax
        mov eax, ARENA
        wrfsbase rax
        rdfsbase rcx
        is rcx, ARENA, "WRFSBASE and RDFSBASE"
        done
.no_fsgsbase:
        skip "FSGSBASE"
        done

        bits 32
.sysenter:
        mov ebp, esp
        sysenter
.entered32:
        mov [seen_sp], esp
        mov [seen_cs], cs
        mov [seen_ss], ss
        pushfd
        pop dword [seen_flags]
        mov edx, .back32
        mov ecx, RING3 - 0x40
        sysexit
.back32: int USER_END
.sysexit: sysexit
.compat: int USER_END
        bits 64
.user64: syscall
.user64_next:
        int USER_END
.syscalled:
        mov [seen_sp], rsp
        mov rsp, RING0
        mov [seen_rcx], rcx
        mov [seen_r11], r11
        mov [seen_cs], cs
        mov [seen_ss], ss
        pushfq
        pop qword [seen_flags]
        mov rsp, [seen_sp]
        o64 sysret
.user_sysret: o64 sysret
.sysenter64: sysenter
.entered64:
        mov [seen_sp], rsp
        mov [seen_cs], cs
        mov [seen_ss], ss
        mov edx, .back64
        mov ecx, RING3
        o64 sysexit
.back64: int USER_END
.swapgs: swapgs
.gs_hidden:
        mov eax, [gs:abs 0]
        mov [seen_gs_base], eax
        mov eax, gs
        mov [seen_gs], eax
        int USER_END
        section .data
seen_gs: dq 0
seen_gs_base: dq 0
kernel_sp: dq 0
seen_sp: dq 0
seen_cs: dq 0
seen_ss: dq 0
seen_rcx: dq 0
seen_r11: dq 0
seen_flags: dq 0
