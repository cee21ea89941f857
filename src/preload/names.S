/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * libc's names for the calls of include/msocket/msocket.h: each is one jump, so that a call costs one instruction more than
 * ms_X does. tests/faces_test holds this list against the header.
 */
        .text
        .macro  face name, others:vararg
        .globl  \name
        .type   \name, @function
\name:
        .cfi_startproc
        jmp     *ms_\name@GOTPCREL(%rip)
        .cfi_endproc
        .size   \name, .-\name
        .irp    other, \others
        .ifnb   \other
        .globl  \other
        .type   \other, @function
        .set    \other, \name
        .endif
        .endr
        .endm

        face    socket
        face    bind
        face    listen
        face    accept
        face    accept4
        face    connect
        face    shutdown
        face    close
        face    close_range
        face    execve
        face    closefrom
        face    dup
        face    dup2
        face    dup3
        face    fcntl, fcntl64
        face    ioctl
        face    read
        face    readv
        face    recv
        face    recvfrom
        face    recvmsg
        face    recvmmsg
        face    write
        face    writev
        face    send
        face    sendto
        face    sendmsg
        face    sendmmsg
        face    sendfile, sendfile64
        face    splice
        face    setsockopt
        face    getsockopt
        face    getsockname
        face    getpeername
        face    poll
        face    ppoll
        face    select
        face    pselect
        face    epoll_create
        face    epoll_create1
        face    epoll_ctl
        face    epoll_wait
        face    epoll_pwait
        face    epoll_pwait2
        .section .note.GNU-stack,"",@progbits
