/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * See arch.h. The offsets are those of struct Context.
 */
        .text
        .hidden msocket_context_save, msocket_context_resume, msocket_clone_thread, msocket_clone_tracer, msocket_on_stack
        .globl  msocket_context_save, msocket_context_resume, msocket_clone_thread, msocket_clone_tracer, msocket_on_stack
        .type   msocket_context_save, @function
msocket_context_save:
        movq    %rbx, 0(%rdi)
        movq    %rbp, 8(%rdi)
        movq    %r12, 16(%rdi)
        movq    %r13, 24(%rdi)
        movq    %r14, 32(%rdi)
        movq    %r15, 40(%rdi)
        leaq    8(%rsp), %rax
        movq    %rax, 48(%rdi)
        movq    (%rsp), %rax
        movq    %rax, 56(%rdi)
        stmxcsr 64(%rdi)
        fnstcw  68(%rdi)
        xorl    %eax, %eax
        ret
        .size   msocket_context_save, .-msocket_context_save

        .type   msocket_context_resume, @function
msocket_context_resume:
        movq    0(%rdi), %rbx
        movq    8(%rdi), %rbp
        movq    16(%rdi), %r12
        movq    24(%rdi), %r13
        movq    32(%rdi), %r14
        movq    40(%rdi), %r15
        movq    48(%rdi), %rsp
        ldmxcsr 64(%rdi)
        fldcw   68(%rdi)
        movl    $1, %eax
        jmpq    *56(%rdi)
        .size   msocket_context_resume, .-msocket_context_resume

        .type   msocket_clone_thread, @function
msocket_clone_thread:
        movq    %rdx, %r8
        movl    $435, %eax              /* clone3 */
        syscall
        testq   %rax, %rax
        jz      1f
        ret
1:      movq    %r8, %rdi
        jmp     msocket_context_resume
        .size   msocket_clone_thread, .-msocket_clone_thread

        .type   msocket_clone_tracer, @function
msocket_clone_tracer:
        movq    %rdx, %r8               /* function; as tls it is unused without CLONE_SETTLS */
        movq    %rcx, %r9               /* argument */
        andq    $-16, %rsi
        movl    $56, %eax               /* clone */
        xorl    %edx, %edx
        xorl    %r10d, %r10d
        syscall
        testq   %rax, %rax
        jz      1f
        ret
1:      movq    %r9, %rdi
        call    *%r8
        ud2
        .size   msocket_clone_tracer, .-msocket_clone_tracer

        .type   msocket_on_stack, @function
msocket_on_stack:
        movq    %rdi, %rsp
        andq    $-16, %rsp
        movq    %rdx, %rdi
        call    *%rsi
        ud2
        .size   msocket_on_stack, .-msocket_on_stack
        .section .note.GNU-stack,"",@progbits
