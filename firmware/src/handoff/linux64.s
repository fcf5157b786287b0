# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux, 64-bit entry.
#
# In:  EDI/RDI = entry point, RSI = boot_params.
# Out: 64-bit mode, identity map, CS = __BOOT_CS (0x10), DS = ES = SS = __BOOT_DS (0x18) since the
#      way in, interrupts off, RSI = boot_params.

    .section .text.enter_linux64, "ax"
    .code64
    .globl enter_linux64
enter_linux64:
    jmp *%rdi
