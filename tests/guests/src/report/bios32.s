# SPDX-License-Identifier: MIT OR Apache-2.0
# What a 32-bit program asks a BIOS: where its PCI services are, and two of them.
#
# Spec: Standard BIOS 32-bit Service Directory Proposal 0.4; PCI BIOS Specification 2.1, chapter 3.
# In: protected mode without paging, flat segments, a stack. Clobbers all registers.
# Fields of `bios32`: see struct Bios32 in bios32.rs.

    .section .text.bios32, "ax"
    .code32
ask_bios32:
    mov $0xf0000, %esi
1:  cmpl $0x5f32335f, (%esi)        # "_32_"
    je 2f
    add $16, %esi
    cmp $0x100000, %esi
    jb 1b
    ret
2:  incl bios32                     # there is one
    mov $0x49435024, %eax           # "$PCI"
    xor %ebx, %ebx
    push %cs                        # with the return address: a far call
    call *4(%esi)
    mov %al, bios32 + 4
    test %al, %al
    jnz 3f
    lea (%ebx, %edx), %ebp
    mov $0xb101, %eax               # installation check
    push %cs
    call *%ebp
    mov %eax, bios32 + 8
    mov %ebx, bios32 + 12
    mov %ecx, bios32 + 16
    mov %edx, bios32 + 20
    mov $0xb10a, %eax               # read vendor and device of 00:00.0
    xor %ebx, %ebx
    xor %edi, %edi
    push %cs
    call *%ebp
    mov %eax, bios32 + 24
    mov %ecx, bios32 + 28
    mov $0xb1ff, %eax               # no such function
    push %cs
    call *%ebp
    mov %eax, bios32 + 32
3:  ret

    .section .data.bios32, "aw"
    .balign 4
    .globl bios32
bios32:
    .fill 9, 4, 0
