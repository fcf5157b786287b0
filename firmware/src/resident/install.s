# SPDX-License-Identifier: MIT OR Apache-2.0
# Interrupt vectors, interrupt controllers and timer, for kernels that call the services below.
#
# In:  32-bit protected mode without paging, flat segments, a stack, interrupts off.
# Out: returns. Clobbers: EAX, ECX, EDX, ESI, EDI.

    .section .text.install_services, "ax"
    .code32
install_services:
    cld
    xor %edi, %edi                  # all 256 vectors first
    mov $({image} << 12) + (int_none - {image}), %eax
    mov $256, %ecx
    rep stosl
    mov $vectors, %esi              # then those that lead somewhere
1:  xor %eax, %eax
    lodsb
    mov %eax, %edi
    lodsw
    mov %ax, (, %edi, 4)
    cmp $vectors_end, %esi
    jb 1b
    mov $0x60 * 4, %edi             # for programs: empty
    mov $8, %ecx
    xor %eax, %eax
    rep stosl

    mov $0xfa, %al                  # IRQ 0 and the cascade open, all others masked
    outb %al, $0x21
    inb $0x21, %al
    cmp $0xfa, %al                  # nobody holds it: no 8259 pair
    jne 2f
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
    movl $0x700, {local_apic} + 0x350   # LVT LINT0: ExtINT
    mov $0x34, %al                  # PIT counter 0: both bytes, mode 2, binary
    outb %al, $0x43
    xor %eax, %eax                  # 65,536
    outb %al, $0x40
    outb %al, $0x40
2:  ret
