# SPDX-License-Identifier: MIT OR Apache-2.0
# PCI BIOS: int 1Ah, AH=B1h in real mode, and the same functions for 32-bit protected mode, which
# programs find through the BIOS32 service directory (linker/firmware.ld).
#
# Spec: PCI BIOS Specification 2.1, chapter 2; Standard BIOS 32-bit Service Directory Proposal 0.4.
# Configuration mechanism 1 only. Where nobody answers at its ports there is no PCI BIOS.

# The functions, in registers and relative jumps alone, so that both modes have one text.
#
# In:  AL = function, the others as the specification says.
# Out: AH = status, CF = failed, the others as the specification says.
    .macro pci_functions mode
pci_bios\mode:
    call pci_probe\mode
    jc 8f
    cmpb $0x01, %al
    je pci_present\mode
    cmpb $0x02, %al
    je pci_find_device\mode
    cmpb $0x03, %al
    je pci_find_class\mode
    cmpb $0x08, %al
    jb 8f
    cmpb $0x0d, %al
    jbe pci_access\mode
8:  movb $0x81, %ah                 # function not supported
    stc
    ret

# CF if nobody answers at the configuration ports. Clobbers nothing.
pci_probe\mode:
    pushl %eax
    pushl %edx
    movw $0xcf8, %dx
    movl $0x80000000, %eax
    outl %eax, %dx
    inl %dx, %eax
    cmpl $0x80000000, %eax
    popl %edx
    popl %eax
    je 1f
    stc
1:  ret

pci_present\mode:
    pushl %ebp
    call pci_last_bus\mode
    movl %ebp, %edx
    popl %ebp
    movb %dl, %cl
    movl $0x20494350, %edx          # "PCI "
    movl $pci32_entry, %edi         # guest-physical; as BIOSes have always told
    movw $0x0210, %bx               # version 2.1
    movw $0x0001, %ax               # mechanism 1, no special cycles
    clc
    ret

# EBP = the highest bus behind any bridge on bus 0. Clobbers flags.
pci_last_bus\mode:
    pushl %eax
    pushl %ebx
    pushl %edi
    xorl %ebp, %ebp
    xorl %ebx, %ebx
1:  movw $0x0c, %di                 # header type
    call pci_read\mode
    shrl $16, %eax
    andb $0x7f, %al
    cmpb $1, %al                    # bridge; nobody there is 0x7f
    jne 2f
    movw $0x18, %di                 # subordinate bus
    call pci_read\mode
    shrl $16, %eax
    andl $0xff, %eax
    cmpl %ebp, %eax
    jbe 2f
    movl %eax, %ebp
2:  incb %bl
    jnz 1b
    popl %edi
    popl %ebx
    popl %eax
    ret

# CX = device, DX = vendor, SI = how many to skip.
pci_find_device\mode:
    cmpw $0xffff, %dx
    movb $0x83, %ah                 # bad vendor
    stc
    je 9f
    pushl %ecx
    pushl %edi
    shll $16, %ecx
    movw %dx, %cx
    xorl %edi, %edi
    jmp 1f
# ECX = class, SI = how many to skip.
pci_find_class\mode:
    pushl %ecx
    pushl %edi
    andl $0x00ffffff, %ecx
    movl $0x08, %edi
1:  pushl %ebp
    pushl %esi
    pushl %eax
    call pci_last_bus\mode
    xorl %ebx, %ebx
2:  call pci_read\mode
    testl %edi, %edi
    jz 3f
    shrl $8, %eax                   # without the revision
3:  cmpl %ecx, %eax
    jne 4f
    subw $1, %si
    jc 5f                           # this is the one
4:  incl %ebx
    movl %ebx, %eax
    shrl $8, %eax
    cmpl %ebp, %eax
    jbe 2b
    popl %eax
    movb $0x86, %ah                 # device not found
    stc
    jmp 6f
5:  popl %eax
    movb $0, %ah
    clc
6:  popl %esi
    popl %ebp
    popl %edi
    popl %ecx
9:  ret

# BX = bus and function, DI = register, CL, CX, ECX = value: 08h to 0Ah read a byte, a word, a double
# word, 0Bh to 0Dh write one.
pci_access\mode:
    movb %al, %ah
    subb $0x08, %ah
    cmpb $3, %ah
    jb 1f
    subb $3, %ah                    # 0, 1, 2: the size
1:  pushl %edx
    movl %edi, %edx
    testb %dh, %dh
    jnz 8f
    movb %ah, %dh                   # 0, 1, 3: what has to be clear in the register's number
    shrb $1, %dh
    addb %ah, %dh
    testb %dh, %dl
    jnz 8f
    call pci_select\mode
    xchgl %eax, %ecx                # CL = function, CH = size
    cmpb $0x0b, %cl
    jae 4f
    cmpb $1, %ch
    jb 2f
    je 3f
    inl %dx, %eax
    jmp 7f
2:  inb %dx, %al
    jmp 7f
3:  inw %dx, %ax
    jmp 7f
4:  cmpb $1, %ch
    jb 5f
    je 6f
    outl %eax, %dx
    jmp 7f
5:  outb %al, %dx
    jmp 7f
6:  outw %ax, %dx
7:  xchgl %eax, %ecx
    popl %edx
    movb $0, %ah
    clc
    ret
8:  popl %edx
    movb $0x87, %ah                 # bad register number
    stc
    ret

# EAX = the double word at BX, DI.
pci_read\mode:
    pushl %edx
    call pci_select\mode
    inl %dx, %eax
    popl %edx
    ret

# Selects BX, DI; DX = the port.
pci_select\mode:
    pushl %eax
    movzwl %bx, %eax
    shll $8, %eax
    movl %edi, %edx
    movb %dl, %al
    andb $0xfc, %al
    orl $0x80000000, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movl %edi, %edx
    andl $3, %edx
    addw $0xcfc, %dx
    popl %eax
    ret
    .endm

    .section .resident, "ax"
    .code16
    pci_functions 16
pci_service:
    mov FRAME_ESI(%bp), %si
    pushw %bp
    call pci_bios16
    popw %bp
    mov %eax, FRAME_EAX(%bp)
    mov %ebx, FRAME_EBX(%bp)
    mov %ecx, FRAME_ECX(%bp)
    mov %edx, FRAME_EDX(%bp)
    mov %edi, FRAME_EDI(%bp)
    jnc succeed
    jmp fail

    .code32
    pci_functions 32
# Far call: EAX = service, BL = 0. Out: AL = status, EBX = base, ECX = length, EDX = offset.
    .globl bios32_entry
bios32_entry:
    cmpl $0x49435024, %eax          # "$PCI"
    movb $0x80, %al                 # no such service
    jne 1f
    call pci_probe32
    jc 1f
    testb %bl, %bl
    movb $0x81, %al                 # no such function
    jnz 1f
    movl ${image}, %ebx
    movl $0x10000, %ecx
    movl $pci32_entry - {image}, %edx
    movb $0, %al
1:  lret

# Far call, as int 1Ah.
pci32_entry:
    pushfl
    cli
    call pci_bios32
    jc 1f
    popfl
    clc
    lret
1:  popfl
    stc
    lret
