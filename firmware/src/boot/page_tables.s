# SPDX-License-Identifier: MIT OR Apache-2.0
# Page tables that stand ready in the image, so that nobody spends an instruction on them: for
# processors with 1 GiB pages. The others are rare; prot32.s makes theirs in RAM.
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
