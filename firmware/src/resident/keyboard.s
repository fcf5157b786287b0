# SPDX-License-Identifier: MIT OR Apache-2.0
# Int 16h and 14h: what is typed at COM1, as keys and as bytes.

    .section .resident, "ax"
    .code16
keyboard_table:
    .byte 0x00
    .word key_read - {image}
    .byte 0x10
    .word key_read - {image}
    .byte 0x01
    .word key_peek - {image}
    .byte 0x11
    .word key_peek - {image}
    .byte 0x02
    .word key_shift - {image}
    .byte 0x12
    .word key_shift - {image}
    .byte 0x05
    .word key_store - {image}
    .byte 0xff
    .word ignore - {image}

# Waits, with interrupts on, so that time goes on.
key_read:
    call key_next
    jnz 1f
    sti
    pause
    cli
    jmp key_read
1:  mov %ax, FRAME_EAX(%bp)
    call key_advance                # of the head
    mov %bx, BDA_KEY_HEAD
    ret

key_peek:
    orb $ZERO, FRAME_FLAGS(%bp)
    call key_next
    jz 1f
    mov %ax, FRAME_EAX(%bp)
    andb $~ZERO, FRAME_FLAGS(%bp)
1:  ret

key_shift:
    mov BDA_SHIFT, %ax
    cmpb $0x12, FRAME_EAX + 1(%bp)
    je 1f
    mov $0x02, %ah
1:  jmp answer_ax

key_store:
    mov %cx, %ax
    call key_put
    setc FRAME_EAX(%bp)             # 1: the buffer is full
    ret

# AX = the next key, BX = its offset; ZF if there is none.
key_next:
    call flush                      # whoever asks wants an answer
    mov BDA_KEY_HEAD, %bx
    cmp BDA_KEY_TAIL, %bx
    jne 1f
    call uart_read
    jz 2f
    call key_of
    call key_put
    mov BDA_KEY_HEAD, %bx
    cmp BDA_KEY_TAIL, %bx
1:  mov (%bx), %ax
2:  ret

# Puts AX into the buffer; CF if it is full.
key_put:
    mov BDA_KEY_TAIL, %bx
    mov %bx, %di
    call key_advance
    cmp BDA_KEY_HEAD, %bx
    stc
    je 1f
    mov %ax, (%di)
    mov %bx, BDA_KEY_TAIL
    clc
1:  ret

# BX = the place behind BX.
key_advance:
    add $2, %bx
    cmp BDA_KEYS_END, %bx
    jb 1f
    mov BDA_KEYS, %bx
1:  ret

# AL = a byte from COM1; ZF if there is none. Clobbers DX.
uart_read:
    mov BDA_COM1, %dx
    test %dx, %dx
    jz 1f
    add $5, %dx                     # line status
    inb %dx, %al
    and $1, %al                     # data ready
    jz 1f
    sub $5, %dx
    inb %dx, %al
    or $1, %dx                      # not zero
1:  ret

# The same, but waits a little: what follows Escape is on its way.
uart_read_soon:
    mov $0x4000, %cx
1:  call uart_read
    loopz 1b
    ret

# AX = scan code and character of the byte AL. Clobbers CX, DX, SI.
key_of:
    cmp $0x1b, %al
    je escape
    cmp $0x7f, %al                  # what terminals send for backspace
    jne 1f
    mov $0x08, %al
1:  cmp $'\n', %al                  # what pipes send for Enter
    jne 2f
    mov $'\r', %al
2:  movzbw %al, %si
    cmp $0x60, %si                  # a to z are where A to Z are
    jb 3f
    sub $0x20, %si
3:  mov %cs:scan_codes - {image}(%si), %ah
    ret

# Cursor keys: ESC [ and a letter.
escape:
    call uart_read_soon
    jz 3f
    cmp $'[', %al
    je 1f
    cmp $'O', %al
    jne 3f
1:  call uart_read_soon
    jz 3f
    mov $cursor_keys - {image}, %si
2:  mov %al, %dl
    lodsw %cs:(%si), %ax
    cmp %dl, %al
    je 4f
    mov %dl, %al
    cmp $cursor_keys_end - {image}, %si
    jb 2b
3:  mov $0x011b, %ax
    ret
4:  mov $0, %al
    ret
cursor_keys:
    .byte 'A', 0x48, 'B', 0x50, 'C', 0x4d, 'D', 0x4b, 'H', 0x47, 'F', 0x4f
cursor_keys_end:

# Scan codes of an American keyboard, for the characters 0 to 0x5f.
scan_codes:
    .byte 0x03, 0x1e, 0x30, 0x2e, 0x20, 0x12, 0x21, 0x22, 0x0e, 0x0f, 0x24, 0x25, 0x26, 0x1c, 0x31, 0x18
    .byte 0x19, 0x10, 0x13, 0x1f, 0x14, 0x16, 0x2f, 0x11, 0x2d, 0x15, 0x2c, 0x01, 0x2b, 0x1b, 0x07, 0x0c
    .byte 0x39, 0x02, 0x28, 0x04, 0x05, 0x06, 0x08, 0x28, 0x0a, 0x0b, 0x09, 0x0d, 0x33, 0x0c, 0x34, 0x35
    .byte 0x0b, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x27, 0x27, 0x33, 0x0d, 0x34, 0x35
    .byte 0x03, 0x1e, 0x30, 0x2e, 0x20, 0x12, 0x21, 0x22, 0x23, 0x17, 0x24, 0x25, 0x26, 0x32, 0x31, 0x18
    .byte 0x19, 0x10, 0x13, 0x1f, 0x14, 0x16, 0x2f, 0x11, 0x2d, 0x15, 0x2c, 0x1a, 0x2b, 0x1b, 0x07, 0x0c

# Int 14h: COM1 as it is set; the others have timed out.
serial_table:
    .byte 0x00
    .word serial_status - {image}
    .byte 0x01
    .word serial_send - {image}
    .byte 0x02
    .word serial_receive - {image}
    .byte 0x03
    .word serial_status - {image}
    .byte 0xff
    .word ignore - {image}
serial_send:
    test %dx, %dx
    jnz serial_status
    call emit
serial_status:
    test %dx, %dx
    jnz 1f
    mov BDA_COM1, %dx
    test %dx, %dx
    jz 1f
    add $5, %dx                     # line status
    inb %dx, %al
    mov %al, %ah
    inc %dx                         # modem status
    inb %dx, %al
    cmpb $1, FRAME_EAX + 1(%bp)
    jne 2f
    mov FRAME_EAX(%bp), %al         # sending leaves the character
2:  jmp answer_ax
1:  movb $0x80, FRAME_EAX + 1(%bp)
    ret
serial_receive:
    test %dx, %dx
    jnz 1b
    call uart_read_soon
    jz 1b
    mov $0, %ah
    jmp answer_ax
