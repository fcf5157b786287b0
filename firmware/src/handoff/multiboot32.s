# SPDX-License-Identifier: MIT OR Apache-2.0
# Multiboot 1: the kernel is loaded when nothing of the firmware's memory is needed any more, and
# may then lie anywhere in it: stack, buffers, page tables.
#
# In:  EDI = multiboot_info, ESI = LoadOrder.
# Out: as from pvh32.s; EAX = 0x2BADB002, EBX = multiboot_info.

    .section .text.enter_multiboot32, "ax"
    .code64
    .globl enter_multiboot32
enter_multiboot32:
    mov %esi, %ebp
    mov %edi, %esi
    mov $multiboot32, %edi          # as if this were the kernel
    jmp enter_pvh32

    .code32
multiboot32:                        # EBX = multiboot_info, EBP = LoadOrder
    call install_services           # a kernel may go back to real mode and call a BIOS

    cmpw $0, {dma}(%ebp)
    je by_port
    mov %ebp, %eax                  # the order begins with the descriptor
    bswap %eax
    mov ${dma_low}, %edx
    out %eax, %dx
    mov ${patience}, %ecx
1:  mov (%ebp), %eax                # control, big-endian
    test %eax, %eax
    jz loaded                       # done
    test ${dma_error}, %eax
    loopz 1b
    mov $not_loaded_sentence, %esi
    mov ${transfer_failed}, %ebx
    jmp give_up

by_port:
    mov (%ebp), %eax                # control: the item in the upper half
    bswap %eax
    shr $16, %eax
    mov ${selector}, %edx
    out %ax, %dx
    inc %edx                        # data
    mov {length}(%ebp), %ecx
    bswap %ecx
    mov {address}(%ebp), %edi       # low half
    bswap %edi
    rep insb

loaded:
    mov {terminator}(%ebp), %edi
    movb $0, (%edi)                 # the VMM's word alone is not enough
    mov ${magic}, %eax
    jmp *{entry}(%ebp)

    .section .descriptors, "a"
not_loaded_sentence:
    .ascii "qboot-rs: fw_cfg item 0x11: expected the kernel by DMA, found an error\r\n"
