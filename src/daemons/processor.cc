// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/processor.h"

#include <cpuid.h>

#include <cstdint>
#include <map>
#include <sstream>

namespace msocket::daemons {

namespace {

// Those that programs choose code by, with the names that /proc/cpuinfo has for them.
struct Feature {
  const char* word;  ///< of the signature
  int bit;
  const char* name;
};
constexpr Feature kFeatures[] = {
    {"1c", 0, "sse3"}, {"1c", 1, "pclmulqdq"}, {"1c", 9, "ssse3"}, {"1c", 12, "fma"}, {"1c", 13, "cx16"}, {"1c", 19, "sse4_1"},
    {"1c", 20, "sse4_2"}, {"1c", 22, "movbe"}, {"1c", 23, "popcnt"}, {"1c", 25, "aes"}, {"1c", 26, "xsave"}, {"1c", 28, "avx"},
    {"1c", 29, "f16c"}, {"1c", 30, "rdrand"}, {"1d", 8, "cx8"}, {"1d", 15, "cmov"}, {"1d", 23, "mmx"}, {"1d", 24, "fxsr"},
    {"1d", 25, "sse"}, {"1d", 26, "sse2"}, {"7b", 0, "fsgsbase"}, {"7b", 3, "bmi1"}, {"7b", 4, "hle"}, {"7b", 5, "avx2"},
    {"7b", 8, "bmi2"}, {"7b", 9, "erms"}, {"7b", 11, "rtm"}, {"7b", 16, "avx512f"}, {"7b", 17, "avx512dq"}, {"7b", 18, "rdseed"},
    {"7b", 19, "adx"}, {"7b", 21, "avx512ifma"}, {"7b", 23, "clflushopt"}, {"7b", 24, "clwb"}, {"7b", 26, "avx512pf"},
    {"7b", 27, "avx512er"}, {"7b", 28, "avx512cd"}, {"7b", 29, "sha_ni"}, {"7b", 30, "avx512bw"}, {"7b", 31, "avx512vl"},
    {"7c", 1, "avx512vbmi"}, {"7c", 3, "pku"}, {"7c", 5, "waitpkg"}, {"7c", 6, "avx512_vbmi2"}, {"7c", 7, "shstk"},
    {"7c", 8, "gfni"}, {"7c", 9, "vaes"}, {"7c", 10, "vpclmulqdq"}, {"7c", 11, "avx512_vnni"}, {"7c", 12, "avx512_bitalg"},
    {"7c", 14, "avx512_vpopcntdq"}, {"7c", 22, "rdpid"}, {"7c", 25, "cldemote"}, {"7c", 27, "movdiri"}, {"7c", 28, "movdir64b"},
    {"7d", 2, "avx512_4vnniw"}, {"7d", 3, "avx512_4fmaps"}, {"7d", 4, "fsrm"}, {"7d", 5, "uintr"}, {"7d", 8, "avx512_vp2intersect"},
    {"7d", 14, "serialize"}, {"7d", 22, "amx_bf16"}, {"7d", 23, "avx512_fp16"}, {"7d", 24, "amx_tile"}, {"7d", 25, "amx_int8"},
    {"71a", 4, "avx_vnni"}, {"71a", 5, "avx512_bf16"}, {"71a", 23, "avx_ifma"}, {"xc", 0, "lahf_lm"}, {"xc", 5, "abm"},
    {"xc", 6, "sse4a"}, {"xc", 11, "xop"}, {"xc", 16, "fma4"}, {"xc", 21, "tbm"}, {"xd", 27, "rdtscp"},
};

using Words = std::map<std::string, uint32_t>;

// "x86-64 1c=... 1d=..."; numbers are hexadecimal.
Words parse(const std::string& signature) {
  Words words;
  std::istringstream in(signature);
  std::string word;
  while (in >> word)
    if (size_t equal = word.find('='); equal != std::string::npos)
      words[word.substr(0, equal)] = static_cast<uint32_t>(strtoul(word.c_str() + equal + 1, nullptr, 16));
  return words;
}

std::string text(const Words& words) {
  std::ostringstream out;
  out << "x86-64" << std::hex;
  for (const auto& [name, value] : words) out << ' ' << name << '=' << value;
  return out.str();
}

}  // namespace

namespace {
std::string ask_processor() {
  Words words;
  unsigned a = 0, b = 0, c = 0, d = 0;
  auto keep = [&](const char* name, unsigned value) { words[name] = value; };
  if (__get_cpuid(1, &a, &b, &c, &d)) keep("1c", c), keep("1d", d);
  unsigned most = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) most = a, keep("7b", b), keep("7c", c), keep("7d", d);
  if (most >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) keep("71a", a);
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) keep("xc", c), keep("xd", d);
  if (__get_cpuid_count(13, 0, &a, &b, &c, &d)) keep("xsave-parts", a), keep("xsave-bytes", b);
  return text(words);
}
}  // namespace

std::string cpu_signature() {
  static const std::string signature = ask_processor();  // under a hypervisor each question is an exit to it
  return signature;
}

std::string without_features(const std::string& signature, const std::vector<std::string>& names) {
  Words words = parse(signature);
  for (const auto& name : names)
    for (const auto& feature : kFeatures)
      if (feature.name == name) words[feature.word] &= ~(1u << feature.bit);
  return text(words);
}

std::vector<std::string> missing_features(const std::string& there, const std::string& here) {
  if (there.substr(0, there.find(' ')) != here.substr(0, here.find(' '))) return {"its processor is of another kind"};
  Words had = parse(there), has = parse(here);
  std::string missing;
  for (const auto& feature : kFeatures)
    if ((had[feature.word] >> feature.bit & 1) && !(has[feature.word] >> feature.bit & 1))
      missing += (missing.empty() ? "" : ", ") + std::string(feature.name);
  std::vector<std::string> reasons;
  if (!missing.empty()) reasons.push_back("its processor lacks " + missing);
  // libc and the kernel have laid out memory by these.
  for (const char* name : {"xsave-parts", "xsave-bytes"})
    if (had[name] != has[name])
      reasons.push_back("its processor saves other registers (" + std::string(name) + " " + std::to_string(has[name]) + " instead of " +
                        std::to_string(had[name]) + ")");
  return reasons;
}

}  // namespace msocket::daemons
