# SPDX-License-Identifier: MIT OR Apache-2.0
# Segment descriptors. The accessed bit is set in each, so the processor never writes here.

    .section .descriptors, "a"
    .balign 16
gdt:                                # as seen from here          from linux32_gdt
    .quad 0
    .quad 0x00009b0f0000ffff        # 0x08: 16-bit code, base 0xF0000, limit 64 KiB
linux32_gdt:                        # a first descriptor is never read
    .quad 0x00af9b000000ffff        # 0x10: 64-bit code          -
    .quad 0x00cf93000000ffff        # 0x18: flat data            0x08
    .quad 0x00cf9b000000ffff        # 0x20: flat 32-bit code     0x10
    .quad 0x00cf93000000ffff        # 0x28: flat data            0x18
    .quad 0x00008b0000000067        # 0x30: 32-bit TSS, busy     0x20
    .quad 0x000093000000ffff        # 0x38: data as in real mode: base 0, limit 64 KiB
gdt_end:

gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .long 0                         # long mode reads a 64-bit base

# Linux wants the same selectors in both modes: __BOOT_CS 0x10 and __BOOT_DS 0x18.
linux32_gdt_pointer:
    .word gdt_end - linux32_gdt - 1
    .quad linux32_gdt
