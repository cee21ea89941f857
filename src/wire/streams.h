// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A rank's stdin, stdout, stderr and PMI between its home and its daemon, exact across moves: every byte has an absolute
// offset from the start of the stream, the sender keeps what is not acknowledged, the receiver takes each byte once. So a
// new daemon (or a new link) just sends again from the last acknowledged byte, and what overlaps is dropped.
//
//   sender:    out.append(bytes);  while (auto chunk = out.next()) send(*chunk);   on StreamAck: out.ack(offset);
//   receiver:  in.add(offset, data, eof);  write(in.take());  once written: send StreamAck{in.taken()};
//   new link:  out.rewind();  and send as above.         new daemon:  StreamOut::restore, StreamIn::restore
//
// The end of a stream counts as one more unit of an acknowledgement: a stream of 10 bytes is acknowledged up to 10 while
// its end is unknown, and with 11 when the receiver knows that it has ended. Everywhere else offsets count bytes alone.
// No I/O here; not thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace msocket {

/// Un-acknowledged bytes per stream above which the source is not read any more.
inline constexpr size_t kStreamWindow = 256 * 1024;
/// Small enough that one stream does not hold up the others on a link.
inline constexpr size_t kStreamChunk = 32 * 1024;

/// The sender's end. The window is the caller's duty: append() takes everything, full() says when to stop reading.
class StreamOut {
 public:
  struct Chunk {
    uint64_t offset = 0;
    std::string data;
    bool eof = false;
  };

  void append(std::string_view data);  ///< nothing is taken after finish()
  void finish();                       ///< the end of the stream
  bool full() const { return pending_.size() >= kStreamWindow; }
  /// Ended, and the receiver knows all of it, the end included.
  bool finished() const { return eof_ && eof_acked_; }
  /// The next part not yet sent, counted as sent from now on; nothing when all is.
  std::optional<Chunk> next();
  /// Acknowledgements may come late, twice and from a former daemon: the highest counts.
  void ack(uint64_t offset);
  /// A new way to the receiver: everything not acknowledged is to be sent again.
  void rewind();

  uint64_t acked() const { return base_; }  ///< bytes that the receiver has, without the end's unit
  const std::string& pending() const { return pending_; }  ///< the bytes from acked() on
  bool eof() const { return eof_; }         ///< finish() was called
  /// A sender that goes on from another one's acked(), pending() and eof(). Nothing counts as sent.
  static StreamOut restore(uint64_t offset, std::string pending, bool eof);

 private:
  uint64_t end() const { return base_ + pending_.size(); }

  uint64_t base_ = 0;     // the first byte of pending_
  std::string pending_;
  uint64_t sent_ = 0;     // up to here next() has handed out
  bool eof_ = false, eof_sent_ = false, eof_acked_ = false;
};

/// The receiver's end.
class StreamIn {
 public:
  /// Bytes already known are dropped, bytes beyond a gap are held until it is filled.
  void add(uint64_t offset, std::string_view data, bool eof);
  /// What has arrived in order since the last call.
  std::string take();
  size_t ready() const { return ready_.size(); }  ///< bytes that take() would give

  /// What to acknowledge when arrival is what counts (the end's unit included).
  uint64_t received() const { return received_ + (ended() ? 1 : 0); }
  /// What to acknowledge when consumption counts, so that the sender's window holds: all that take() has given so far
  /// (the end's unit included once everything before it was taken).
  uint64_t taken() const { return received_ - ready_.size() + (ended() && ready_.empty() ? 1 : 0); }
  /// The end is known and everything before it has arrived (perhaps not yet taken).
  bool ended() const { return end_ && *end_ <= received_; }

  /// A receiver that goes on from another one: `offset` bytes are consumed for good, `pending` are the bytes after them
  /// that have arrived (take() gives them first), `eof` says that nothing follows.
  static StreamIn restore(uint64_t offset, std::string pending = {}, bool eof = false);

 private:
  uint64_t received_ = 0;                 // contiguous bytes so far
  std::string ready_;                     // the last of them, not yet taken
  std::map<uint64_t, std::string> held_;  // beyond a gap, by offset
  size_t held_bytes_ = 0;
  std::optional<uint64_t> end_;
};

}  // namespace msocket
