// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// msctl: what a person asks of a running cluster. Every error is one line on stderr and exit status 1.
#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "src/tools/cluster.h"
#include "src/tools/move_bar.h"
#include "src/tools/options.h"
#include "src/tools/show_image.h"
#include "src/tools/table.h"
#include "src/wire/image_file.h"

namespace {
using namespace msocket;
using nlohmann::ordered_json;

constexpr const char* kHelp =
    "usage: msctl [--config FILE] COMMAND\n"
    "\n"
    "  ps [--json]                             ranks: where they are and what they use\n"
    "  nodes [--json]                          nodes: cores, load, memory, ranks\n"
    "  strangers [--json]                      who was refused at the nodes' and the master's ports\n"
    "  migrate JOB:RANK --to NODE [--limit M] [--json]\n"
    "                                          moves one rank while it runs, its memory with at most M MiB/s\n"
    "  why JOB:RANK --to NODE [--json]         whether it could be moved there: every reason against it, or what it would cost\n"
    "  drain NODE                              moves every rank off a node\n"
    "  suspend JOB:RANK --image FILE [--compress[=LEVEL]] [--json]\n"
    "                                          puts a rank into a file of its node, packed with zstd; its connections wait\n"
    "  resume FILE --node NODE [--json]        lets it run again, there\n"
    "  image FILE [--json]                     what is in such a file\n";

std::string dotted(uint32_t vip) {
  in_addr address{htonl(vip)};
  char text[INET_ADDRSTRLEN];
  return vip && inet_ntop(AF_INET, &address, text, sizeof text) ? text : "-";
}

// A program's path need not be UTF-8.
std::string as_text(const ordered_json& list) { return list.dump(2, ' ', false, ordered_json::error_handler_t::replace); }

std::string report_line(const proto::MoveReport& report) {
  char text[240];
  std::snprintf(text, sizeof text, "%s  %s -> %s  %s  %u rounds  pause %.0f ms  total %.0f ms",
                rank_name(report.job(), report.rank()).c_str(), report.from().c_str(), report.to().c_str(),
                human_bytes(report.bytes()).c_str(), report.rounds(), report.pause_ms(), report.total_ms());
  std::string line = text;
  if (!report.no_precopy().empty()) line += "  (no pre-copy: " + report.no_precopy() + ")";
  if (report.draining()) line += "  (still draining: a peer has not taken what was sent to it)";
  return line;
}

class Msctl {
 public:
  Msctl(asio::any_io_executor executor, Config config, bool json) : cluster_(executor, std::move(config)), json_(json), bar_(isatty(STDERR_FILENO)) {
    cluster_.on_notice([this](Link::Ptr, const proto::Envelope& notice) {
      if (notice.has_move_progress()) bar_.show(notice.move_progress());
    });
  }

  awaitable<int> ps() {
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    std::vector<proto::RankInfo> ranks = co_await all_ranks(nodes);
    if (json_) {
      ordered_json list = ordered_json::array();
      for (const auto& rank : ranks)
        list.push_back({{"rank", rank_name(rank.job(), rank.rank())}, {"node", rank.node()}, {"pid", rank.pid()},
                        {"vip", dotted(rank.vip())}, {"generation", rank.generation()}, {"state", rank.state()},
                        {"memory", rank.memory()}, {"cpu_seconds", rank.cpu_seconds()},
                        {"cpu_share", rank.cpu_share()}, {"cores", rank.cores()}, {"program", rank.program()},
                        {"why_not", rank.why_not()}});
      std::printf("%s\n", as_text(list).c_str());
      co_return failures_ ? 1 : 0;
    }
    Table table({"JOB:RANK", "NODE", "VIP", "GEN", "STATE", "MEMORY", "CPU", "CORES", "PROGRAM"}, {3, 5, 6});
    for (const auto& rank : ranks) {
      char cpu[32];
      std::snprintf(cpu, sizeof cpu, "%.0f%%", rank.cpu_share() * 100);
      table.add({rank_name(rank.job(), rank.rank()), rank.node(), dotted(rank.vip()), std::to_string(rank.generation()),
                 rank.state(), human_bytes(rank.memory()), cpu, rank.cores(), rank.program()});
    }
    std::fputs(table.text().c_str(), stdout);
    co_return failures_ ? 1 : 0;
  }

  awaitable<int> nodes() {
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    if (json_) {
      ordered_json list = ordered_json::array();
      for (const auto& node : nodes)
        list.push_back({{"name", node.name()}, {"alive", node.alive()}, {"address", node.address()},
                        {"port", node.port()}, {"cores", node.cores()}, {"slots", node.slots()},
                        {"ranks", node.ranks()}, {"load", node.load()}, {"memory_total", node.memory_total()},
                        {"memory_free", node.memory_free()}, {"topology", node.topology()}});
      std::printf("%s\n", as_text(list).c_str());
      co_return 0;
    }
    Table table({"NODE", "STATE", "ADDRESS", "CORES", "SLOTS", "RANKS", "LOAD", "FREE", "MEMORY", "TOPOLOGY"},
                {3, 4, 5, 6, 7, 8});
    for (const auto& node : nodes) {
      char load[32];
      std::snprintf(load, sizeof load, "%.2f", node.load());
      table.add({node.name(), node.alive() ? "alive" : "gone", node.address() + ":" + std::to_string(node.port()),
                 std::to_string(node.cores()), node.slots() ? std::to_string(node.slots()) : "-",
                 std::to_string(node.ranks()), load, human_bytes(node.memory_free()),
                 human_bytes(node.memory_total()), node.topology()});
    }
    std::fputs(table.text().c_str(), stdout);
    co_return 0;
  }

  awaitable<int> strangers() {
    std::vector<std::pair<std::string, proto::ListStrangers>> places;
    proto::ListStrangers at_master = co_await cluster_.strangers_at_master();
    places.emplace_back("master", at_master);
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    for (const auto& node : nodes) {
      if (!node.alive()) continue;
      std::string why;
      try {
        proto::ListStrangers there = co_await cluster_.strangers_at(node);
        places.emplace_back(node.name(), there);
      } catch (const std::exception& error) {
        why = error.what();
      }
      if (!why.empty()) complain(why);
    }
    if (json_) {
      ordered_json list = ordered_json::array();
      for (const auto& [name, there] : places) {
        ordered_json counts = ordered_json::object();
        for (const auto& count : there.counts()) counts[count.reason()] = count.count();
        list.push_back({{"name", name}, {"unknown", there.unknown()}, {"counts", counts}});
      }
      std::printf("%s\n", as_text(list).c_str());
      co_return failures_ ? 1 : 0;
    }
    Table table({"PORT OF", "COUNT", "REASON", "REFUSED BECAUSE IT"}, {1});
    for (const auto& [name, there] : places)
      for (const auto& count : there.counts())
        if (count.count()) table.add({name, std::to_string(count.count()), count.reason(), count.meaning()});
    std::fputs(table.text().c_str(), stdout);
    co_return failures_ ? 1 : 0;
  }

  awaitable<int> migrate(std::string name, std::string to, uint64_t limit) {
    std::string job = parse_rank_name(name).first;
    uint32_t rank = parse_rank_name(name).second;
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    check_node(nodes, to);
    proto::NodeInfo from = co_await place_of(nodes, job, rank);
    if (from.name() == to) throw std::runtime_error("rank " + name + " is on node " + to + " already");
    proto::MoveReport report = co_await cluster_.migrate(from, job, rank, to, limit, !json_);
    bar_.clear();
    print_report(name, report);
    co_return 0;
  }

  awaitable<int> why(std::string name, std::string to) {
    std::string job = parse_rank_name(name).first;
    uint32_t rank = parse_rank_name(name).second;
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    check_node(nodes, to);
    proto::NodeInfo from = co_await place_of(nodes, job, rank);
    proto::Envelope request;
    request.mutable_why()->set_job(job);
    request.mutable_why()->set_rank(rank);
    request.mutable_why()->set_to(to);
    proto::Envelope reply = co_await cluster_.ask(from, std::move(request));
    const proto::Why& why = reply.why();
    bool can = why.reasons_size() == 0;
    if (json_) {
      ordered_json reasons = ordered_json::array();
      for (const auto& reason : why.reasons()) reasons.push_back(reason);
      std::printf("%s\n", as_text({{"rank", name}, {"from", from.name()}, {"to", to}, {"can_move", can}, {"reasons", reasons},
                                   {"bytes", why.bytes()}, {"rounds", why.rounds()}, {"pause_ms", why.pause_ms()}})
                              .c_str());
    } else if (can) {
      std::printf("%s can move from %s to %s: about %.1f MiB, %u %s, a pause of about %.0f ms\n", name.c_str(), from.name().c_str(),
                  to.c_str(), static_cast<double>(why.bytes()) / (1 << 20), why.rounds(), why.rounds() == 1 ? "round" : "rounds",
                  why.pause_ms());
    } else {
      std::printf("%s cannot move from %s to %s:\n", name.c_str(), from.name().c_str(), to.c_str());
      for (const auto& reason : why.reasons()) std::printf("  %s\n", reason.c_str());
    }
    co_return can ? 0 : 1;
  }

  void print_report(const std::string& name, const proto::MoveReport& report) const {
    ordered_json stages = ordered_json::object();
    for (const auto& stage : report.stages()) stages[stage.name()] = std::round(1000 * stage.ms()) / 1000;
    if (json_)
      std::printf("%s\n", ordered_json({{"rank", name}, {"from", report.from()}, {"to", report.to()},
                                        {"start", report.start()}, {"bytes", report.bytes()},
                                        {"pause_ms", report.pause_ms()}, {"total_ms", report.total_ms()},
                                        {"generation", report.generation()}, {"connections", report.connections()}, {"standby", report.standby()},
                                        {"rounds", report.rounds()}, {"precopied", report.precopied()},
                                        {"pause_bytes", report.pause_bytes()}, {"precopy_ms", report.precopy_ms()},
                                        {"no_precopy", report.no_precopy()}, {"draining", report.draining()}, {"stages", stages}})
                              .dump()
                              .c_str());
    else
      std::printf("%s\n", report_line(report).c_str());
  }

  awaitable<int> suspend(std::string name, std::string path, int level) {
    std::string job = parse_rank_name(name).first;
    uint32_t rank = parse_rank_name(name).second;
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    proto::NodeInfo from = co_await place_of(nodes, job, rank);
    proto::Envelope request;
    request.mutable_suspend()->set_job(job);
    request.mutable_suspend()->set_rank(rank);
    request.mutable_suspend()->set_path(std::filesystem::absolute(path).lexically_normal());
    request.mutable_suspend()->set_level(level);
    proto::Envelope reply = co_await cluster_.ask(from, std::move(request));
    const auto& done = reply.suspend();
    if (json_)
      std::printf("%s\n", ordered_json({{"rank", name}, {"node", done.node()}, {"image", done.path()}, {"bytes", done.bytes()}, {"file_bytes", done.file_bytes()},
                                        {"connections", done.connections()}, {"pause_ms", done.pause_ms()}})
                              .dump()
                              .c_str());
    else
      std::printf("%s  suspended on %s to %s  %s%s  %u connections\n", name.c_str(), done.node().c_str(), done.path().c_str(),
                  human_bytes(done.bytes()).c_str(), level ? (" packed into " + human_bytes(done.file_bytes())).c_str() : "",
                  done.connections());
    co_return 0;
  }

  awaitable<int> resume(std::string path, std::string to) {
    path = std::filesystem::absolute(path).lexically_normal();
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    check_node(nodes, to);
    proto::NodeInfo destination = *find_node(nodes, to);
    proto::Envelope question;
    question.mutable_read_image()->set_path(path);
    proto::Envelope answer = co_await cluster_.ask(destination, std::move(question));
    const proto::ImageHead& head = answer.read_image().head();
    const std::string job = head.prepare().start().job();
    uint32_t rank = head.prepare().start().rank();
    proto::NodeInfo from = co_await place_of(nodes, job, rank);
    proto::Envelope request;
    request.mutable_resume()->set_job(job);
    request.mutable_resume()->set_rank(rank);
    request.mutable_resume()->set_to(to);
    request.mutable_resume()->set_path(path);
    request.mutable_resume()->set_image_id(head.id());
    proto::Envelope reply = co_await cluster_.ask(from, std::move(request));
    print_report(rank_name(job, rank), reply.resume().report());
    co_return 0;
  }

  awaitable<int> drain(std::string name) {
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    check_node(nodes, name);
    const proto::NodeInfo from = *find_node(nodes, name);
    std::map<std::string, int> room = free_places(nodes, name);
    if (room.empty()) throw std::runtime_error("no other node is alive: there is nowhere to go from " + name);
    std::set<std::string> stuck;
    // Again until nothing is left: a job may start another rank here while we empty the node.
    for (bool moved = true; moved;) {
      moved = false;
      std::vector<proto::RankInfo> ranks = co_await cluster_.ranks_on(from);
      for (const auto& rank : ranks) {
        std::string who = rank_name(rank.job(), rank.rank());
        if (stuck.count(who)) continue;
        auto best = std::max_element(room.begin(), room.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
        std::string why;
        try {
          proto::MoveReport report = co_await cluster_.migrate(from, rank.job(), rank.rank(), best->first);
          std::printf("%s\n", report_line(report).c_str());
          std::fflush(stdout);
        } catch (const std::exception& error) {
          why = error.what();
        }
        if (why.empty()) {
          best->second--;
          moved = true;
          continue;
        }
        // It may have ended by itself meanwhile.
        bool still_there = co_await is_on(from, rank.job(), rank.rank());
        if (!still_there) continue;
        complain(who + ": " + why);
        stuck.insert(who);
      }
    }
    if (!stuck.empty()) throw std::runtime_error("node " + name + ": " + std::to_string(stuck.size()) +
                                                   (stuck.size() == 1 ? " rank" : " ranks") + " left");
    std::printf("node %s: empty\n", name.c_str());
    co_return 0;
  }

 private:
  void complain(const std::string& line) {
    std::fflush(stdout);
    std::fprintf(stderr, "msctl: %s\n", line.c_str());
    failures_++;
  }

  awaitable<std::vector<proto::RankInfo>> all_ranks(std::vector<proto::NodeInfo> nodes) {
    std::function<void(const std::string&)> failed = [this](const std::string& why) { complain(why); };
    std::vector<proto::RankInfo> ranks = co_await cluster_.all_ranks(nodes, failed);
    co_return ranks;
  }

  static void check_node(const std::vector<proto::NodeInfo>& nodes, const std::string& name) {
    const proto::NodeInfo* node = find_node(nodes, name);
    if (!node) throw std::runtime_error("no node '" + name + "' (nodes: " + node_names(nodes, false) + ")");
    if (!node->alive()) throw std::runtime_error("node " + name + ": its daemon does not answer");
  }

  // The master's word is enough when it has one; only a wrong name costs a look at every daemon.
  awaitable<proto::NodeInfo> place_of(std::vector<proto::NodeInfo> nodes, std::string job, uint32_t rank) {
    proto::Lookup place = co_await cluster_.lookup(job, rank);
    const proto::NodeInfo* node = find_node(nodes, place.address().node());
    if (place.address().vip() && node) co_return *node;
    std::vector<proto::RankInfo> ranks = co_await all_ranks(nodes);
    std::set<std::string> jobs;
    uint32_t low = UINT32_MAX, high = 0;
    for (const auto& known : ranks) {
      jobs.insert(known.job());
      if (known.job() != job) continue;
      low = std::min(low, known.rank());
      high = std::max(high, known.rank());
      if (known.rank() == rank && (node = find_node(nodes, known.node()))) co_return *node;
    }
    std::string hint = "no job runs";
    if (low <= high) {
      hint = "job " + job + " has " + (low == high ? "rank " : "ranks ") + std::to_string(low);
      if (low != high) hint += "-" + std::to_string(high);
    } else if (!jobs.empty()) {
      hint = "jobs:";
      for (const std::string& known : jobs) hint += " " + known;
    }
    throw std::runtime_error("no rank " + rank_name(job, rank) + " (" + hint + ")");
  }

  awaitable<bool> is_on(proto::NodeInfo node, std::string job, uint32_t rank) {
    std::vector<proto::RankInfo> ranks = co_await cluster_.ranks_on(node);
    co_return std::any_of(ranks.begin(), ranks.end(),
                          [&](const auto& known) { return known.job() == job && known.rank() == rank; });
  }

  static std::map<std::string, int> free_places(const std::vector<proto::NodeInfo>& nodes, const std::string& except) {
    std::map<std::string, int> room;
    for (const auto& node : nodes)
      if (node.alive() && node.name() != except)
        room[node.name()] = static_cast<int>(node.slots() ? node.slots() : node.cores()) - static_cast<int>(node.ranks());
    return room;
  }

  Cluster cluster_;
  bool json_;
  MoveBar bar_;
  int failures_ = 0;
};

// MiB/s, as a person writes them.
uint64_t limit_of(const CommandLine& line) {
  if (!line.has("limit")) return 0;
  double limit = line.values["limit"].as<double>();
  if (!(limit > 0) || limit > 1e9) throw std::runtime_error("--limit: more than 0 MiB/s");
  return std::max<uint64_t>(1, static_cast<uint64_t>(limit * (1 << 20)));
}

// zstd's.
int level_of(const CommandLine& line) {
  if (!line.has("compress")) return 0;
  int level = line.values["compress"].as<int>();
  if (level < 1 || level > wire::kImageLevelMost)
    throw std::runtime_error("--compress: levels are 1 to " + std::to_string(wire::kImageLevelMost));
  return level;
}

awaitable<int> command(asio::any_io_executor executor, Config config, CommandLine line) {
  Msctl msctl(executor, std::move(config), line.has("json"));
  const std::vector<std::string>& words = line.words;
  const std::string name = words[0];
  int status = 0;
  if (name == "ps") status = co_await msctl.ps();
  if (name == "nodes") status = co_await msctl.nodes();
  if (name == "strangers") status = co_await msctl.strangers();
  if (name == "migrate") status = co_await msctl.migrate(words[1], line.text("to"), limit_of(line));
  if (name == "why") status = co_await msctl.why(words[1], line.text("to"));
  if (name == "suspend") status = co_await msctl.suspend(words[1], line.text("image"), level_of(line));
  if (name == "resume") status = co_await msctl.resume(words[1], line.text("node"));
  if (name == "drain") status = co_await msctl.drain(words[1]);
  co_return status;
}

void check_usage(const CommandLine& line) {
  static const std::map<std::string, size_t> commands = {{"ps", 1}, {"nodes", 1}, {"strangers", 1}, {"migrate", 2}, {"why", 2}, {"drain", 2},
                                                        {"suspend", 2}, {"resume", 2}, {"image", 2}};
  if (line.words.empty()) throw std::runtime_error("no command given (see msctl --help)");
  auto known = commands.find(line.words[0]);
  if (known == commands.end()) throw std::runtime_error("no command '" + line.words[0] + "' (see msctl --help)");
  static const std::map<std::string, std::string> others = {{"drain", "NODE"}, {"resume", "FILE"}, {"image", "FILE"}};
  auto other = others.find(line.words[0]);
  if (line.words.size() < known->second)
    throw std::runtime_error(line.words[0] + ": " + (other != others.end() ? other->second : "JOB:RANK") + " is missing");
  if (line.words.size() > known->second)
    throw std::runtime_error(line.words[0] + ": unexpected '" + line.words[known->second] + "'");
  limit_of(line);
  level_of(line);
  if ((line.words[0] == "migrate" || line.words[0] == "why") && !line.has("to"))
    throw std::runtime_error(line.words[0] + ": --to NODE is missing");
  if (line.words[0] == "suspend" && !line.has("image")) throw std::runtime_error("suspend: --image FILE is missing");
  if (line.words[0] == "resume" && !line.has("node")) throw std::runtime_error("resume: --node NODE is missing");
  if (line.words[0] == "migrate" || line.words[0] == "why" || line.words[0] == "suspend") parse_rank_name(line.words[1]);
}
}  // namespace

int main(int argc, char** argv) {
  try {
    po::options_description options = common_options();
    options.add_options()("to", po::value<std::string>()->value_name("NODE"), "where the rank is to go")(
        "image", po::value<std::string>()->value_name("FILE"), "where a suspended rank is kept")(
        "node", po::value<std::string>()->value_name("NODE"), "where it is to run again")(
        "compress", po::value<int>()->value_name("LEVEL")->implicit_value(3, ""), "a suspended rank's image, with zstd's 1 to 19 (3)")(
        "limit", po::value<double>()->value_name("MiB/s"), "for the memory of a rank that still runs")(
        "json", "for programs");
    CommandLine line = parse_options(argc, argv, options, "msctl", kHelp);
    check_usage(line);
    if (line.words[0] == "image") return show_image(line.words[1], line.has("json"));
    Config config = require_config(line);
    return run_tool("msctl", [&](asio::any_io_executor executor) { return command(executor, config, line); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "msctl: %s\n", error.what());
  }
  return 1;
}
