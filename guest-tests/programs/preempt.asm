; Code that is interrupted anywhere computes what it computes alone: integers with carries, string instructions, SSE and x87, calls,
; self-modification; under the APIC timer in ring 0 and ring 3, and under single step.
        %include "test.inc"
        %include "irq.inc"
        program "preempt"
main:   pic_start
        apic_start MASKED
        mov dword [LAPIC_DIVIDE], 0xb
        mov eax, cr0
        and eax, ~(CR0_EM | CR0_TS)
        or eax, CR0_MP | CR0_NE
        mov cr0, eax
        mov eax, cr4
        or eax, CR4_OSFXSR | CR4_OSXMMEXCPT
        mov cr4, eax
        long_mode
        hook 0x40, tick
        ; Alone
        mov r15d, 2000
        call work
        mov [expected], rax
        mov rcx, 0x0f52a17af14b00ea     ; what QEMU and Bochs compute
        is rax, rcx, "the checksum"
        mov r15d, 2000
        call work
        is rax, [expected], "twice the same"
        ; Under the timer, at different rates
        mov r13d, 30
.rates: mov eax, r13d
        imul eax, 1777
        add eax, 3001
        mov ebx, LAPIC_TIMER
        mov dword [rbx], 0x20040
        mov ebx, LAPIC_INITIAL
        mov [rbx], eax
        sti
        mov r15d, 2000
        call work
        cli
        is rax, [expected], "ring 0, interrupted"
        dec r13d
        jnz .rates
        cmp dword [ticks], 20
        jae .ticked
        flunk "few interrupts came"
.ticked: ; In ring 3
        mov r13d, 10
.user_rates:
        mov dword [ticks], 0
        user_raises USER_END, 0, "ring 3", .user
        is rax, [expected], "ring 3, interrupted"
        dec r13d
        jnz .user_rates
        mov ebx, LAPIC_INITIAL
        mov dword [rbx], 0
        ; Under single step
        mov r15d, 20
        call work
        mov [expected], rax
        hook DBG, step
        mov r15d, 20
        push 0x102
        popfq
        call work
        push 2
        popfq
        hook DBG, 0
        is rax, [expected], "single step"
        cmp dword [steps], 20 * 60
        jae .stepped
        flunk "few steps"
.stepped:
        ; Under a data breakpoint that is hit now and then
        mov eax, ARENA + 0x800
        mov dr0, rax
        mov eax, 0x402 | (1 << 16)
        mov dr7, rax
        hook DBG, step
        mov dword [steps], 0
        mov r15d, 20
        call work
        hook DBG, 0
        mov ecx, 0x400
        mov dr7, rcx
        is rax, [expected], "data breakpoints"
        cmp dword [steps], 20
        jae .broke
        flunk "few data breakpoints"
.broke: done
.user:  mov r15d, 2000
        call work
        int USER_END

; R15 rounds; answers a checksum in RAX. Uses everything but RSP, R13, R15.
work:   mov rax, 0x0123456789abcdef
        mov rbx, 0x9e3779b97f4a7c15
        xor ecx, ecx
        mov rdx, 0x5555aaaa5555aaaa
        mov r8d, 1
        mov r9, -1
        fninit
        fld1
        pxor xmm0, xmm0
        pxor xmm2, xmm2
        mov r10d, 0x3f800001
        movd xmm1, r10d
        mov edi, ARENA
        push rcx
        push rax
        mov ecx, 0x1000 / 8
        xor eax, eax
        cld
        rep stosq
        pop rax
        pop rcx
.round: add rax, rbx
        adc rdx, r8
        adc rcx, 0
        rcl r8, 3
        sbb r9, rax
        rcr r9, 5
        setc r10b
        movzx r10, r10b
        cmovs r10, rdx
        xor rbx, r10
        imul r11, rax, 0x1234567
        bsr r12, rdx
        add r11, r12
        shld rbx, r11, 7
        bswap rdx
        cmp rax, rdx
        jb .less
        not rdx
        neg r9
.less:  xadd [ARENA + 0x800], r11
        lock add [ARENA + 0x808], rax
        push rdx
        push rax
        mul r9
        xor [ARENA + 0x810], rdx
        mov ecx, eax
        or ecx, 1
        xor edx, edx
        mov eax, [ARENA + 0x808]
        div ecx
        add [ARENA + 0x818], edx
        pop rax
        pop rdx
        call .leaf
        ; Strings
        mov esi, ARENA + 0x800
        mov edi, ARENA + 0x900
        mov ecx, 100
        rep movsb
        mov esi, ARENA + 0x900
        mov edi, ARENA + 0x800
        mov ecx, 50
        repe cmpsb
        adc rax, rcx
        ; x87 and SSE
        fld st0
        fadd st0, st1
        fld1
        fdivrp
        fst qword [ARENA + 0x820]
        faddp
        addss xmm0, xmm1
        mulss xmm1, xmm1
        movss [ARENA + 0x828], xmm0
        paddq xmm2, xmm0
        pshufd xmm2, xmm2, 0x1b
        movq r10, xmm2
        xor rax, r10
        xor rax, [ARENA + 0x820]
        ; An operand that the code changes
        inc byte [.changes + 3]
.changes: add rax, 1
        dec r15d
        jnz .round
        mov byte [.changes + 3], 1
        add rax, rdx
        xor rax, r9
        add rax, [ARENA + 0x800]
        xor rax, [ARENA + 0x810]
        fstp st0
        ret
.leaf:  ror rax, 9
        ret
tick:   inc dword [ticks]
        mov eax, LAPIC_EOI
        mov dword [rax], 0
        mov rcx, -1
        mov rdx, rcx
        add rcx, rcx                    ; flags
        ret
step:   inc dword [steps]
        ret
        section .data
expected: dq 0
ticks:  dq 0
steps:  dq 0
