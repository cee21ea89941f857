/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Every call that carries bytes, in all combinations: each record goes there by one call, is read by another, and comes back
 * by two more.
 */
#include "calls.h"

enum { MOST = 150000, PARTS = 60, SENDERS = 8, RECEIVERS = 9 };

static unsigned char bytes[MOST], got[MOST];

/* Cuts the buffer into parts of odd sizes, some of them empty. */
static int cut(unsigned char* buffer, size_t size, struct iovec* parts) {
  int count = 0;
  while (count < PARTS - 1 && size > 0) {
    size_t n = dice(6) ? dice((unsigned)(size / 4 + 2)) : 0;
    if (n > size) n = size;
    parts[count++] = (struct iovec){buffer, n};
    buffer += n;
    size -= n;
  }
  parts[count++] = (struct iovec){buffer, size};
  return count;
}

static int file_with(const unsigned char* from, size_t size) {
  char name[] = "/tmp/ms_calls-XXXXXX";
  int fd = mkstemp(name);
  MUST(fd >= 0 && unlink(name) == 0);
  write_all(fd, from, size);
  MUST(lseek(fd, 0, SEEK_SET) == 0);
  return fd;
}

/* splice refuses at times, as it does with many kinds of files: then by hand, as real programs do. */
static void splice_out(int fd, const unsigned char* from, size_t size) {
  int ends[2];
  MUST(pipe(ends) == 0);
  for (size_t done = 0; done < size;) {
    size_t piece = size - done < 4096 ? size - done : 4096;
    MUST(write(ends[1], from + done, piece) == (ssize_t)piece);
    for (size_t left = piece; left > 0;) {
      ssize_t n = splice(ends[0], NULL, fd, NULL, left, SPLICE_F_MORE);
      if (n < 0 && errno == EINVAL) {
        unsigned char copy[4096];
        n = read(ends[0], copy, left);
        MUST(n > 0);
        write_all(fd, copy, (size_t)n);
      }
      MUST(n > 0);
      left -= (size_t)n;
    }
    done += piece;
  }
  close(ends[0]), close(ends[1]);
}

static void splice_in(int fd, unsigned char* to, size_t size) {
  int ends[2];
  MUST(pipe(ends) == 0);
  for (size_t have = 0; have < size;) {
    ssize_t n = splice(fd, NULL, ends[1], NULL, size - have < 4096 ? size - have : 4096, 0);
    if (n < 0 && errno == EINVAL) {
      n = read(fd, to + have, size - have);
      MUST(n > 0);
    } else {
      MUST(n > 0);
      read_all(ends[0], to + have, (size_t)n);
    }
    have += (size_t)n;
  }
  close(ends[0]), close(ends[1]);
}

static void send_by(int how, int fd, unsigned char* from, size_t size) {
  struct iovec parts[PARTS];
  switch (how) {
    case 0: write_all(fd, from, size); return;
    case 1: MUST(send(fd, from, size, MSG_NOSIGNAL) == (ssize_t)size); return;
    case 2: MUST(writev(fd, parts, cut(from, size, parts)) == (ssize_t)size); return;
    case 3: {
      struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)cut(from, size, parts)};
      MUST(sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)size);
      return;
    }
    case 4: {
      struct mmsghdr messages[3] = {0};
      struct iovec halves[3] = {{from, size / 3}, {from + size / 3, size / 3}, {from + 2 * (size / 3), size - 2 * (size / 3)}};
      for (int i = 0; i < 3; ++i) messages[i].msg_hdr.msg_iov = &halves[i], messages[i].msg_hdr.msg_iovlen = 1;
      MUST(sendmmsg(fd, messages, 3, 0) == 3);
      for (int i = 0; i < 3; ++i) MUST(messages[i].msg_len == halves[i].iov_len);
      return;
    }
    case 5: {
      int file = file_with(from, size);
      off_t at = 0;
      int by_offset = (int)dice(2);
      for (size_t done = 0; done < size;) {
        ssize_t n = sendfile(fd, file, by_offset ? &at : NULL, size - done);
        MUST(n > 0);
        done += (size_t)n;
        MUST((by_offset ? at : lseek(file, 0, SEEK_CUR)) == (off_t)done);
      }
      close(file);
      return;
    }
    case 6: splice_out(fd, from, size); return;
    default: /* without blocking: what does not go now is asked for */
      for (size_t done = 0; done < size;) {
        ssize_t n = sendto(fd, from + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
        if (n < 0 && errno == EAGAIN) {
          struct pollfd p = {fd, POLLOUT, 0};
          MUST(poll(&p, 1, -1) == 1);
          continue;
        }
        MUST(n > 0);
        done += (size_t)n;
      }
  }
}

static void receive_by(int how, int fd, unsigned char* to, size_t size) {
  struct iovec parts[PARTS];
  struct msghdr message = {0};
  memset(to, 0xee, size);
  switch (how) {
    case 0: read_all(fd, to, size); return;
    case 1: MUST(recv(fd, to, size, MSG_WAITALL) == (ssize_t)size); return;
    case 2: {
      struct sockaddr_storage name;
      socklen_t length = sizeof name;
      MUST(recvfrom(fd, to, size, MSG_WAITALL, (struct sockaddr*)&name, &length) == (ssize_t)size);
      return;
    }
    case 3:
      message.msg_iov = parts;
      message.msg_iovlen = (size_t)cut(to, size, parts);
      MUST(recvmsg(fd, &message, MSG_WAITALL) == (ssize_t)size);
      MUST(message.msg_namelen == 0 && message.msg_controllen == 0 && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
      return;
    case 4:
      for (size_t have = 0; have < size;) {
        int count = cut(to + have, size - have, parts);
        ssize_t n = readv(fd, parts, count);
        MUST(n > 0);
        have += (size_t)n;
      }
      return;
    case 5: {
      struct mmsghdr messages[2] = {0};
      struct iovec halves[2] = {{to, size / 2}, {to + size / 2, size - size / 2}};
      for (int i = 0; i < 2; ++i) messages[i].msg_hdr.msg_iov = &halves[i], messages[i].msg_hdr.msg_iovlen = 1;
      MUST(recvmmsg(fd, messages, 2, MSG_WAITALL, NULL) == 2);
      MUST(messages[0].msg_len == size / 2 && messages[1].msg_len == size - size / 2);
      return;
    }
    case 6: splice_in(fd, to, size); return;
    case 7: /* a look first, which takes nothing away */
      for (size_t have = 0; have < size;) {
        static unsigned char seen[4096];
        size_t most = size - have < sizeof seen ? size - have : sizeof seen;
        ssize_t n = recv(fd, seen, most, MSG_PEEK);
        MUST(n > 0);
        MUST(recv(fd, to + have, (size_t)n, MSG_WAITALL) == n);
        MUST(memcmp(seen, to + have, (size_t)n) == 0);
        have += (size_t)n;
      }
      return;
    default:
      for (size_t have = 0; have < size;) {
        ssize_t n = recv(fd, to + have, size - have, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
          struct pollfd p = {fd, POLLIN, 0};
          MUST(poll(&p, 1, -1) == 1);
          continue;
        }
        MUST(n > 0);
        have += (size_t)n;
      }
  }
}

static void send_record(int fd, unsigned seed) {
  uint32_t size = 1 + dice(dice(4) ? 3000 : MOST - 1), head[2] = {size, seed};
  write_all(fd, head, sizeof head);
  fill(bytes, size, seed, 0);
  send_by((int)dice(SENDERS), fd, bytes, size);
}

/* 0: the stream has ended. */
static int receive_record(int fd) {
  uint32_t head[2];
  if (recv(fd, head, 1, MSG_PEEK) == 0) return 0;
  MUST(recv(fd, head, sizeof head, MSG_WAITALL) == sizeof head);
  MUST(head[0] > 0 && head[0] <= MOST);
  receive_by((int)dice(RECEIVERS), fd, got, head[0]);
  check(got, head[0], head[1], 0);
  progress();
  return 1;
}

void mode_data(enum role role) {
  int one = 1, listener = -1, fd;
  unsigned char byte;
  signal(SIGPIPE, SIG_IGN);
  if (role == SERVER) {
    fd = accept_from(listener = listen_here(1));
  } else {
    fd = connect_there();
    ready();
  }
  errno = 0;
  if (getenv("MSOCKET_CONTROL")) MUST(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) < 0 && errno == EOPNOTSUPP);
  if (role == CLIENT) {
    for (unsigned seed = 1; !stopping(); seed = (seed + 1) % 256) {
      MUST(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN); /* it is our turn */
      send_record(fd, seed);
      MUST(receive_record(fd));
    }
    MUST(shutdown(fd, SHUT_WR) == 0);
    MUST(read(fd, &byte, 1) == 0);
  } else {
    while (receive_record(fd)) send_record(fd, dice(256));
    MUST(recv(fd, &byte, 1, MSG_WAITALL) == 0);
    MUST(shutdown(fd, SHUT_WR) == 0);
    close(listener);
  }
  MUST(close(fd) == 0);
}
