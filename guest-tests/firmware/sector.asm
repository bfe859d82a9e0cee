; A boot sector that tries what a BIOS gives to real-mode programs, and ends by the debug exit: 0 passed, else the step that failed.
; Sector 2 of the medium holds a mark, sector 3 a count of boots: the first boot counts and resets the machine.
        bits 16
        org 0x7c00
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        jmp 0:start
start:  sti
        mov [drive], dl
        mov si, hello
        call print

        mov byte [step], 1              ; INT 13h, AH=02h: read
        mov ax, 0x0202
        mov bx, 0x8000
        mov cx, 2
        call disk
        cmp dword [0x8000], 'FERR'
        jne fail

        cmp word [0x8200], 0            ; INT 13h, AH=03h: write, then reset by the keyboard controller
        jne again
        mov byte [step], 2
        inc word [0x8200]
        mov ax, 0x0301
        mov bx, 0x8200
        mov cx, 3
        call disk
        mov si, first
        call print
        mov al, 0xfe
        out 0x64, al
        jmp $

again:  mov byte [step], 3              ; INT 15h, AX=E820h: the memory map
        xor ebx, ebx
        mov di, 0x9000
        mov ecx, 20
        mov edx, 'PAMS'
        mov eax, 0xe820
        int 0x15
        jc fail
        cmp eax, 'PAMS'
        jne fail
        cmp dword [0x9010], 1
        jne fail

        mov byte [step], 4              ; INT 1Ah, AH=00h: the clock ticks
        mov ah, 0
        int 0x1a
        mov bx, dx
tick:   hlt
        mov ah, 0
        int 0x1a
        cmp dx, bx
        je tick

        mov byte [step], 5              ; the root of the ACPI tables
        mov ax, 0xf000
        mov es, ax
        xor di, di
scan:   cmp dword [es:di], 'RSD '
        je found
        add di, 16
        jnz scan
        jmp fail
found:  mov si, pass
        call print
        mov byte [step], 0
fail:   mov al, [step]
        mov dx, 0xf4
        out dx, al
        jmp $

disk:   mov dl, [drive]
        mov dh, 0
        int 0x13
        jc fail
        ret

print:  lodsb
        test al, al
        jz .end
        mov ah, 0x0e
        mov bx, 7
        int 0x10
        jmp print
.end:   ret

; SeaBIOS holds back the last characters that it sends to the serial line.
hello:  db 'boot sector', 13, 10, 0
first:  db 'first boot, then a reset', 13, 10, 0
pass:   db 'PASS sector, the end', 13, 10, 0
drive:  db 0
step:   db 0
        times 510 - ($ - $$) db 0
        dw 0xaa55
        db 'FERR'
        times 1024 - ($ - $$) db 0
