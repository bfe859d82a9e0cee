; 4-level paging: reserved bits set bits 3 and 0 of the error code (Vol. 3A, 4.5, 4.7); accesses at the canonical border.
        %include "test.inc"
PDPT1 equ ARENA + 0x100000              ; maps VIRTUAL
PD1 equ ARENA + 0x101000
PT1 equ ARENA + 0x102000
PAGE_ equ ARENA + 0x200000
VIRTUAL equ 0xffff800000000000          ; PML4 entry 256
PML4E equ PML4 + 256 * 8

%macro mapped 1
        mov rax, %1
        mov [PT1], rax
        invlpg [rsi]
%endmacro
%macro cr2 2
        mov rax, %1
        is [last_cr2], rax, %2
%endmacro
%macro flush 0
        mov rax, cr3
        mov cr3, rax
%endmacro
        program "reserved64"
main:   mov edi, PDPT1
        xor eax, eax
        mov ecx, 3 * 1024
        rep stosd
        long_mode
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        mov qword [PML4E], PDPT1 + P + W + U
        mov qword [PDPT1], PD1 + P + W + U
        mov qword [PD1], PT1 + P + W + U
        mov rsi, VIRTUAL
        mov dword [PAGE_], 0x600d600d
        mov byte [PAGE_ + 0x10], 0xc3           ; RET
        lea rbx, [rsi + 0x10]
        ; NX is a reserved bit without EFER.NXE.
        mov ecx, EFER
        rdmsr
        and eax, ~EFER_NXE
        wrmsr
        mapped PAGE_ + P + W + U + (1 << 63)
        raises PF, 9, "NX without NXE", mov eax, [rsi]
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        ; Reserved bits: physical address bits beyond MAXPHYADDR, PS in a PML4 entry
        mov eax, 0x80000008
        cpuid
        movzx ecx, al
        cmp ecx, 52
        jae .no_reserved
        mov rax, 1
        shl rax, cl
        mov rdx, rax
        or rax, PAGE_ + P + W + U
        mov [PT1], rax
        flush
        raises PF, 9, "an address bit beyond MAXPHYADDR, read", mov eax, [rsi]
        raises PF, 11, "the same, written", mov [rsi], eax
        user_raises PF, 13, "the same, from ring 3", .read
        mapped PAGE_ + P + W + U
        mov rax, PT1 + P + W + U
        or rax, rdx
        mov [PD1], rax
        flush
        raises PF, 9, "the same in a directory", mov eax, [rsi]
        mov qword [PD1], PT1 + P + W + U
.no_reserved:
        or qword [PML4E], PS
        flush
        raises PF, 9, "PS in a PML4 entry", mov eax, [rsi]
        and qword [PML4E], ~PS
        mov rbx, VIRTUAL + 0x200000
        mov qword [PD1 + 8], (ARENA & ~0x1fffff) + P + W + U + PS + 0x2000
        flush
        raises PF, 9, "a reserved bit of a 2 MiB page", mov eax, [rbx]
        mov eax, 0x80000001
        cpuid
        bt edx, 26
        jnc .no_giga
        mov rbx, VIRTUAL + 0x40000000
        mov qword [PDPT1 + 8], P + W + U + PS + 0x200000
        flush
        raises PF, 9, "a reserved bit of a 1 GiB page", mov eax, [rbx]
.no_giga:
        mov rbx, 0x00007ffffffffffc
        raises GP, 0, "8 bytes over the canonical border", mov rax, [rbx]
        raises PF, 0, "4 bytes below it", mov eax, [rbx]
        mov rbx, 0x0000800000000000
        meets GP, 0, "a jump to a non-canonical address", call .jump
        ; INVLPG of a non-canonical address does nothing.
        works "INVLPG of a non-canonical address", invlpg [rbx]
        mov rax, cr4
        and eax, ~CR4_PAE
        raises GP, 0, "clearing CR4.PAE in long mode", mov cr4, rax
        ; CR3 reserved bits
        mov rax, PML4 | (1 << 52)
        raises GP, 0, "MOV to CR3 with reserved bits", mov cr3, rax
        done
.jump:  add rsp, 8
        jmp rbx
.read:  mov eax, [rsi]
        int USER_END
