# SPDX-License-Identifier: MIT OR Apache-2.0
# Exceptions: this firmware runs with interrupts off and expects none. Each gate leads to a report.
#
# In:  64-bit mode, as the processor pushes it: [error code,] RIP, CS, RFLAGS, RSP, SS.
# Out: exception(vector: u64, stack: *const u64) -> !

    .section .boot, "ax"
    .balign 8
exception_entries:                  # 32 entries of 8 bytes; the call's return address is the vector
    .rept 32
    call exception_common
    .balign 8
    .endr

exception_common:
    pop %rdi                        # behind the call in entry n: between 8n and 8n + 8
    sub $exception_entries, %edi
    shr $3, %edi                    # vector
    mov %rsp, %rsi                  # what the processor pushed
    and $-16, %rsp
    call {exception}

    .section .descriptors, "a"
    .balign 16
idt:                                # SDM volume 3, 7.14.1: 64-bit interrupt gates
    .set entry, 0
    .rept 32
    .word exception_entries - {image} + entry   # offset bits 0-15
    .word {code64}
    .word 0x8e00                    # present, interrupt gate
    .word 0xf                       # offset bits 16-31: the image lies at 0xF0000
    .quad 0
    .set entry, entry + 8
    .endr
idt_end:

idt_pointer:
    .word idt_end - idt - 1
    .quad idt
