# SPDX-License-Identifier: MIT OR Apache-2.0
# All ways in but the 16-bit one, which is setup.s: note the time and the processor's state before
# touching it, then 64-bit mode and Rust.
#
# Fields of `state`: see struct State in main.rs.

    .section .head, "awx"
# Linux, 32-bit: ESI = boot_params.
    .code32
    .globl linux32_entry
linux32_entry:
    rdtsc                           # first of all: under an instruction clock, a count
    mov %esi, state + 8
    movl $3, state                  # mode
    jmp protected

# What makes an image one of multiboot 1; made out by xtask, since a file with it is nothing else.
    .org 0x40
    .globl multiboot_header
multiboot_header:
    .fill 8, 4, 0

# Linux, 64-bit: RSI = boot_params.
    .org 0x200
    .code64
    .globl linux64_entry
linux64_entry:
    rdtsc
    mov %eax, state + 64
    mov %edx, state + 68
    cld
    movl $2, state                  # mode
    mov %rsi, state + 8
    mov %cr0, %rax
    mov %rax, state + 16
    mov %cr3, %rax
    mov %rax, state + 24
    mov %cr4, %rax
    mov %rax, state + 32
    mov %rsp, %rbx                  # flags without using the loader's stack
    mov $stack_end, %rsp
    pushfq
    popq state + 40
    call note_descriptors
    jmp long_mode

# PVH: 32-bit protected mode, no paging, EBX = hvm_start_info.
    .code32
    .globl pvh_entry
pvh_entry:
    rdtsc
    mov %ebx, state + 8
    movl $1, state                  # mode
    jmp protected

# Multiboot 1: EAX = magic, EBX = multiboot_info. The magic goes first, so the time is one more.
    .globl multiboot_entry
multiboot_entry:
    mov %eax, %ebp
    rdtsc
    mov %ebx, state + 8
    movl $5, state                  # mode

# EDX:EAX = time.
protected:
    mov %eax, state + 64
    mov %edx, state + 68
    cld
    mov %ebx, state + 128
    mov %ebp, state + 132
    mov %edi, state + 136
    mov %cr0, %eax
    mov %eax, state + 16
    mov %cr4, %eax
    mov %eax, state + 32
    mov $stack_end, %esp
    pushfl
    popl state + 40
    call note_descriptors
    jmp to_long_mode

# From setup.s: ESI = boot_params, EBX = its record.
from_setup:
    cld
    movl $4, state                  # mode
    mov %esi, state + 8
    mov %ebx, state + 120
    mov $stack_end, %esp

to_long_mode:
    testb $4, state                 # modes that come with a BIOS
    jz 1f
    call ask_bios32
1:  call make_page_tables
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0x20, %eax                 # CR4: PAE
    mov %eax, %cr4
    mov $0xc0000080, %ecx           # EFER
    mov $0x100, %eax                # LME
    xor %edx, %edx
    wrmsr
    mov $0x80000011, %eax           # CR0: PG, PE, ET
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x10, $1f
    .code64
1:  mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    jmp in_rust

# The loader's tables need not cover all modules; ours do. The code below encodes the same in
# 32-bit and 64-bit mode: no 64-bit register, no stack but the return address.
    .code64
long_mode:
    lgdt gdt_pointer
    call make_page_tables
    mov $pml4, %eax
    mov %rax, %cr3
in_rust:
    mov $stack_end, %esp
    call {main}

# EFER, the segment registers and the tables' registers.
note_descriptors:
    mov $state, %edi
    mov $0xc0000080, %ecx           # EFER
    rdmsr
    mov %eax, 48(%rdi)
    mov %cs, 56(%rdi)
    mov %ds, 58(%rdi)
    mov %es, 60(%rdi)
    mov %ss, 62(%rdi)
    str 72(%rdi)
    sldt 74(%rdi)
    sgdt 88(%rdi)
    sidt 104(%rdi)
    ret

# 8 GiB in 2 MiB pages: stores through EDI in an order that is right in both modes.
make_page_tables:
    mov $pml4, %edi
    movl $pdpt + 3, (%rdi)
    movl $0, 4(%rdi)
    mov $pdpt, %edi
    mov $directories + 3, %eax
    mov $8, %ecx
1:  mov %eax, (%rdi)
    movl $0, 4(%rdi)
    add $8, %edi
    add $0x1000, %eax
    sub $1, %ecx
    jnz 1b
    mov $directories, %edi
    mov $0x83, %eax                 # present, writable, 2 MiB
    xor %edx, %edx                  # upper half
    mov $8 * 512, %ecx
1:  mov %eax, (%rdi)
    mov %edx, 4(%rdi)
    add $8, %edi
    add $0x200000, %eax
    adc $0, %edx
    sub $1, %ecx
    jnz 1b
    ret

# The way out: an exception that nobody can take.
    .globl triple_fault
triple_fault:
    lidt no_idt
    ud2

    .section .rodata.entry, "a"
    .balign 8
no_idt:
    .word 0
    .quad 0
gdt:
    .quad 0
    .quad 0
    .quad 0x00af9b000000ffff        # 0x10: 64-bit code
    .quad 0x00cf93000000ffff        # 0x18: data
gdt_pointer:
    .word . - gdt - 1
    .quad gdt

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, {pvh_note}          # name size, descriptor size, type
    .asciz "Xen"
    .long pvh_entry

    .section .data.entry, "aw"
    .balign 8
    .globl state
state:
    .fill 18, 8, 0

    .section .bss.entry, "aw", @nobits
    .balign 4096
pml4:
    .skip 4096
pdpt:
    .skip 4096
directories:
    .skip 8 * 4096
stack:
    .skip 16384
stack_end:
