# SPDX-License-Identifier: MIT OR Apache-2.0
# The last step before a kernel in real mode.
#
# In:  real mode, DI = the kernel's segment, SI = its initial SP, interrupts off.
# Out: at DI + 0x20:0, DS = ES = FS = GS = SS = DI, SP = SI, all other registers 0.

    .section .resident, "ax"
    .code16
resident_start:
    mov %di, %ss
    mov %si, %sp
    mov %ss, %ax
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
