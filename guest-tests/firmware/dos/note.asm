; NOTE.COM: says so, and writes a line a hundred times to NOTE.TXT, for any DOS.
        bits 16
        org 0x100

        mov ah, 9
        mov dx, said
        int 0x21
        mov ah, 0x3c            ; create
        xor cx, cx
        mov dx, file
        int 0x21
        jc failed
        mov bx, ax
        mov si, 100
.next:  mov ah, 0x40            ; write
        mov cx, text.end - text
        mov dx, text
        int 0x21
        jc failed
        cmp ax, cx
        jne failed
        dec si
        jnz .next
        mov ah, 0x3e            ; close
        int 0x21
        jc failed
        mov dx, done
        mov ah, 9
        int 0x21
        mov ax, 0x4c00
        int 0x21
failed: mov dx, sorry
        mov ah, 9
        int 0x21
        mov ax, 0x4c01
        int 0x21

said:   db "NOTE runs", 13, 10, "$"
done:   db "NOTE.TXT is written", 13, 10, "$"
sorry:  db "NOTE.TXT cannot be written", 13, 10, "$"
file:   db "NOTE.TXT", 0
text:   db "kept on the floppy", 13, 10
.end:
