// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "tests/sim/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstring>

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef F_SETOWN_EX
#define F_SETOWN_EX 15
#endif
#ifndef F_SETSIG
#define F_SETSIG 10
#endif

namespace msocket::sim {

namespace {

template <class T>
T* at(long address) {
  return reinterpret_cast<T*>(address);
}

std::shared_ptr<Stream> stream(const FilePtr& file) { return std::dynamic_pointer_cast<Stream>(file); }
std::shared_ptr<Packets> packets(const FilePtr& file) { return std::dynamic_pointer_cast<Packets>(file); }

long do_fcntl(Proc* proc, int fd, long command, long argument) {
  auto& entry = proc->table[fd];
  File* file = entry.file.get();
  switch (command) {
    case F_DUPFD: return proc->put(entry.file, static_cast<int>(argument), false);
    case F_DUPFD_CLOEXEC: return proc->put(entry.file, static_cast<int>(argument), true);
    case F_GETFD: return entry.close_on_exec ? FD_CLOEXEC : 0;
    case F_SETFD: entry.close_on_exec = argument & FD_CLOEXEC; return 0;
    case F_GETFL: return O_RDWR | (file->nonblock ? O_NONBLOCK : 0) | (file->async ? O_ASYNC : 0);
    case F_SETFL:
      file->nonblock = argument & O_NONBLOCK;
      file->async = argument & O_ASYNC;
      return 0;
    case F_SETOWN_EX: file->owner = at<int>(argument)[1]; return 0;
    case F_SETSIG: return 0;
    default: sim.fail("fcntl %ld, which tests/sim does not know", command);
  }
}

long option_call(bool set, const FilePtr& file, const long* a) {
  int level = static_cast<int>(a[1]), name = static_cast<int>(a[2]);
  auto tcp = stream(file);
  if (!set && level == IPPROTO_TCP && name == TCP_INFO && tcp && !tcp->local) {
    tcp_info info{};
    bool ended = tcp->connected() && tcp->in->fin_arrived;  // the other direction
    if (!tcp->connected() || tcp->was_reset) info.tcpi_state = TCP_CLOSE;
    else if (!tcp->shut_write) info.tcpi_state = ended ? TCP_CLOSE_WAIT : TCP_ESTABLISHED;
    else if (!tcp->out->fin_arrived && !tcp->out->dead) info.tcpi_state = ended ? TCP_LAST_ACK : TCP_FIN_WAIT1;
    else info.tcpi_state = ended ? TCP_CLOSE : TCP_FIN_WAIT2;
    socklen_t n = std::min<socklen_t>(*at<socklen_t>(a[4]), sizeof info);
    memcpy(at<void>(a[3]), &info, n);
    return 0;
  }
  if ((level == IPPROTO_TCP || level == IPPROTO_IP) && (!tcp || tcp->local)) return -EOPNOTSUPP;
  std::string& value = file->options[{level, name}];
  size_t size = level != SOL_SOCKET ? 4 : name == SO_LINGER ? 8 : name == SO_RCVTIMEO || name == SO_SNDTIMEO ? 16 : 4;
  if (set && tcp && level == SOL_SOCKET && name == SO_SNDBUF) {
    int bytes = 2 * *at<int>(a[3]);  // as the kernel does: half of it is for its own purposes
    value.assign(reinterpret_cast<char*>(&bytes), sizeof bytes);
    int locks = 1;
    file->options[{SOL_SOCKET, SO_BUF_LOCK}].assign(reinterpret_cast<char*>(&locks), sizeof locks);
    tcp->set_send_room(static_cast<size_t>(bytes / 2));
    return 0;
  }
  if (set && tcp && level == SOL_SOCKET && name == SO_RCVLOWAT) tcp->low_water = std::max<size_t>(1, static_cast<size_t>(*at<int>(a[3])));
  if (set) {
    value.assign(at<char>(a[3]), static_cast<size_t>(a[4]));
    return 0;
  }
  std::string now = value;
  now.resize(size);
  if (level == SOL_SOCKET && name == SO_ERROR && tcp) {
    int error = tcp->take_error();
    memcpy(now.data(), &error, sizeof error);
  }
  size_t n = std::min<size_t>(*at<socklen_t>(a[4]), now.size());
  memcpy(at<void>(a[3]), now.data(), n);
  *at<socklen_t>(a[4]) = static_cast<socklen_t>(n);
  return 0;
}

long make_pair_call(Proc* proc, const long* a) {
  bool close_on_exec = a[1] & SOCK_CLOEXEC;
  FilePtr one, two;
  if ((a[1] & 0xf) == SOCK_STREAM) std::tie(one, two) = make_local();
  else std::tie(one, two) = make_packets();
  at<int>(a[3])[0] = proc->put(one, 0, close_on_exec);
  at<int>(a[3])[1] = proc->put(two, 0, close_on_exec);
  return 0;
}

}  // namespace

long file_call(long nr, const long* a) {
  Proc* proc = sim.current->proc;
  switch (nr) {
    case SYS_epoll_create1: return proc->put(std::make_shared<Epoll>(), 0, a[0] & EPOLL_CLOEXEC);
    case SYS_open: return open_fdinfo(proc, at<char>(a[0]));
    case SYS_socket: {
      if (a[0] != AF_INET || (a[1] & 0xf) != SOCK_STREAM) sim.fail("a socket of another kind");
      auto file = std::make_shared<Stream>();
      file->nonblock = a[1] & SOCK_NONBLOCK;
      return proc->put(file, 0, a[1] & SOCK_CLOEXEC);
    }
    case SYS_socketpair: return make_pair_call(proc, a);
    case SYS_close:
    case SYS_dup:
    case SYS_dup3:
    case SYS_fcntl:
    case SYS_shutdown:
    case SYS_epoll_ctl:
    case SYS_setsockopt:
    case SYS_getsockopt:
    case SYS_ioctl: break;
    default: return -ENOSYS;
  }
  int fd = static_cast<int>(a[0]);
  FilePtr file = proc->find(fd);
  if (!file) return -EBADF;
  auto tcp = stream(file);
  switch (nr) {
    case SYS_close: proc->table.erase(fd); return 0;
    case SYS_dup: return proc->put(file);
    case SYS_dup3: proc->table[static_cast<int>(a[1])] = {file, (a[2] & O_CLOEXEC) != 0}; return a[1];
    case SYS_fcntl: return do_fcntl(proc, fd, a[1], a[2]);
    case SYS_epoll_ctl: return epoll_control(file, a);
    case SYS_shutdown:
      if (!tcp || !tcp->connected() || tcp->was_reset) return -ENOTCONN;
      tcp->shutdown(static_cast<int>(a[1]));
      return 0;
    case SYS_ioctl: {
      if (!tcp || (a[1] != FIONREAD && a[1] != SIOCOUTQ)) sim.fail("ioctl %lx", a[1]);
      const auto& pipe = a[1] == FIONREAD ? tcp->in : tcp->out;
      *at<int>(a[2]) = !pipe ? 0 : static_cast<int>(a[1] == FIONREAD ? pipe->got.size() : pipe->sent.size());
      return 0;
    }
    default: return option_call(nr == SYS_setsockopt, file, a);
  }
}

namespace {

std::vector<iovec> parts_of(long nr, const long* a) {
  if (nr == SYS_readv || nr == SYS_writev) return {at<iovec>(a[1]), at<iovec>(a[1]) + a[2]};
  if (nr == SYS_sendmsg || nr == SYS_recvmsg) return {at<msghdr>(a[1])->msg_iov, at<msghdr>(a[1])->msg_iov + at<msghdr>(a[1])->msg_iovlen};
  return {{at<void>(a[1]), static_cast<size_t>(a[2])}};
}

long read_call(const FilePtr& file, const std::vector<iovec>& parts, long flags, Waits* waits) {
  if (auto text = std::dynamic_pointer_cast<Text>(file)) return text->read(static_cast<char*>(parts[0].iov_base), parts[0].iov_len);
  auto tcp = stream(file);
  if (!tcp) return -EOPNOTSUPP;
  size_t total = 0;
  for (auto& part : parts) total += part.iov_len;
  std::string bytes(total, '\0');
  long n = tcp->read(bytes.data(), total, flags & MSG_PEEK);
  if (n == -EAGAIN && !file->nonblock && !(flags & MSG_DONTWAIT)) waits->until = [file] { return file->events() & POLLIN; };
  size_t taken = 0;
  for (auto& part : parts) {
    if (n <= static_cast<long>(taken)) break;
    size_t k = std::min(part.iov_len, static_cast<size_t>(n) - taken);
    memcpy(part.iov_base, bytes.data() + taken, k);
    taken += k;
  }
  return n;
}

long write_call(const FilePtr& file, const std::vector<iovec>& parts, long flags, size_t& done, Waits* waits) {
  auto tcp = stream(file);
  if (!tcp) return -EOPNOTSUPP;
  bool blocking = !file->nonblock && !(flags & MSG_DONTWAIT);
  std::string bytes;
  for (auto& part : parts) bytes.append(static_cast<char*>(part.iov_base), part.iov_len);
  size_t left = bytes.size() - done;
  // A call that may return early sometimes does.
  size_t most = !blocking && left && sim.random.percent(20) ? sim.random.between(1, left) : left;
  long n = tcp->write(bytes.data() + done, most);
  if (n == -EPIPE && !(flags & MSG_NOSIGNAL)) ++sim.current->proc->sigpipes;
  if (n < 0 && n != -EAGAIN) return done ? static_cast<long>(done) : n;
  if (!blocking) return n;
  if (n > 0) done += n;
  if (done == bytes.size()) return static_cast<long>(done);
  waits->until = [file, tcp] { return tcp->out->sent.size() < tcp->out->send_room || (file->events() & (POLLERR | POLLHUP)); };
  return 0;
}

long receive_message(const FilePtr& file, const long* a, Waits* waits) {
  auto channel = packets(file);
  auto* message = at<msghdr>(a[1]);
  Record record;
  long r = channel->receive(&record);
  if (r == -EPIPE) return message->msg_controllen = 0;
  if (r == -EAGAIN) {
    if (!file->nonblock && !(a[2] & MSG_DONTWAIT)) waits->until = [file] { return file->events() & POLLIN; };
    return r;
  }
  auto& part = message->msg_iov[0];
  size_t n = std::min(part.iov_len, record.bytes.size());
  memcpy(part.iov_base, record.bytes.data(), n);
  message->msg_flags = 0;
  size_t size = record.files.size() * sizeof(int);
  if (size && message->msg_controllen >= CMSG_LEN(size)) {
    auto* header = static_cast<cmsghdr*>(message->msg_control);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    int number;
    for (size_t i = 0; i < record.files.size(); ++i) {
      number = sim.current->proc->put(record.files[i], 0, a[2] & MSG_CMSG_CLOEXEC);
      memcpy(CMSG_DATA(header) + i * sizeof number, &number, sizeof number);
    }
    message->msg_controllen = std::min(CMSG_SPACE(size), message->msg_controllen);
  } else {
    if (size) message->msg_flags = MSG_CTRUNC;
    message->msg_controllen = 0;
  }
  return static_cast<long>(n);
}

long send_message(const FilePtr& file, const long* a, Waits* waits) {
  auto channel = packets(file);
  auto* message = at<msghdr>(a[1]);
  Record record;
  for (auto& part : parts_of(SYS_sendmsg, a)) record.bytes.append(static_cast<char*>(part.iov_base), part.iov_len);
  if (message->msg_control && message->msg_controllen) {
    auto* header = static_cast<cmsghdr*>(message->msg_control);
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int number;
      memcpy(&number, CMSG_DATA(header) + i * sizeof number, sizeof number);
      FilePtr passed = sim.current->proc->find(number);
      if (!passed) return -EBADF;
      record.files.push_back(std::move(passed));
    }
  }
  auto n = static_cast<long>(record.bytes.size());
  long r = channel->send(std::move(record));
  if (r == -EAGAIN && !file->nonblock && !(a[2] & MSG_DONTWAIT)) waits->until = [file] { return file->events() & POLLOUT; };
  return r == 0 ? n : r;
}

}  // namespace

long io_call(long nr, const long* a, size_t& done, Waits* waits) {
  if (long r = wait_call(nr, a, waits); r != -ENOSYS) return r;
  switch (nr) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_recvmsg:
    case SYS_sendmsg: break;
    default: return -ENOSYS;
  }
  FilePtr file = sim.current->proc->find(static_cast<int>(a[0]));
  if (!file) return -EBADF;
  long flags = nr == SYS_recvfrom || nr == SYS_sendto ? a[3] : 0;
  switch (nr) {
    case SYS_recvmsg: {
      if (packets(file)) return receive_message(file, a, waits);
      auto* message = at<msghdr>(a[1]);
      message->msg_namelen = message->msg_controllen = 0;
      message->msg_flags = 0;
      return read_call(file, parts_of(nr, a), a[2], waits);
    }
    case SYS_sendmsg:
      if (packets(file)) return send_message(file, a, waits);
      return write_call(file, parts_of(nr, a), a[2], done, waits);
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom: return read_call(file, parts_of(nr, a), flags, waits);
    default: return write_call(file, parts_of(nr, a), flags, done, waits);
  }
}

}  // namespace msocket::sim
