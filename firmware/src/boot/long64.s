# SPDX-License-Identifier: MIT OR Apache-2.0
# Long mode: take a stack and enter Rust.
#
# In:  64-bit mode, flat data segments, EDI = CPUID 0x80000001 EDX, EBP:ESI = TSC at reset.
# Out: firmware_main(extended_features: u32, reset: u64) -> !, on an empty stack.

    .section .boot, "ax"
    .code64
long64:
    mov $STACK_TOP, %esp            # zero-extends to RSP
    lidt idt_pointer                # an exception is a bug: it is to be heard, not a reset
    mov %esi, %esi                  # what was above it, mode switches leave undefined
    shl $32, %rbp
    or %rbp, %rsi
    call {firmware_main}            # pushes, as the ABI's stack alignment wants; never returns
