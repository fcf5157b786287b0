# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux, 16-bit entry: back to real mode, the way the processor came.
#
# Spec: Intel SDM volume 3, 10.9.2 (switching back to real-address mode).
# In:  DI = the kernel's segment, SI = its initial SP.
# Out: at resident_start, real mode, CR4 = 0, EFER = 0, interrupt vectors at 0, interrupts off,
#      the services installed.

    .section .text.enter_linux16, "ax"
    .code64
    .globl enter_linux16
enter_linux16:
    ljmpl *linux16_target           # compatibility mode

    .code32
linux16:
    leave_long_mode
    push %esi
    push %edi
    call install_services
    pop %edi
    pop %esi
    ljmp ${code16}, $1f - {image}

    .code16
1:  mov ${data16}, %ax              # limits that real mode keeps
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    lidtl %cs:vectors_pointer - {image}
    mov $0x10, %eax                 # CR0: ET
    mov %eax, %cr0
    ljmpw ${image} >> 4, $resident_start - {image}

    .section .descriptors, "a"
    .balign 8
linux16_target:
    .long linux16
    .word {code32}
vectors_pointer:
    .word 0x3ff
    .long 0
