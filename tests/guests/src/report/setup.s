# SPDX-License-Identifier: MIT OR Apache-2.0
# The real-mode part of a bzImage: asks the BIOS its questions, goes to protected mode and comes
# back, asks again, fills the parameter page, and goes on to `from_setup` in entry.s.
#
# Linked at 0 of its own segment, and read out of the linked file by xtask, which writes the header.
#
# In:  real mode, CS:IP = setup + 0x20:0, DS = ES = SS = setup, SP in that segment.
# Spec: Linux boot.rst, "Running the kernel" and "The real-mode kernel header".
#
# Fields of `record`: see struct Record in real.rs.

    .section .setup, "awx"
    .code16
# The header, and a jump to here behind it.
    .org 0x270
    rdtsc                           # all but first of all: the header's jumps are before it
    mov %eax, record
    mov %edx, record + 4
    mov %cr0, %eax
    mov %eax, record + 8
    pushfl
    popl record + 12
    mov %cs, record + 16
    mov %ds, record + 18
    mov %es, record + 20
    mov %fs, record + 22
    mov %gs, record + 24
    mov %ss, record + 26
    mov %sp, record + 28
    push %ds                        # CS = DS: labels are offsets in this segment
    push $1f
    lretw
1:  cld
    xor %eax, %eax
    mov %cs, %ax
    mov %ax, %es
    mov %ax, way_back + 2
    shl $4, %eax                    # what it takes to be found from outside
    mov %eax, base
    lea params(%eax), %edx
    mov %edx, record + 32
    lea questions(%eax), %edx
    mov %edx, record + 36
    lea answers(%eax), %edx
    mov %edx, record + 40
    lea gdt16(%eax), %edx
    mov %edx, gdt16_pointer + 2
    mov %ax, gdt16 + 10             # base of the 16-bit code segment
    shr $16, %eax
    mov %al, gdt16 + 12

    mov $questions, %si
    mov $answers, %di
ask:
    mov (%si), %al
    test %al, %al
    jz asked
    cmp $0xff, %al
    jne 1f
    call there_and_back
    add $24, %si
    jmp ask
1:  mov %al, interrupt + 1
    push %si
    push %di
    mov 4(%si), %eax
    mov 8(%si), %ebx
    mov 12(%si), %ecx
    mov 16(%si), %edx
    mov 20(%si), %edi
    xor %esi, %esi
    xor %ebp, %ebp
    jmp interrupt                   # the processor shall see the changed byte
interrupt:
    int $0
    pushfl
    pushal
    push %es
    push %ds
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %sp, %bp
    mov 40(%bp), %di                # the 40 bytes just pushed are the answer
    mov %sp, %si
    mov $20, %cx
    rep movsw %ss:(%si), %es:(%di)
    add $40, %sp
    pop %di
    pop %si
    add $40, %di
    add $24, %si
    incl record + 44
    jmp ask

asked:
# The parameter page: the header as the loader completed it, and the memory map.
    mov $0x1f1, %si
    mov $params + 0x1f1, %di
    mov $0x26c - 0x1f1, %cx
    rep movsb
    cmpw $0x202, 0x206              # older loaders leave the command line's offset elsewhere
    jae 1f
    cmpw $0xa33f, 0x20
    jne 1f
    movzwl 0x22, %eax
    add base, %eax
    mov %eax, params + 0x228
1:  xor %ebx, %ebx
    mov $params + 0x2d0, %di
2:  mov $0xe820, %eax
    mov $20, %ecx
    mov $0x534d4150, %edx           # "SMAP"
    int $0x15
    jc 3f
    cmp $0x534d4150, %eax
    jne 3f
    add $20, %di
    incb params + 0x1e8
    cmpb $128, params + 0x1e8
    jae 3f
    test %ebx, %ebx
    jnz 2b
3:  cli
    mov %cs, %ax
    mov %ax, %ds
    mov base, %esi
    lea record(%esi), %ebx
    lea params(%esi), %esi
    lgdtl gdt16_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x10, $1f                # its base is patched: 32-bit code still in this segment
    .code32
1:  mov $0x20, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    ljmp $0x18, $from_setup

# Protected mode, where a kernel that was loaded low is moved to where it is linked, and the first
# word of the kernel is read there; and back.
    .code16
there_and_back:
    push %si
    push %di
    push %es
    mov gdt16 + 10, %ax             # the 32-bit segment over the same bytes
    mov %ax, gdt16 + 18
    mov gdt16 + 12, %al
    mov %al, gdt16 + 20
    lgdtl gdt16_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $0x08, $1f
1:  mov $0x20, %ax
    mov %ax, %ds
    mov %ax, %es
    testb $1, %cs:0x211             # LOADED_HIGH
    jnz 2f
    mov $0x10000, %esi
    mov ${load_address}, %edi
    movzwl %cs:0x1f4, %ecx          # syssize
    shl $2, %ecx
    rep movsl (%esi), %es:(%edi)
2:  mov ${load_address}, %esi
    mov (%esi), %ebx
    mov $0x28, %ax                  # limits as real mode has them
    mov %ax, %ds
    mov %ax, %es
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    jmp 3f
3:  ljmp *%cs:way_back
4:  mov %cs, %ax
    mov %ax, %ds
    mov %ebx, record + 48
    pop %es
    pop %di
    pop %si
    ret

    .balign 8
gdt16:
    .quad 0
    .quad 0x00009b000000ffff        # 0x08: 16-bit code, base patched
    .quad 0x00409b000000ffff        # 0x10: 32-bit code over the same bytes
    .quad 0x00cf9b000000ffff        # 0x18: 32-bit code, flat
    .quad 0x00cf93000000ffff        # 0x20: data, flat
    .quad 0x000093000000ffff        # 0x28: data as in real mode
gdt16_pointer:
    .word . - gdt16 - 1
    .long 0
way_back:
    .word 4b, 0
base:
    .long 0

# What is asked, as (interrupt, EAX, EBX, ECX, EDX, EDI); 0xff is the way there and back.
    .macro question interrupt, eax, ebx=0, ecx=0, edx=0, edi=0
    .long \interrupt, \eax, \ebx, \ecx, \edx, \edi
    .endm
    .balign 4
questions:
    question 0x10, 0x0e2a, 0x0007           # teletype: an asterisk
    question 0x10, 0x0f00                   # video mode
    question 0x10, 0x0300                   # cursor
    question 0x10, 0x1200, 0x0010           # EGA?
    question 0x10, 0x4f00, edi=scratch      # VESA?
    question 0x11, 0                        # equipment
    question 0x12, 0                        # base memory in KiB
    question 0x13, 0x0000, edx=0x80         # disk: reset
    question 0x13, 0x0800, edx=0x80         # parameters
    question 0x13, 0x1500, edx=0x80         # type
    question 0x13, 0x4100, 0x55aa, edx=0x80 # extensions?
    question 0x13, 0x0201, scratch, 1, 0x80 # read the first sector
    question 0x13, 0x0800, edx=0x00         # diskette: parameters
    question 0x14, 0x0300                   # serial status
    question 0x15, 0xe820, 0, 24, 0x534d4150, scratch
    question 0x15, 0xe820, 0, 20, 0, scratch # without "SMAP"
    question 0x15, 0xe801                   # extended memory, twice
    question 0x15, 0xe881
    question 0x15, 0x8800                   # extended memory in KiB
    question 0x15, 0xc000                   # configuration
    question 0x15, 0xc100                   # EBDA segment
    question 0x15, 0x2401                   # A20 on
    question 0x15, 0x2402                   # A20?
    question 0x15, 0x2403                   # A20: which ways?
    question 0x15, 0x4100                   # wait for event
    question 0x15, 0x4f1e                   # keyboard intercept
    question 0x15, 0x5300                   # APM?
    question 0x15, 0xe980, edx=0x47534943   # SpeedStep?
    question 0x15, 0xec00, 2                # the mode that is meant to be run
    question 0x15, 0xff00                   # no such function
    question 0x16, 0x0100                   # a key?
    question 0x16, 0x0200                   # shift keys
    question 0x16, 0x0305                   # repeat rate
    question 0x17, 0x0200                   # printer
    question 0x1a, 0x0000                   # ticks
    question 0x1a, 0x0200                   # time
    question 0x1a, 0x0400                   # date
    question 0x1a, 0xb101                   # PCI BIOS?
    question 0x1a, 0xb103, ecx=0x060000     # the first host bridge
    question 0x1a, 0xb10a                   # vendor and device of 00:00.0
    question 0xff, 0
    question 0x10, 0x0e2a, 0x0007
    question 0x12, 0
    question 0x15, 0xe820, 0, 20, 0x534d4150, scratch
    question 0x15, 0xe801
    question 0x15, 0x8800
    question 0x1a, 0xb101
    .long 0

    .balign 8
record:
    .fill 52
answers:
    .fill 48 * 40
scratch:
    .fill 512
    .balign 16
params:
    .fill 4096
