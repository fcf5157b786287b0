# SPDX-License-Identifier: MIT OR Apache-2.0
# Int 1Ah: ticks, and the clock where there is one.

    .section .resident, "ax"
    .code16
time_table:
    .byte 0x00
    .word ticks_get - {image}
    .byte 0x01
    .word ticks_set - {image}
    .byte 0x02
    .word clock_time - {image}
    .byte 0x04
    .word clock_date - {image}
    .byte 0xb1
    .word pci_service - {image}
    .byte 0xff
    .word fail - {image}

ticks_get:
    mov BDA_TICKS, %ax
    mov %ax, FRAME_EDX(%bp)
    mov BDA_TICKS + 2, %ax
    mov %ax, FRAME_ECX(%bp)
    xor %ax, %ax
    xchg %al, BDA_MIDNIGHT
    mov %ax, FRAME_EAX(%bp)
    jmp succeed

ticks_set:
    mov %dx, BDA_TICKS
    mov %cx, BDA_TICKS + 2
    movb $0, BDA_MIDNIGHT
    jmp succeed

# BCD: hour, minute, second; no daylight saving.
clock_time:
    mov $clock_time_registers - {image}, %si
    jmp clock
clock_time_registers:
    .byte 0x00, 0x02, 0x04
# BCD: century, year, month, day.
clock_date:
    mov $clock_date_registers - {image}, %si
clock:
    mov $0x0a, %al                  # status A
    call clock_read
    cmp $0xff, %al                  # nobody there
    je fail
    xor %cx, %cx
1:  mov $0x0a, %al
    call clock_read
    test $0x80, %al                 # update in progress
    loopnz 1b
    cmp $clock_date_registers - {image}, %si
    jae 2f
    call clock_next                 # second
    mov %al, FRAME_EDX + 1(%bp)
    movb $0, FRAME_EDX(%bp)
    jmp 3f
2:  call clock_next                 # day
    mov %al, FRAME_EDX(%bp)
    call clock_next                 # month
    mov %al, FRAME_EDX + 1(%bp)
3:  call clock_next                 # minute, or year
    mov %al, FRAME_ECX(%bp)
    call clock_next                 # hour, or century
    mov %al, FRAME_ECX + 1(%bp)
    jmp succeed
clock_date_registers:
    .byte 0x07, 0x08, 0x09, 0x32

clock_next:
    lodsb %cs:(%si), %al
clock_read:
    outb %al, $0x70
    inb $0x71, %al
    ret
