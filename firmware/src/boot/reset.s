# SPDX-License-Identifier: MIT OR Apache-2.0
# The processor's first instruction, at 0xFFFFFFF0.
#
# In:  real mode, CS base 0xFFFF0000, IP 0xFFF0 (SDM volume 3, 10.1.4).
# Out: at real16, in the same segment.

    .section .reset, "ax"
    .code16
    .globl reset_vector
reset_vector:
    jmp real16                      # near: stays within the 64 KiB below 4 GiB
    .fill 16 - (. - reset_vector), 1, 0xf4      # hlt, never reached
