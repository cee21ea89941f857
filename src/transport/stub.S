/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * "If the look says so, make this system call", as one step. Between the look and the call the control signal's handler may
 * put another socket under the number: then it sets the thread back to the look (stub.h), and so it does with a call that the
 * kernel would restart. So everything from the look on can be repeated: it changes only registers that it loads again, and
 * the system call destroys only rcx, r11 and rax.
 *
 * ms_send, ms_recv, ms_write, ms_read: the fast path of the four calls, a dozen instructions. Everything unusual (an error,
 * a short count, a slow number) goes on in calls_io.cc: ms_finish_X(fd, buffer, length, flags, result).
 */
#define REDO (-4099)
#define MAX_FD 65536
#define READ_SLOW 2
#define WRITE_SLOW 4
#define SYS_read 0
#define SYS_write 1
#define SYS_sendto 44
#define SYS_recvfrom 45

        .text
        .hidden ms_stub, ms_stub_equal, ms_stub_base, ms_stub_table, ms_stub_table_end, ms_kind
        .hidden ms_finish_send, ms_finish_recv, ms_finish_write, ms_finish_read
        .globl  ms_stub_base
ms_stub_base:

/* One line of the table: the look, the system call; `again`: a call that ended with EINTR because of our own signal is made
 * again (the kernel does not restart by itself what has a time-out). */
        .macro  guarded look, syscall, again
        .pushsection .rodata.ms_stub, "a", @progbits
        .long   \look - ms_stub_base, \syscall - ms_stub_base, \again
        .popsection
        .endm
        .pushsection .rodata.ms_stub, "a", @progbits
        .balign 4
        .globl  ms_stub_table
ms_stub_table:
        .popsection

/* long ms_stub(a1, a2, a3, a4, a5, a6, nr, const uint8_t* word, long mask): if none of mask's bits is set in *word. */
        .globl  ms_stub
        .type   ms_stub, @function
ms_stub:
        .cfi_startproc
        movq    %rcx, %r10
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        movq    24(%rsp), %rbx
1:      movq    16(%rsp), %rax
        movl    32(%rsp), %ecx
        testb   %cl, (%rbx)
        jnz     3f
2:      syscall
        popq    %rbx
        .cfi_remember_state
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_restore_state
3:      movq    $REDO, %rax
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   ms_stub, .-ms_stub
        guarded 1b, 2b, 1

/* long ms_stub_equal(a1, a2, a3, a4, a5, a6, nr, const uint32_t* word, uint32_t value): if *word is still `value`. Its
 * calls wait with a time-out: what comes back with EINTR is for the caller. */
        .globl  ms_stub_equal
        .type   ms_stub_equal, @function
ms_stub_equal:
        .cfi_startproc
        movq    %rcx, %r10
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        movq    24(%rsp), %rbx
1:      movq    16(%rsp), %rax
        movl    32(%rsp), %ecx
        cmpl    %ecx, (%rbx)
        jne     3f
2:      syscall
        popq    %rbx
        .cfi_remember_state
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_restore_state
3:      movq    $REDO, %rax
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   ms_stub_equal, .-ms_stub_equal
        guarded 1b, 2b, 0

        .macro  fast name, nr, slow, sending
        .globl  ms_\name, __wrap_\name
        .type   ms_\name, @function
        .type   __wrap_\name, @function
        .balign 16
ms_\name:
__wrap_\name:
        .cfi_startproc
        .ifc    \nr, $SYS_sendto
        movl    %ecx, %r10d
        xorl    %r8d, %r8d
        .endif
        .ifc    \nr, $SYS_recvfrom
        movl    %ecx, %r10d
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        .endif
1:      movl    %edi, %eax
        cmpl    $MAX_FD, %eax
        jae     4f
        leaq    ms_kind(%rip), %rcx
        testb   $\slow, (%rcx,%rax)
        jnz     5f
4:      movl    \nr, %eax
2:      syscall
        cmpq    %rdx, %rax
        jne     3f
        ret
        .ifeqs  "\sending", "no"
3:      testq   %rax, %rax
        jle     6f
        .ifc    \nr, $SYS_recvfrom
        testl   $0x100, %r10d           /* MSG_WAITALL */
        jnz     6f
        .endif
        ret
        .else
3:
        .endif
6:      movl    %r10d, %ecx
        movq    %rax, %r8
        jmp     ms_finish_\name
5:      movl    %r10d, %ecx
        movq    $REDO, %r8
        jmp     ms_finish_\name
        .cfi_endproc
        .size   ms_\name, .-ms_\name
        .size   __wrap_\name, .-__wrap_\name
        guarded 1b, 2b, 1
        .endm

        fast    send, $SYS_sendto, WRITE_SLOW, yes
        fast    recv, $SYS_recvfrom, READ_SLOW, no
        fast    write, $SYS_write, WRITE_SLOW, yes
        fast    read, $SYS_read, READ_SLOW, no

        .pushsection .rodata.ms_stub, "a", @progbits
        .globl  ms_stub_table_end
ms_stub_table_end:
        .popsection
        .section .note.GNU-stack,"",@progbits
