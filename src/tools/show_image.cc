// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/show_image.h"

#include <cstdio>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <vector>

#include "src/tools/cluster.h"
#include "src/tools/table.h"
#include "src/wire/image_file.h"

namespace msocket {

namespace {

const char* kind_name(wire::RegionKind kind) {
  switch (kind) {
    case wire::RegionKind::kAnon: return "memory";
    case wire::RegionKind::kFile: return "file";
    case wire::RegionKind::kStack: return "stack";
    case wire::RegionKind::kHeap: return "heap";
    case wire::RegionKind::kSharedFile: return "shared file";
  }
  return "?";
}

std::string hex(uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(number));
  return text;
}

// The regions stand at the beginning of the stream.
std::vector<wire::ImageRegion> regions_in(const std::string& begin) {
  wire::ImageHeader header;
  wire::ImageRun state;
  std::vector<wire::ImageRegion> regions;
  size_t at = sizeof(wire::ImageStart);
  if (begin.size() < at + sizeof state + sizeof header) return regions;
  memcpy(&state, begin.data() + at, sizeof state);
  memcpy(&header, begin.data() + (at += sizeof state), sizeof header);
  at += sizeof header;
  size_t most = (begin.size() - at) / sizeof(wire::ImageRegion);
  if (state.part != wire::ImagePart::kState || header.magic != wire::kImageMagic || header.regions > most) return regions;
  regions.resize(header.regions);
  memcpy(static_cast<void*>(regions.data()), begin.data() + at, regions.size() * sizeof(wire::ImageRegion));
  for (auto& region : regions) region.path[sizeof region.path - 1] = '\0';
  return regions;
}

}  // namespace

int show_image(const std::string& path, bool json) {
  wire::ImageFileReader file(path);
  std::string begin, data;
  while (file.next(&data))
    if (begin.empty()) begin = std::move(data);
  const proto::ImageHead& head = file.head();
  const proto::Prepare& prepare = head.prepare();
  std::vector<wire::ImageRegion> regions = regions_in(begin);
  std::string name = rank_name(prepare.start().job(), prepare.start().rank());
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& region : regions)
      list.push_back({{"start", hex(region.start)}, {"end", hex(region.end)}, {"kind", kind_name(region.kind)},
                      {"path", region.path}});
    nlohmann::ordered_json arguments(std::vector<std::string>(prepare.start().argv().begin(), prepare.start().argv().end()));
    std::printf("%s\n", nlohmann::ordered_json({{"rank", name}, {"program", prepare.program()}, {"arguments", arguments},
                                                {"node", head.node()}, {"time", head.time()},
                                                {"generation", prepare.generation()},
                                                {"connections", head.handover().connections()}, {"bytes", file.bytes()},
                                                {"file_bytes", file.size()}, {"packed", file.packed()}, {"regions", list}})
                            .dump(2)
                            .c_str());
    return 0;
  }
  auto seconds = static_cast<time_t>(head.time());
  char when[64];
  std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", std::localtime(&seconds));
  std::string words;
  for (const auto& word : prepare.start().argv()) words += (words.empty() ? "" : " ") + word;
  std::printf("rank         %s, generation %u\nprogram      %s\narguments    %s\nsuspended    %s on node %s\n", name.c_str(),
              prepare.generation(), prepare.program().c_str(), words.c_str(), when, head.node().c_str());
  std::string packed = file.packed() ? ", packed into " + human_bytes(file.size()) : "";
  std::printf("connections  %u\nimage        %s%s, whole\n\n", head.handover().connections(), human_bytes(file.bytes()).c_str(),
              packed.c_str());
  Table table({"START", "END", "SIZE", "KIND", "FILE"}, {2});
  for (const auto& region : regions)
    table.add({hex(region.start), hex(region.end), human_bytes(region.end - region.start), kind_name(region.kind), region.path});
  std::fputs(table.text().c_str(), stdout);
  return 0;
}

}  // namespace msocket
