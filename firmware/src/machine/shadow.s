# SPDX-License-Identifier: MIT OR Apache-2.0
# Put the image below 1 MiB into RAM, but for the gap in it, with one more structure in it, and go on there.
#
# In:  64-bit mode; DI = the port that decides what shows below 1 MiB, SIL = a byte for it: RAM,
#      R8B = another: RAM that cannot be written; R9 = the structure's address, RCX = its length.
#      The image's copy below 4 GiB is mapped.
# Out: the caller goes on in bytes equal to those it has left.
# Clobbers: RAX, RCX, RDX, RSI, RDI, R10, R11.

    .section .text.shadow_image, "ax"
    .code64
    .globl shadow_image
shadow_image:
    mov %edi, %edx
    mov %esi, %eax
    mov %rcx, %r10
    mov %cr3, %r11
    cmp ${image}, %r11
    jb 2f                           # page tables in RAM stay
    mov $pml4_1g, %esi              # those in the image go there meanwhile
    mov ${page_tables}, %edi
    mov $2 * 4096 / 8, %ecx
    rep movsq
    movq ${page_tables} + 4096 + 0x23, {page_tables}
    mov ${page_tables}, %edi
    mov %rdi, %cr3
2:
    mov ${copy}, %edi               # the copy below 4 GiB; zero-extended
    lea 1f - {image}(%rdi), %rdi
    jmp *%rdi                       # on in it
1:  out %al, %dx                    # RAM shows, and holds anything
    mov ${copy}, %esi
    mov ${image}, %edi
    mov $__image_end + 7, %ecx
    sub %edi, %ecx
    shr $3, %ecx
    rep movsq
    mov $__boot_start, %edi         # behind a gap, the way in
    lea {copy} - {image}(%edi), %esi
    mov ${image} + {size}, %ecx
    sub %edi, %ecx
    shr $3, %ecx
    rep movsq
    mov %r9, %rsi
    mov $smbios_anchor, %edi
    mov %r10, %rcx
    rep movsb
    mov %r8d, %eax
    out %al, %dx
    mov %r11, %cr3
    ret                             # to the copy below 1 MiB

    .section .descriptors, "a"
    .balign 16                      # DSP0134, section 5.2.1
smbios_anchor:
    .skip 32
