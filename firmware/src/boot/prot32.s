# SPDX-License-Identifier: MIT OR Apache-2.0
# Protected mode: check for long mode, choose page tables, switch to long mode.
#
# In:  32-bit protected mode, paging off.
# Out: at long64, 64-bit mode. SS, DS, ES, FS, GS hold the flat data segment; EDI the extended
#      features (CPUID 0x80000001 EDX).
#      EBP:ESI stay.
# Clobbers: EAX, EBX, ECX, EDX.

    .code32
prot32:
    mov ${data}, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs

    mov $0x80000000, %eax           # highest extended CPUID leaf
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax           # extended features
    cpuid
    bt $29, %edx                    # LM: long mode
    jnc no_long_mode

    # Virtual wire mode (MP Specification 1.4, 3.6.2.2), but for LINT0: it carries the 8259 pair's
    # interrupts and is opened by whoever programs the pair. Every processor with long mode has a
    # local APIC; a machine that takes it away drops the stores.
    movl $0x1ff, {local_apic} + 0xf0    # spurious vector 0xff, APIC on
    movl $0x400, {local_apic} + 0x360   # LVT LINT1: NMI

    mov $pml4_1g, %ecx              # stands ready in the image
    bt $26, %edx                    # Page1GB: 1 GiB pages
    jnc no_1g_pages
choose:
    mov %ecx, %cr3
    mov %edx, %edi                  # for firmware_main
    mov $0x20, %eax                 # CR4: PAE
    mov %eax, %cr4
    mov $0xc0000080, %ecx           # EFER
    mov $0x100, %eax                # LME; all else is 0 after reset
    xor %edx, %edx
    wrmsr
    mov $0x80000011, %eax           # CR0: PG, PE, ET
    mov %eax, %cr0
    ljmp ${code64}, $long64         # loads CS, and with it the 64-bit mode

# Without 1 GiB pages three tables in RAM map the first 2 MiB, all that we run in, and the last
# below 4 GiB. (Each shows in a second place, which nobody uses.) Present, writable, accessed; the
# leaves also dirty and large.
no_1g_pages:
    mov ${page_tables}, %edi
    mov %edi, %ebx
    mov ${page_tables_size} / 4, %ecx
    xor %eax, %eax
    rep stosl                       # all entries absent
    lea 0x1023(%ebx), %eax          # PML4[0] = the page directory pointer table
    mov %eax, (%ebx)
    lea 0x2023(%ebx), %eax          # PDPT[0] = the page directory
    mov %eax, 0x1000(%ebx)
    mov %eax, 0x1018(%ebx)          # PDPT[3] = the same, for the last GiB below 4 GiB
    movl $0xe3, 0x2000(%ebx)        # PD[0] = 2 MiB at 0
    movl ${local_apic} + 0xfb, 0x2000 + ({local_apic} >> 21 & 511) * 8(%ebx) # local APIC, uncached
    movl $0xffe000e3, 0x2ff8(%ebx)  # PD[511] = 2 MiB below 4 GiB, where the image is, too
    mov %ebx, %ecx
    jmp choose

# Says so on COM1, reports the code, stops. The UART may be unprogrammed; hosts do not mind.
no_long_mode:
    mov $no_long_mode_sentence, %esi
    mov ${no_long_mode}, %ebx

# ESI = a sentence that ends with a newline, EBX = what to report. Uses no stack.
give_up:
    mov $0x3f8, %edx                # COM1
1:  lodsb                           # next byte of the sentence
    out %al, %dx
    cmp $'\n', %al
    jne 1b
    mov %ebx, %eax
    mov ${failure_port}, %edx
    out %eax, %dx
2:  hlt
    jmp 2b

    .section .descriptors, "a"
no_long_mode_sentence:
    .ascii "qboot-rs: processor: expected long mode (CPUID 0x80000001 EDX bit 29), found none\r\n"
