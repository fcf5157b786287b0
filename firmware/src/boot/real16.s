# SPDX-License-Identifier: MIT OR Apache-2.0
# Real mode: load the descriptor table, switch to protected mode, leave the top of 4 GiB.
#
# In:  real mode, CS base 0xFFFF0000 (the image's copy below 4 GiB), interrupts off.
# Out: at prot32, 32-bit protected mode, in the image's copy below 1 MiB.
# Clobbers: EAX.

    .section .boot, "ax"
    .code16
real16:
    cli                             # a program in real mode may come here, too
    cld
    # The operand is addressed by its offset in the image; the table's own base is its address
    # below 1 MiB.
    lgdtl %cs:gdt_pointer - {image}
    mov $0x11, %eax                 # CR0: PE and ET; clears CD and NW, the reset state's cache-off
    mov %eax, %cr0
    ljmpl ${code32}, $prot32        # loads CS, and with it the 32-bit mode
