# SPDX-License-Identifier: MIT OR Apache-2.0
# Page tables that stand ready in the image, so that nobody spends an instruction on them.
#
# Entry bits: 0x23 = present, writable, accessed; 0xe3 adds dirty and page size. With accessed and
# dirty set, the processor never writes here, and the image may be read-only.

    .section .page_tables, "a"
    .balign 4096
pml4_1g:                            # with 1 GiB pages: the first 4 GiB
    .quad pdpt_1g + 0x23
    .fill 511, 8, 0
pdpt_1g:
    .quad 0x00000000000000e3
    .quad 0x00000000400000e3
    .quad 0x00000000800000e3
    .quad 0x00000000c00000e3
    .fill 508, 8, 0

pml4_2m:                            # with 2 MiB pages: the first 2 MiB, all that we run in
    .quad pdpt_2m + 0x23
    .fill 511, 8, 0
pdpt_2m:
    .quad pd_2m + 0x23
    .fill 511, 8, 0
pd_2m:
    .quad 0x00000000000000e3
    .fill 511, 8, 0
