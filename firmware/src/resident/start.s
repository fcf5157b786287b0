# SPDX-License-Identifier: MIT OR Apache-2.0
# The last steps before a kernel in real mode: interrupt vectors, interrupt controllers, timer.
#
# In:  real mode, DI = the kernel's segment, SI = its initial SP, interrupts off.
# Out: at DI + 0x20:0, DS = ES = FS = GS = SS = DI, SP = SI, all other registers 0.

    .section .resident, "ax"
    .code16
resident_start:
    mov %di, %ss
    mov %si, %sp

    xor %ax, %ax                    # all 256 vectors first
    mov %ax, %es
    xor %di, %di
    mov $({image} << 12) + (int_none - {image}), %eax
    mov $256, %cx
    cld
    rep stosl
    mov $vectors - {image}, %si     # then those that lead somewhere
1:  lodsb %cs:(%si), %al
    movzbw %al, %di
    shl $2, %di
    lodsw %cs:(%si), %ax
    stosw
    cmp $vectors_end - {image}, %si
    jb 1b
    mov $0x60 * 4, %di              # for programs: empty
    mov $8 * 2, %cx
    xor %ax, %ax
    rep stosw

    mov $0xfa, %al                  # IRQ 0 and the cascade open, all others masked
    outb %al, $0x21
    inb $0x21, %al
    cmp $0xfa, %al                  # nobody holds it: no 8259 pair
    jne 3f
    mov $0x11, %al                  # ICW1: edge-triggered, cascade, ICW4 follows
    outb %al, $0x20
    outb %al, $0xa0
    mov $0x08, %al                  # ICW2: vectors 08h and 70h
    outb %al, $0x21
    mov $0x70, %al
    outb %al, $0xa1
    mov $0x04, %al                  # ICW3: the slave is at input 2
    outb %al, $0x21
    mov $0x02, %al
    outb %al, $0xa1
    mov $0x01, %al                  # ICW4: 8086 mode
    outb %al, $0x21
    outb %al, $0xa1
    mov $0xfa, %al
    outb %al, $0x21
    mov $0xff, %al
    outb %al, $0xa1
    mov $0x34, %al                  # PIT counter 0: both bytes, mode 2, binary
    outb %al, $0x43
    xor %al, %al                    # 65,536
    outb %al, $0x40
    outb %al, $0x40

3:  mov %ss, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    add ${entry_paragraphs}, %ax
    pushw %ax
    pushw $0
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    lretw

# Vectors, and the offsets of their code.
vectors:
    .macro vector number, code
    .byte \number
    .word \code - {image}
    .endm
    vector 0x00, exception_0
    vector 0x06, exception_6
    vector 0x08, int_08
    vector 0x09, int_09
    vector 0x0a, irq_master
    vector 0x0b, irq_master
    vector 0x0c, irq_master
    vector 0x0d, irq_master
    vector 0x0e, irq_master
    vector 0x0f, irq_master
    vector 0x10, int_10
    vector 0x11, int_11
    vector 0x12, int_12
    vector 0x13, int_13
    vector 0x14, int_14
    vector 0x15, int_15
    vector 0x16, int_16
    vector 0x17, int_17
    vector 0x18, int_18
    vector 0x19, int_19
    vector 0x1a, int_1a
    vector 0x1e, diskette_parameters
    vector 0x70, irq_slave
    vector 0x71, irq_slave
    vector 0x72, irq_slave
    vector 0x73, irq_slave
    vector 0x74, irq_slave
    vector 0x75, irq_slave
    vector 0x76, irq_slave
    vector 0x77, irq_slave
vectors_end:

# What vector 1Eh points to: a 1.44 MB drive. Boot sectors copy it.
diskette_parameters:
    .byte 0xaf, 0x02, 0x25, 2, 18, 0x1b, 0xff, 0x6c, 0xf6, 15, 8
