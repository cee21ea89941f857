/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * long ms_stub(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint8_t* word, long mask)
 *
 * "If none of mask's bits is set in *word, make this system call", as one step: a control signal that comes after the
 * look and before the kernel has the call makes the handler set the program counter back to the look (stub.h), and so does
 * a call that the kernel would restart. Returns the call's result, or kRedo when a bit was set.
 */
        .text
        .hidden ms_stub, ms_stub_check, ms_stub_syscall
        .globl  ms_stub, ms_stub_check, ms_stub_syscall
        .type   ms_stub, @function
ms_stub:
        .cfi_startproc
        movq    %rcx, %r10
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        movq    24(%rsp), %rbx
ms_stub_check:                          /* everything from here on may be repeated */
        movq    16(%rsp), %rax
        movl    32(%rsp), %ecx
        testb   %cl, (%rbx)
        jnz     1f
ms_stub_syscall:
        syscall
        popq    %rbx
        .cfi_remember_state
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_restore_state
1:      movq    $-4099, %rax            /* kRedo */
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   ms_stub, .-ms_stub
        .section .note.GNU-stack,"",@progbits
