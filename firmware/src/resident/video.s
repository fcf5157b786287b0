# SPDX-License-Identifier: MIT OR Apache-2.0
# Int 10h: a screen of 80 columns and 25 rows, which is whoever looks at COM1.
#
# Characters go out as they are. The cursor that programs set is kept; only when a character is to
# go where the terminal's own cursor does not stand, an ANSI sequence (ECMA-48 CUP) moves it. Other
# requests change nothing, so that a program sees that there is no EGA, VGA or VESA.
#
# Programs give a character its colour by writing it with AH=09h, and then write it again with
# AH=0Eh. So one that leaves the cursor where it is waits until something else happens.

    .section .resident, "ax"
    .code16
video_table:
    .byte 0x01
    .word cursor_shape - {image}
    .byte 0x02
    .word cursor_set - {image}
    .byte 0x03
    .word cursor_get - {image}
    .byte 0x06
    .word scroll - {image}
    .byte 0x07
    .word scroll - {image}
    .byte 0x08
    .word read_character - {image}
    .byte 0x09
    .word write_characters - {image}
    .byte 0x0a
    .word write_characters - {image}
    .byte 0x0e
    .word teletype - {image}
    .byte 0x0f
    .word mode_get - {image}
    .byte 0x13
    .word write_string - {image}
    .byte 0xff
    .word ignore - {image}

cursor_shape:
    mov %cx, BDA_SHAPE
    ret

cursor_set:
    call flush
    mov %dx, BDA_CURSOR
    ret

cursor_get:
    mov BDA_SHAPE, %ax
    mov %ax, FRAME_ECX(%bp)
    mov BDA_CURSOR, %ax
    mov %ax, FRAME_EDX(%bp)
    ret

mode_get:
    mov BDA_MODE, %al
    mov BDA_COLUMNS, %ah
    mov %ax, FRAME_EAX(%bp)
    movb $0, FRAME_EBX + 1(%bp)     # page
    ret

# A blank in the usual colour, since nobody keeps what was written.
read_character:
    movw $0x0720, FRAME_EAX(%bp)
    ret

# Only clearing the whole screen can be told to a terminal.
scroll:
    call flush
    or %cl, %al                     # 0 lines means all; from column 0
    or %ch, %al                     # and row 0
    jnz 1f
    mov $clear_screen - {image}, %si
    jmp print
1:  ret
clear_screen:
    .asciz "\033[2J"

# AL, CX times, without moving the program's cursor; not past the end of the row.
write_characters:
    call flush
    cmp $1, %cx
    jne 4f
    mov %al, BDA_PENDING
    ret
4:  mov BDA_COLUMNS, %bx
    sub BDA_CURSOR, %bl             # columns left
    cmp %bx, %cx
    jae 1f
    mov %cx, %bx
1:  mov %bx, %cx
    jcxz 3f
    call move_terminal
2:  call emit
    loop 2b
    add %bl, BDA_TERMINAL           # perhaps behind the last column, where no program's cursor is
3:  ret

# CX bytes at ES:BP of the caller, from row DH and column DL on; AL bit 0: the cursor moves, bit 1:
# each character has an attribute behind it.
write_string:
    call flush
    pushw BDA_CURSOR
    mov %dx, BDA_CURSOR
    mov %al, %bl
    mov FRAME_EBP(%bp), %si
    jcxz 3f
1:  lodsb %es:(%si), %al
    call teletype
    test $2, %bl
    jz 2f
    inc %si
2:  loop 1b
3:  popw %ax
    test $1, %bl
    jnz 4f
    mov %ax, BDA_CURSOR
4:  ret

# AL, and the cursor behind it. Clobbers DX.
teletype:
    movb $0, BDA_PENDING            # it is overwritten
    call move_terminal
    call emit
    mov BDA_CURSOR, %dx
    cmp $7, %al                     # bell
    je 9f
    cmp $8, %al                     # backspace
    jne 1f
    test %dl, %dl
    jz 9f
    dec %dx
    jmp 9f
1:  cmp $'\r', %al
    jne 2f
    mov $0, %dl
    jmp 9f
2:  cmp $'\n', %al
    je 3f
    inc %dx                         # column
    cmp BDA_COLUMNS, %dl
    jb 9f
    mov $0, %dl
3:  cmp $24, %dh                    # last row: the screen scrolls
    jae 9f
    inc %dh
9:  mov %dx, BDA_CURSOR
    mov %dx, BDA_TERMINAL
    ret

# Sends the character that waits. Clobbers nothing.
flush:
    pushw %ax
    pushw %dx
    xor %ax, %ax
    xchg %al, BDA_PENDING
    test %al, %al
    jz 1f
    call move_terminal
    call emit
    incb BDA_TERMINAL
1:  popw %dx
    popw %ax
    ret

# Moves the terminal's cursor to the program's, if it stands elsewhere. Clobbers DX.
move_terminal:
    mov BDA_CURSOR, %dx
    cmp %dx, BDA_TERMINAL
    je 1f
    mov %dx, BDA_TERMINAL
    pushw %ax
    pushw %si
    mov $cursor_position - {image}, %si
    call print
    mov %dh, %al
    call emit_number
    mov $';', %al
    call emit
    mov %dl, %al
    call emit_number
    mov $'H', %al
    call emit
    popw %si
    popw %ax
1:  ret
cursor_position:
    .asciz "\033["

# AL + 1 in two decimal digits.
emit_number:
    inc %ax
    aam
    add $0x3030, %ax
    xchg %al, %ah
    call emit
    xchg %al, %ah
    jmp emit
