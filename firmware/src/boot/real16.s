# SPDX-License-Identifier: MIT OR Apache-2.0
# Real mode: load the descriptor table, switch to protected mode, leave the top of 4 GiB.
#
# In:  real mode, CS base 0xFFFF0000 (the image's copy below 4 GiB), interrupts off.
# Out: at prot32, 32-bit protected mode, in the image's copy below 1 MiB.
#      EBP:ESI = the time stamp counter.
# Clobbers: EAX, EDX.

    .section .boot, "ax"
    .code16
real16:
    mov %cr0, %eax
    bt $30, %eax                    # CD: on since a reset, off in a program that jumps to FFFF:0
    jnc restart
    cld
    rdtsc                           # when it began
    mov %eax, %esi
    mov %edx, %ebp
    # The operand is addressed by its offset in the image; the table's own base is its address
    # below 1 MiB.
    lgdtl %cs:gdt_pointer - {image}
    mov $0x11, %eax                 # CR0: PE and ET; clears CD and NW, the reset state's cache-off
    mov %eax, %cr0
    ljmpl ${code32}, $prot32        # loads CS, and with it the 32-bit mode

# A program in real mode asks for a reboot: a reset, by one of the ways that there are.
restart:
    cli
    mov $0xcf9, %dx                 # reset control register: where, then go
    mov $0x02, %al
    outb %al, %dx
    mov $0x06, %al
    outb %al, %dx
    mov $0xfe, %al                  # keyboard controller: pulse the reset line
    outb %al, $0x64
    lidtl %cs:gdt - {image}         # no vectors at all: triple fault
    int3
1:  hlt
    jmp 1b
