# SPDX-License-Identifier: MIT OR Apache-2.0
# Segment descriptors. The accessed bit is set in each, so the processor never writes here.

    .section .descriptors, "a"
    .balign 16
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff        # 0x08: 32-bit code, base 0, limit 4 GiB, execute/read
    .quad 0x00af9b000000ffff        # 0x10: 64-bit code
    .quad 0x00cf93000000ffff        # 0x18: data, base 0, limit 4 GiB, read/write
gdt_end:

gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .long 0                         # long mode reads a 64-bit base
