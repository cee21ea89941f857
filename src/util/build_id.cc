// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/util/build_id.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "src/util/scoped_fd.h"

namespace msocket {

namespace {

std::string note_build_id(const char* data, size_t size) {
  if (size < sizeof(Elf64_Ehdr) || std::memcmp(data, ELFMAG, SELFMAG) != 0 || data[EI_CLASS] != ELFCLASS64) return {};
  Elf64_Ehdr header;
  std::memcpy(&header, data, sizeof header);
  for (int i = 0; i < header.e_phnum; ++i) {
    size_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
    if (at + sizeof(Elf64_Phdr) > size) return {};
    Elf64_Phdr segment;
    std::memcpy(&segment, data + at, sizeof segment);
    if (segment.p_type != PT_NOTE || segment.p_offset > size || segment.p_filesz > size - segment.p_offset) continue;
    const char* p = data + segment.p_offset;
    const char* end = p + segment.p_filesz;
    while (end - p >= static_cast<ptrdiff_t>(sizeof(Elf64_Nhdr))) {
      Elf64_Nhdr note;
      std::memcpy(&note, p, sizeof note);
      size_t name = (note.n_namesz + 3) & ~size_t{3}, description = (note.n_descsz + 3) & ~size_t{3};
      if (sizeof note + name + description > static_cast<size_t>(end - p)) break;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(p + sizeof note, "GNU", 4) == 0)
        return std::string(p + sizeof note + name, note.n_descsz);
      p += sizeof note + name + description;
    }
  }
  return {};
}

}  // namespace

std::string build_id(const std::string& path) {
  ScopedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) return {};
  size_t size = st.st_size;
  void* at = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (at == MAP_FAILED) return {};
  auto* data = static_cast<const char*>(at);
  std::string id = note_build_id(data, size);
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

}  // namespace msocket
