# SPDX-License-Identifier: MIT OR Apache-2.0
# From compatibility mode to protected mode without paging, in every way out but that of 64 bits.
#
# Spec: Intel SDM volume 3, 10.8.5.4 (switching out of IA-32e mode).
# Clobbers: EAX (0 then), ECX, EDX.

    .macro leave_long_mode
    mov $0x11, %eax                 # CR0: PE, ET; paging off leaves long mode
    mov %eax, %cr0
    mov $0xc0000080, %ecx           # EFER
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    mov %eax, %cr4                  # 0
    .endm
