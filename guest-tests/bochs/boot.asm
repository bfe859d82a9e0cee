; A boot sector that starts a guest program on an emulator that has a BIOS and no multiboot loader: it reads the SECTORS sectors behind
; itself to 1 MiB and enters the program's multiboot entry in 32-bit protected mode.
        bits 16
        org 0x7c00
        cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        jmp 0:start
start:  mov [drive], dl
        in al, 0x92
        or al, 2
        out 0x92, al
        mov cx, SECTORS
        push cx
read:
        mov si, packet
        mov ah, 0x42
        mov dl, [drive]
        int 0x13
        cli
        lgdt [gdt_pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 0x08:copy
        bits 32
copy:   mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov esi, 0x8000
        mov edi, [target]
        mov ecx, 128
        rep movsd
        mov [target], edi
        inc dword [packet + 8]
        dec word [0x7bfe]               ; the counter, on the stack
        jz run
        jmp 0x18:back
        bits 16
back:   mov ax, 0x20
        mov ds, ax
        mov es, ax
        mov eax, cr0
        and al, 0xfe
        mov cr0, eax
        jmp 0:real
real:   xor ax, ax
        mov ds, ax
        mov es, ax
        jmp read
        bits 32
run:    mov ax, 0x10
        mov ss, ax
        mov esp, 0x7c00
        mov eax, 0x2badb002
        xor ebx, ebx
        jmp [0x100000 + 28]
drive:  db 0
        align 4
packet: db 16, 0
        dw 1, 0x8000, 0
        dd 1, 0
target: dd 0x100000
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b000000ffff, 0x000093000000ffff
gdt_pointer:
        dw 39
        dd gdt
        times 510 - ($ - $$) db 0
        dw 0xaa55
