# SPDX-License-Identifier: MIT OR Apache-2.0
# What every real-mode service shares: the frame, the way to a function by its number, the way back.
#
# Real mode, CS = 0xF000. Nothing here is ever written: what changes lies in the BIOS data area.

    .section .resident, "ax"
    .code16

# The caller's registers, as `service` stores them; SS:BP points there.
    .set FRAME_ES, 0
    .set FRAME_DS, 2
    .set FRAME_EDI, 4
    .set FRAME_ESI, 8
    .set FRAME_EBP, 12
    .set FRAME_EBX, 20
    .set FRAME_EDX, 24
    .set FRAME_ECX, 28
    .set FRAME_EAX, 32
    .set FRAME_TABLE, 36
    .set FRAME_FLAGS, 42
    .set CARRY, 0x01
    .set ZERO, 0x40

# Fields of the BIOS data area (`abi::bios::Bda`), which DS holds in every function.
    .set BDA_COM1, 0x00
    .set BDA_EBDA, 0x0e
    .set BDA_EQUIPMENT, 0x10
    .set BDA_MEMORY, 0x13
    .set BDA_SHIFT, 0x17
    .set BDA_KEY_HEAD, 0x1a
    .set BDA_KEY_TAIL, 0x1c
    .set BDA_MODE, 0x49
    .set BDA_COLUMNS, 0x4a
    .set BDA_CURSOR, 0x50
    .set BDA_PENDING, 0x5c          # in the cursor of page 6, which we do not have
    .set BDA_TERMINAL, 0x5e         # the cursor of page 7, which we do not have
    .set BDA_SHAPE, 0x60
    .set BDA_TICKS, 0x6c
    .set BDA_MIDNIGHT, 0x70
    .set BDA_KEYS, 0x80
    .set BDA_KEYS_END, 0x82

# Each interrupt's entry names its table: function number (AH) and code, the last number 0xff.
int_10: pushw $video_table - {image}
    jmp service
int_11: pushw $equipment_table - {image}
    jmp service
int_12: pushw $memory_table - {image}
    jmp service
int_13: pushw $disk_table - {image}
    jmp service
int_14: pushw $serial_table - {image}
    jmp service
int_15: pushw $system_table - {image}
    jmp service
int_16: pushw $keyboard_table - {image}
    jmp service
int_17: pushw $printer_table - {image}
    jmp service
int_18:
int_19: pushw $boot_table - {image}
    jmp service
int_1a: pushw $time_table - {image}

service:
    pushal
    pushw %ds
    pushw %es
    mov %sp, %bp
    cld
    pushw ${bda_segment}
    popw %ds
    mov FRAME_TABLE(%bp), %si
1:  lodsb %cs:(%si), %al
    cmp %al, %ah
    je 2f
    inc %al                         # 0xff: whatever it is
    jz 2f
    add $2, %si
    jmp 1b
2:  mov FRAME_EAX(%bp), %al
    call *%cs:(%si)                 # DS = BIOS data area; the caller's registers but SI, BP
    popw %es
    popw %ds
    popal
    add $2, %sp
    iretw

succeed:
    andb $~CARRY, FRAME_FLAGS(%bp)
    ret

unsupported:
    movb $0x86, FRAME_EAX + 1(%bp)
fail:
    orb $CARRY, FRAME_FLAGS(%bp)
ignore:
    ret

# Int 11h: equipment.
equipment_table:
    .byte 0xff
    .word equipment - {image}
equipment:
    mov BDA_EQUIPMENT, %ax
    jmp answer_ax

# Int 12h: conventional memory in KiB.
memory_table:
    .byte 0xff
    .word memory - {image}
memory:
    mov BDA_MEMORY, %ax
answer_ax:
    mov %ax, FRAME_EAX(%bp)
    ret

# Int 13h: there is no drive. AH = 0x15 has a way to say so; the others fail with "bad command".
disk_table:
    .byte 0x15
    .word disk_type - {image}
    .byte 0x08
    .word disk_parameters - {image}
    .byte 0xff
    .word disk_none - {image}
disk_type:
    movb $0, FRAME_EAX + 1(%bp)     # no such drive
    jmp succeed
disk_parameters:
    movw $0, FRAME_ECX(%bp)
    movw $0, FRAME_EDX(%bp)         # DL: number of drives
disk_none:
    movb $1, FRAME_EAX + 1(%bp)
    jmp fail

# Int 17h: every printer has timed out.
printer_table:
    .byte 0xff
    .word printer - {image}
printer:
    movb $1, FRAME_EAX + 1(%bp)
    ret

# Int 18h and 19h: the program has given up and wants another to be started. There is none.
boot_table:
    .byte 0xff
    .word boot_next - {image}
boot_next:
    mov $boot_sentence - {image}, %si
stop_with:
    call print
    mov ${real_mode_failure}, %eax
    mov ${failure_port}, %dx
    outl %eax, %dx
1:  cli
    hlt
    jmp 1b
boot_sentence:
    .asciz "\r\nqboot-rs: boot: the program asks for the next boot device, found none\r\n"

# Exceptions that nobody asks for by INT: a divide error, an invalid instruction.
exception_0:
    pushw $'0'
    jmp 1f
exception_6:
    pushw $'6'
1:  pushw ${bda_segment}
    popw %ds
    mov %sp, %bp
    mov $exception_sentence - {image}, %si
    call print
    mov (%bp), %al
    call emit
    mov $exception_at - {image}, %si
    call print
    mov 4(%bp), %ax                 # CS
    call print_hex
    mov $':', %al
    call emit
    mov 2(%bp), %ax                 # IP
    call print_hex
    mov $exception_end - {image}, %si
    jmp stop_with
exception_sentence:
    .asciz "\r\nqboot-rs: real mode: expected no exception, found "
exception_at:
    .asciz " at "
exception_end:
    .asciz "\r\n"

# Writes the string at CS:SI.
1:  call emit
print:
    lodsb %cs:(%si), %al
    test %al, %al
    jnz 1b
    ret

# Writes AX as four hexadecimal digits.
print_hex:
    mov $4, %cx
1:  rol $4, %ax
    pushw %ax
    and $0x0f, %al
    cmp $10, %al                    # below 10: '0' on; else 'a' on
    sbb $0x69, %al
    das
    call emit
    popw %ax
    loop 1b
    ret

# Writes AL to COM1, where there is one. Waits for the transmitter, not for ever. Clobbers nothing.
emit:
    pushw %cx
    pushw %dx
    pushw %ax
    mov BDA_COM1, %dx
    test %dx, %dx
    jz 3f
    add $5, %dx                     # line status
    xor %cx, %cx
1:  inb %dx, %al
    test $0x20, %al                 # transmitter empty
    loopz 1b
    sub $5, %dx
    popw %ax
    pushw %ax
    outb %al, %dx
3:  popw %ax
    popw %dx
    popw %cx
    ret

# Interrupts of the 8259 pair that nobody has taken into his own hands.
irq_slave:
    pushw %ax
    mov $0x20, %al                  # end of interrupt
    outb %al, $0xa0
    jmp 1f
int_09:
    pushw %ax
    inb $0x60, %al                  # keys come from COM1; those of a keyboard are dropped
irq_master_pushed:
1:  mov $0x20, %al
    outb %al, $0x20
    popw %ax
    iretw
irq_master:
    pushw %ax
    jmp irq_master_pushed

# IRQ 0: one tick.
int_08:
    pushw %ds
    pushw %ax
    pushw ${bda_segment}
    popw %ds
    incl BDA_TICKS
    cmpl ${ticks_a_day}, BDA_TICKS
    jb 1f
    movl $0, BDA_TICKS
    incb BDA_MIDNIGHT
1:  int $0x1c
    mov $0x20, %al
    outb %al, $0x20
    popw %ax
    popw %ds
int_none:
    iretw
