# SPDX-License-Identifier: MIT OR Apache-2.0
# PVH: back to 32-bit protected mode without paging.
#
# In:  EDI = entry point, ESI = hvm_start_info.
# Out: CR0 = PE (and ET, which cannot be cleared), CR4 = 0, EFER = 0, flat segments, TR = a 32-bit
#      TSS (base 0, limit 0x67), interrupts off, EBX = hvm_start_info.

    .section .text.enter_pvh32, "ax"
    .code64
    .globl enter_pvh32
enter_pvh32:
    mov %esi, %ebx
    ljmpl *pvh32_target             # compatibility mode

    .code32
pvh32:
    leave_long_mode

    # Only an idle TSS can be loaded, and the processor marks it busy: once, in a table of which no
    # more than that descriptor exists, on the stack. Ours has it as it is then.
    push $0x8900                    # base 0, present, 32-bit TSS
    push $0x67                      # limit
    lea -{tss}(%esp), %eax
    push %eax                       # base of such a table
    pushw ${tss} + 7                # limit
    lgdt (%esp)
    mov ${tss}, %eax
    ltr %ax
    lgdt gdt_pointer
    jmp *%edi

    .section .descriptors, "a"
    .balign 8
pvh32_target:
    .long pvh32
    .word {code32}
