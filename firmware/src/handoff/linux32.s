# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux, 32-bit entry: back to protected mode without paging, with Linux's selectors.
#
# In:  EDI = entry point, ESI = boot_params.
# Out: CR0 = PE (and ET, which cannot be cleared), CR4 = 0, EFER = 0, CS = __BOOT_CS (0x10),
#      DS = ES = FS = GS = SS = __BOOT_DS (0x18), interrupts off, ESI = boot_params,
#      EBP = EDI = EBX = 0.

    .section .text.enter_linux32, "ax"
    .code64
    .globl enter_linux32
enter_linux32:
    lgdt linux32_gdt_pointer
    ljmpl *linux32_target           # compatibility mode

    .code32
linux32:
    mov ${boot_ds}, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    leave_long_mode
    mov %edi, %eax
    xor %ebx, %ebx
    xor %ebp, %ebp
    xor %edi, %edi
    jmp *%eax

    .section .descriptors, "a"
    .balign 8
linux32_target:
    .long linux32
    .word {boot_cs}
