// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/util/build_id.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstring>

#include "src/util/scoped_fd.h"

namespace msocket {

namespace {
// 64 bits: a length near 2^32 must not become a small one.
uint64_t padded(uint32_t length) { return (uint64_t{length} + 3) & ~uint64_t{3}; }
}  // namespace

std::string note_build_id(std::string_view file) {
  if (file.size() < sizeof(Elf64_Ehdr) || std::memcmp(file.data(), ELFMAG, SELFMAG) != 0 || file[EI_CLASS] != ELFCLASS64)
    return {};
  Elf64_Ehdr header;
  std::memcpy(&header, file.data(), sizeof header);
  if (header.e_phoff > file.size()) return {};
  std::string_view table = file.substr(header.e_phoff);
  for (int i = 0; i < header.e_phnum && table.size() >= sizeof(Elf64_Phdr); ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, table.data(), sizeof segment);
    table.remove_prefix(sizeof segment);
    if (segment.p_type != PT_NOTE || segment.p_offset > file.size() || segment.p_filesz > file.size() - segment.p_offset)
      continue;
    std::string_view notes = file.substr(segment.p_offset, segment.p_filesz);
    while (notes.size() >= sizeof(Elf64_Nhdr)) {
      Elf64_Nhdr note;
      std::memcpy(&note, notes.data(), sizeof note);
      notes.remove_prefix(sizeof note);
      uint64_t name = padded(note.n_namesz), description = padded(note.n_descsz);
      if (name + description > notes.size()) break;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes.data(), "GNU", 4) == 0)
        return std::string(notes.substr(name, note.n_descsz));
      notes.remove_prefix(name + description);
    }
  }
  return {};
}

std::string build_id(const std::string& path) {
  ScopedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) return {};
  size_t size = st.st_size;
  void* at = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (at == MAP_FAILED) return {};
  auto* data = static_cast<const char*>(at);
  std::string id = note_build_id({data, size});
  if (id.empty()) {
    // FNV-1a: against accidents, not against an enemy; both nodes are the same user's.
    uint64_t hash = 14695981039346656037ull;
    for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<unsigned char>(data[i])) * 1099511628211ull;
    id.assign(reinterpret_cast<char*>(&hash), sizeof hash);
    id.append(reinterpret_cast<char*>(&size), sizeof size);
  }
  munmap(at, size);
  return id;
}

std::string BuildIds::of(const std::string& path) {
  constexpr size_t kMost = 4096;
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return {};
  File file{st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
  if (auto it = known_.find(path); it != known_.end() && it->second.first == file) return it->second.second;
  std::string id = build_id(path);
  if (known_.size() >= kMost) known_.clear();
  if (!id.empty()) known_[path] = {file, id};  // as it was before it was read: if it has changed meanwhile it is read again
  return id;
}

}  // namespace msocket
