; The boot sector of a FAT12 floppy (mformat fills in the geometry): loads KERNEL.SYS by its chain of clusters to 1000:0000.
        bits 16
        org 0x7c00

SECTORS equ 0x7c18              ; sectors per track
HEADS   equ 0x7c1a
FAT     equ 0x8000              ; 9 sectors behind the boot sector
ROOT    equ 0x7e00              ; the root directory's first sector, 19
DATA    equ 33 - 2              ; the sector of "cluster 0"

        jmp short start
        nop
        times 0x3e - ($ - $$) db 0

start:  cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        cld
        mov [drive], dl
        mov ax, 1
        mov bx, FAT
        mov cx, 9
        call read
        mov ax, 19
        mov bx, ROOT
        mov cx, 1
        call read
        mov di, ROOT
.entry: push di
        mov si, name
        mov cx, 11
        repe cmpsb
        pop di
        je .found
        add di, 32
        cmp di, ROOT + 512
        jb .entry
        jmp failed
.found: mov si, [di + 26]       ; the first cluster
        mov ax, 0x1000
        mov es, ax
        xor bx, bx
.next:  lea ax, [si + DATA]
        mov cx, 1
        call read
        mov di, si              ; entries have 12 bits
        shr di, 1
        add di, si
        mov ax, [di + FAT]
        test si, 1
        jz .even
        shr ax, 4
.even:  and ax, 0xfff
        mov si, ax
        cmp ax, 0xff8
        jb .next
        mov dl, [drive]
        jmp 0x1000:0

; Reads CX sectors from AX on to ES:BX, which moves on.
read:   pusha
        xor dx, dx
        div word [SECTORS]
        inc dx
        mov cl, dl
        xor dx, dx
        div word [HEADS]
        mov ch, al
        mov dh, dl
        mov dl, [drive]
        mov ax, 0x0201
        int 0x13
        jc failed
        popa
        inc ax
        add bx, 512
        loop read
        ret

failed: mov si, text
.next:  lodsb
        mov ah, 0x0e
        mov bx, 7
        int 0x10
        test al, al
        jnz .next
        cli
        hlt

name:   db "KERNEL  SYS"
text:   db "no KERNEL.SYS", 0
drive:  db 0
        times 510 - ($ - $$) db 0
        dw 0xaa55
