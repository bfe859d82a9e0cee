; A DOS of three hundred lines: a prompt, COM programs and TYPE from the root directory of a FAT12 floppy of 1440 KiB, and of INT 21h
; what programs need to print and to write a file. Everything goes through the BIOS: INT 10h, 13h and 16h.
        bits 16
        org 0

SPT     equ 18
FATS    equ 1                   ; sectors of the two tables, the root directory, the data
FATLEN  equ 9
ROOTDIR equ 19
ROOTLEN equ 14
DATA    equ 33 - 2
CLUSTERS equ 2849               ; the first cluster number beyond the floppy
PROGRAM equ 0x2000              ; the segment that programs get
HANDLE  equ 5                   ; the one file that can be open

start:  mov ax, cs
        mov ds, ax
        mov es, ax
        cli
        mov ss, ax
        mov sp, 0xfffe
        sti
        cld
        mov [drive], dl
        xor ax, ax
        mov es, ax
        mov word [es:0x20 * 4], exit
        mov [es:0x20 * 4 + 2], cs
        mov word [es:0x21 * 4], int21
        mov [es:0x21 * 4 + 2], cs
        mov si, hello
        call print
shell:  mov ax, cs
        mov ds, ax
        mov es, ax
        cli
        mov ss, ax
        mov sp, 0xfffe
        sti
        cld
        call load_tables        ; the floppy may have been changed
        mov si, prompt
        call print
        call read_line
        cmp byte [line], 0
        je shell
        mov si, line
        mov di, type_word
        mov cx, 5
        repe cmpsb
        je type
        mov si, line
        call parse
        mov word [name + 8], "CO"
        mov byte [name + 10], "M"
        call find
        jc unknown
; Runs the program of the directory entry DI.
        mov ax, PROGRAM
        mov es, ax
        mov word [es:0], 0x20cd ; INT 20h
        mov bx, 0x100
        mov si, [di + 26]
.next:  mov ax, si
        call read_cluster
        call next_cluster
        jb .next
        mov ds, ax              ; whatever: a program gets its own
        mov ax, PROGRAM
        mov ds, ax
        mov es, ax
        cli
        mov ss, ax
        mov sp, 0xfffe
        sti
        push word 0             ; RET leads to INT 20h
        jmp PROGRAM:0x100

unknown: mov si, bad
        call print
        jmp shell

; Prints a file.
type:   mov si, line + 5
        call parse
        call find
        jc unknown
        mov cx, [di + 28]       ; bytes left
        mov si, [di + 26]
.next:  jcxz .end
        push cs
        pop es
        mov bx, sector
        mov ax, si
        call read_cluster
        mov bx, sector
.byte:  mov al, [bx]
        call put
        inc bx
        dec cx
        jz .end
        cmp bx, sector + 512
        jb .byte
        call next_cluster
        jb .next
.end:   jmp shell

exit:   jmp shell

; The services of INT 21h.
int21:  cmp ah, 0x4c
        je exit
        push bp
        mov bp, sp
        pusha
        push ds
        push es
        mov [cs:caller], ds
        push cs
        pop ds
        push cs
        pop es
        cld
        cmp ah, 0x02
        je .put
        cmp ah, 0x09
        je .print
        cmp ah, 0x3c
        je .create
        cmp ah, 0x3e
        je .close
        cmp ah, 0x40
        je .write
        mov word [result], 1    ; invalid function
        jmp .fail
.put:   mov al, dl
        call put
        jmp .out
.print: mov es, [caller]
        mov si, dx
.char:  mov al, [es:si]
        inc si
        cmp al, "$"
        je .out
        call put
        jmp .char
.create: mov ds, [caller]
        mov si, dx
        mov di, line
        mov cx, 15
        rep movsb
        push cs
        pop ds
        mov si, line
        call parse
        call create
        mov word [result], 4    ; too many open files: none is free in the directory
        jc .fail
        mov word [result], HANDLE
        jmp .done
.write: mov [result], cx
        mov si, dx
        mov es, [caller]
        jcxz .done
.byte:  mov al, [es:si]
        inc si
        call put_byte
        jc .full
        loop .byte
        jmp .done
.full:  sub [result], cx        ; so many were written
        jmp .done
.close: mov word [result], 5    ; access denied: the disk is full
        call close
        jc .fail
.out:   mov ax, [bp - 2]        ; AX as it came
        mov [result], ax
.done:  and word [bp + 6], ~1   ; carry in the caller's flags
        jmp .end
.fail:  or word [bp + 6], 1
.end:   pop es
        mov ax, [result]
        pop ds
        mov [bp - 2], ax
        popa
        pop bp
        iret

; Makes or empties the file [name]; carry: the directory is full.
create: call find
        jnc .old
        mov di, root
.slot:  mov al, [di]
        test al, al
        jz .free
        cmp al, 0xe5
        je .free
        add di, 32
        cmp di, root + ROOTLEN * 512
        jb .slot
        stc
        ret
.old:   mov si, [di + 26]
        test si, si
        jz .free
.next:  mov ax, si              ; its clusters become free
        call get
        push ax
        mov ax, si
        xor dx, dx
        call set
        pop si
        cmp si, 2
        jb .free
        cmp si, 0xff8
        jb .next
.free:  mov [entry], di
        push di
        mov si, name
        mov cx, 11
        rep movsb
        xor al, al
        mov cx, 21
        rep stosb
        pop di
        mov byte [di + 11], 0x20
        mov word [di + 24], 0x2821 ; a date: 2000-01-01
        mov word [last], 0
        mov word [filled], 0
        clc
        ret

; Adds AL to the file; carry: the disk is full.
put_byte: push bx
        mov bx, [filled]
        mov [sector + bx], al
        inc bx
        mov [filled], bx
        mov di, [entry]
        add word [di + 28], 1
        adc word [di + 30], 0
        cmp bx, 512
        jb .done
        call flush
        jmp .end
.done:  clc
.end:   pop bx
        ret

; Writes the sector that was filled to a new cluster; carry: there is none.
flush:  pusha
        push es
        push cs
        pop es
        mov si, 2
.look:  mov ax, si
        call get
        jz .free
        inc si
        cmp si, CLUSTERS
        jb .look
        stc
        jmp .end
.free:  mov ax, si
        mov dx, 0xfff
        call set
        mov ax, [last]
        mov [last], si
        test ax, ax
        jz .first
        mov dx, si
        call set
        jmp .write
.first: mov di, [entry]
        mov [di + 26], si
.write: lea ax, [si + DATA]
        mov bx, sector
        mov cx, 1
        mov byte [job], 3
        call transfer
        mov word [filled], 0
        clc
.end:   pop es
        popa
        ret

; Writes what is left of the file, and the tables; carry: the disk is full.
close:  cmp word [filled], 0
        je .tables
        call flush
        jc .end
.tables: push cs
        pop es
        mov byte [job], 3
        mov ax, FATS
        mov bx, fat
        mov cx, FATLEN
        call transfer
        mov ax, FATS + FATLEN
        mov bx, fat
        mov cx, FATLEN
        call transfer
        mov ax, ROOTDIR
        mov bx, root
        mov cx, ROOTLEN
        call transfer
        clc
.end:   ret

load_tables: mov byte [job], 2
        mov ax, FATS
        mov bx, fat
        mov cx, FATLEN
        call transfer
        mov ax, ROOTDIR
        mov bx, root
        mov cx, ROOTLEN
        jmp transfer

; Reads cluster AX to ES:BX, which moves on.
read_cluster: push cx
        add ax, DATA
        mov cx, 1
        mov byte [job], 2
        call transfer
        pop cx
        ret

; SI becomes the cluster behind it in its file; "below" if there is one.
next_cluster: mov ax, si
        call get
        mov si, ax
        cmp ax, 0xff8
        ret

; CX sectors from AX on, from or to ES:BX, which moves on: [job] is 2 to read, 3 to write.
transfer: pusha
        xor dx, dx
        mov si, SPT
        div si
        inc dx
        mov cl, dl
        mov ch, al
        shr ch, 1
        mov dh, al
        and dh, 1
        mov dl, [drive]
        mov ah, [job]
        mov al, 1
        int 0x13
        jc failed
        popa
        inc ax
        add bx, 512
        loop transfer
        ret

failed: mov si, trouble
        call print
        cli
        hlt

; The table's entry of cluster AX; "zero" if it is free.
get:    push bx
        push ax
        mov bx, ax
        shr bx, 1
        add bx, ax
        mov ax, [fat + bx]
        pop bx
        test bl, 1
        jz .even
        shr ax, 4
.even:  pop bx
        and ax, 0xfff
        ret

; Sets the entry of cluster AX to DX.
set:    push bx
        push cx
        push dx
        mov bx, ax
        shr bx, 1
        add bx, ax
        mov cx, 0xf000
        test al, 1
        jz .even
        mov cx, 0x000f
        shl dx, 4
.even:  and [fat + bx], cx
        or [fat + bx], dx
        pop dx
        pop cx
        pop bx
        ret

; [name] becomes the file name at SI as directories have it.
parse:  push es
        push cs
        pop es
        mov di, name
        mov cx, 11
        mov al, " "
        rep stosb
        mov di, name
.next:  lodsb
        cmp al, "."
        je .dot
        cmp al, " "
        jbe .end
        cmp al, "a"
        jb .keep
        cmp al, "z"
        ja .keep
        sub al, 0x20
.keep:  cmp di, name + 11
        jae .end
        stosb
        jmp .next
.dot:   mov di, name + 8
        jmp .next
.end:   pop es
        ret

; DI becomes the directory entry of [name]; carry: there is none.
find:   mov di, root
.entry: push di
        mov si, name
        mov cx, 11
        push es
        push cs
        pop es
        repe cmpsb
        pop es
        pop di
        je .found
        add di, 32
        cmp di, root + ROOTLEN * 512
        jb .entry
        stc
        ret
.found: clc
        ret

; Reads [line], in capitals, and shows it.
read_line: mov di, line
.key:   xor ah, ah
        int 0x16
        cmp al, 13
        je .end
        cmp al, 8
        je .back
        cmp al, " "
        jb .key
        cmp di, line + 60
        jae .key
        call put
        cmp al, "a"
        jb .keep
        cmp al, "z"
        ja .keep
        sub al, 0x20
.keep:  stosb
        jmp .key
.back:  cmp di, line
        je .key
        dec di
        mov si, rubout
        call print
        jmp .key
.end:   xor al, al
        stosb
        mov si, newline
; Prints the text at SI.
print:  lodsb
        test al, al
        jz .end
        call put
        jmp print
.end:   ret

; Shows AL.
put:    pusha
        mov ah, 0x0e
        mov bx, 7
        int 0x10
        popa
        ret

hello:  db "A small DOS of Ferry's tests", 13, 10, 0
prompt: db 13, 10, "A:\>", 0
newline: db 13, 10, 0
bad:    db "Bad command or file name", 13, 10, 0
trouble: db "General failure reading or writing drive A", 13, 10, 0
rubout: db 8, " ", 8, 0
type_word: db "TYPE "
drive:  db 0
job:    db 0
name:   times 12 db 0
line:   times 64 db 0
caller: dw 0
result: dw 0
entry:  dw 0                    ; the directory entry of the file that is written
last:   dw 0                    ; its last cluster
filled: dw 0                    ; bytes in [sector]

        align 16
sector  equ $
fat     equ sector + 512
root    equ fat + FATLEN * 512
