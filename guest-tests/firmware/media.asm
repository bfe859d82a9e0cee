; A boot sector for any drive: says on COM1 from which it was booted and what the next sector holds, writes the third and reads it back
; (not on a CD), and ends the run by the debug exit port.

org 0x7c00
bits 16

start:
    jmp 0:go

go:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov [drive], dl
    mov si, hello
    call print
    mov al, dl
    call hex
    mov si, newline
    call print
    cmp byte [drive], 0xe0
    jae cd
    mov ax, 0x0201
    mov cx, 2
    call transfer
    mov si, 0x8000
    call print
    mov byte [0x8000], 'W'
    mov ax, 0x0301
    mov cx, 3
    call transfer
    mov byte [0x8000], 'x'
    mov ax, 0x0201
    mov cx, 3
    call transfer
    mov si, 0x8000
    call print
    jmp done

cd:
    mov si, packet
    mov dl, [drive]
    mov ah, 0x42
    int 0x13
    jc fail
    mov si, 0x8000
    call print

done:
    mov al, 0x31
    out 0xf4, al
    hlt

transfer:
    mov bx, 0x8000
    mov dh, 0
    mov dl, [drive]
    int 0x13
    jc fail
    ret

fail:
    mov si, failed
    call print
    mov al, ah
    call hex
    mov si, newline
    call print
    mov al, 0x32
    out 0xf4, al
    hlt

hex:
    push ax
    shr al, 4
    call digit
    pop ax
    and al, 15
digit:
    add al, '0'
    cmp al, '9'
    jbe put
    add al, 'a' - '9' - 1
put:
    push dx
    push ax
    mov dx, 0x3fd
.wait:
    in al, dx
    test al, 0x20
    jz .wait
    pop ax
    mov dx, 0x3f8
    out dx, al
    pop dx
    ret

print:
    lodsb
    test al, al
    jz .end
    call put
    jmp print
.end:
    ret

hello:   db "booted from ", 0
failed:  db "failed with ", 0
newline: db 10, 0
drive:   db 0

align 4
; Disk address packet: one block of the disc, number 21.
packet:
    db 16, 0
    dw 1
    dw 0x8000, 0
    dq 21

times 510 - ($ - $$) db 0
dw 0xaa55
