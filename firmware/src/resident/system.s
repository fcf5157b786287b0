# SPDX-License-Identifier: MIT OR Apache-2.0
# Int 15h: memory, A20, waiting.
#
# Spec: ACPI 6.5, section 15.1 (E820h); Ralf Brown's Interrupt List for the others.

    .section .resident, "ax"
    .code16
system_table:
    .byte 0x24
    .word a20 - {image}
    .byte 0x86
    .word wait_microseconds - {image}
    .byte 0x87
    .word move_block - {image}
    .byte 0x88
    .word extended_memory - {image}
    .byte 0x90                      # device busy, device done: nothing to do meanwhile
    .word done - {image}
    .byte 0x91
    .word done - {image}
    .byte 0xc0
    .word configuration - {image}
    .byte 0xc1
    .word ebda_segment - {image}
    .byte 0xe8
    .word memory_map - {image}
    .byte 0xec                      # the program will enter long mode: fine
    .word done - {image}
    .byte 0xff
    .word unsupported - {image}

done:
    movb $0, FRAME_EAX + 1(%bp)
    jmp succeed

memory_map:
    cmp $0x20, %al
    je e820
    cmp $0x01, %al
    jne unsupported
# E801h
    mov BDA_EBDA, %es
    mov %es:{below_16m_kib}, %ax
    mov %ax, FRAME_EAX(%bp)
    mov %ax, FRAME_ECX(%bp)
    mov %es:{above_16m_64k}, %ax
    mov %ax, FRAME_EBX(%bp)
    mov %ax, FRAME_EDX(%bp)
    jmp succeed

# One entry of 20 bytes to ES:DI; EBX counts them.
e820:
    cmp ${smap}, %edx
    jne unsupported
    cmp $20, %ecx
    jb unsupported
    mov BDA_EBDA, %ds
    movzwl {e820_entries}, %eax
    cmp %eax, %ebx
    jae unsupported
    imul $20, %bx, %si
    add ${e820}, %si
    mov $10, %cx
    rep movsw
    inc %bx
    cmp %ax, %bx
    jb 1f
    xor %bx, %bx                    # that was the last one
1:  movzwl %bx, %ebx
    mov %ebx, FRAME_EBX(%bp)
    movl $20, FRAME_ECX(%bp)
    movl ${smap}, FRAME_EAX(%bp)
    jmp succeed

extended_memory:
    mov BDA_EBDA, %es
    mov %es:{extended_kib}, %ax
    mov %ax, FRAME_EAX(%bp)
    jmp succeed

configuration:
    movw $configuration_table - {image}, FRAME_EBX(%bp)
    movw %cs, FRAME_ES(%bp)
    jmp done
configuration_table:
    .word 8                         # bytes that follow
    .byte 0xfc, 0, 1                # model AT, submodel, revision
    .byte 0x70                      # second 8259, clock, keyboard intercept absent
    .byte 0x40, 0, 0, 0             # int 16h, AH=09h absent; as an ISA machine with an EBDA

ebda_segment:
    mov BDA_EBDA, %ax
    mov %ax, FRAME_ES(%bp)
    jmp succeed

# The gate is open since reset. A program may close it by port 92h, so that is where we open it.
a20:
    cmp $1, %al
    je 1f
    cmp $2, %al
    je 2f
    cmp $3, %al
    jne unsupported                 # it cannot be closed here
    inb $0x92, %al                  # how it may be opened: by nothing, or by port 92h
    not %al                         # nobody there: all ones
    neg %al
    sbb %ax, %ax
    and $2, %ax
    mov %ax, FRAME_EBX(%bp)
    jmp done
1:  inb $0x92, %al
    test $2, %al                    # open, or nobody there
    jnz done
    or $2, %al
    and $0xfe, %al                  # bit 0 would reset
    outb %al, $0x92
    jmp done
2:  pushw %ds                       # whether 1 MiB is something else than 0
    xor %ax, %ax
    mov %ax, %ds
    dec %ax
    mov %ax, %es
    mov 0, %eax
    mov %es:0x10, %ecx
    movw $0x0001, %bx               # assume it is
    cmp %eax, %ecx
    jne 3f
    notl 0
    mov %es:0x10, %ecx
    notl 0
    cmp %eax, %ecx
    je 3f
    dec %bx                         # it has changed with it
3:  popw %ds
    mov %bl, FRAME_EAX(%bp)
    jmp done

# CX:DX microseconds, by counter 0 of the PIT (mode 2, 65,536 at 1,193,182 Hz).
wait_microseconds:
    call pit_count
    cmp $0xffff, %ax                # nobody there: all ones
    jne 1f
    call pit_count
    cmp $0xffff, %ax
    je unsupported
1:  mov %ax, %bx
    shl $16, %ecx
    mov %dx, %cx
    mov $78196, %eax                # 1.193182 * 65,536
    mul %ecx
    shrd $16, %edx, %eax
    mov %eax, %ecx                  # counts to wait for
    sti                             # ticks go on meanwhile
2:  call pit_count
    sub %ax, %bx                    # since the last look; it counts down
    movzwl %bx, %edx
    mov %ax, %bx
    sub %edx, %ecx
    ja 2b
    jmp done

# AX = counter 0.
pit_count:
    xor %al, %al                    # latch
    outb %al, $0x43
    inb $0x40, %al
    mov %al, %ah
    inb $0x40, %al
    xchg %al, %ah
    ret

# CX words from and to the bases of the descriptors at ES:SI + 0x10 and + 0x18 of the caller.
move_block:
    cmp $0x8000, %cx
    ja unsupported
    mov FRAME_ESI(%bp), %si
    mov %es:0x1a(%si), %edi
    and $0x00ffffff, %edi
    movzbl %es:0x1f(%si), %eax
    shl $24, %eax
    or %eax, %edi
    mov %es:0x12(%si), %edx
    and $0x00ffffff, %edx
    movzbl %es:0x17(%si), %eax
    shl $24, %eax
    or %eax, %edx
    mov %edx, %esi
    movzwl %cx, %ecx

    sub $6, %sp
    mov %sp, %bx
    sgdtl %ss:(%bx)                 # the program may have its own
    lgdtl %cs:gdt_pointer - {image}
    mov %cr0, %eax
    inc %ax                         # PE
    mov %eax, %cr0
    ljmpw ${code16}, $1f - {image}
1:  mov ${data}, %ax                # flat
    mov %ax, %ds
    mov %ax, %es
    .byte 0x67                      # 32-bit addresses
    rep movsw
    mov ${data16}, %ax              # limits as real mode has them
    mov %ax, %ds
    mov %ax, %es
    mov %cr0, %eax
    dec %ax
    mov %eax, %cr0
    ljmpw ${image} >> 4, $2f - {image}
2:  lgdtl %ss:(%bx)
    add $6, %sp
    jmp done
