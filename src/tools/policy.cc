// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/policy.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "src/tools/names.h"

namespace msocket {

namespace {
// A rank that waits in poll uses next to nothing; one that computes on a crowded node still gets its share of a core.
constexpr double kRunnableShare = 0.05;

struct Load {
  double cores = 1;
  double runnable = 0;
  uint32_t ranks = 0, slots = 0;
  double per_core() const { return runnable / cores; }
  bool full() const { return slots && ranks >= slots; }
};

std::map<std::string, Load> loads_of(const ClusterState& state) {
  std::map<std::string, Load> loads;
  for (const auto& node : state.nodes) {
    Load& load = loads[node.name()];
    load.cores = std::max(1u, node.cores());
    load.slots = node.slots();
  }
  for (const auto& rank : state.ranks) {
    auto found = loads.find(rank.node());
    if (found == loads.end()) continue;
    found->second.ranks++;
    found->second.runnable += rank.cpu_share() > kRunnableShare;
  }
  return loads;
}

[[noreturn]] void bad_line(size_t number, const std::string& line, const std::string& why) {
  std::string shown = line.size() > 60 ? line.substr(0, 60) + "..." : line;
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 32) c = '?';
  throw std::runtime_error("line " + std::to_string(number) + " of the answer, '" + shown + "': " + why);
}

// "1:3 c" or {"rank":"1:3","to":"c"}
std::pair<std::string, std::string> words_of_move(size_t number, const std::string& line) {
  if (line[0] == '{') {
    nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_discarded()) bad_line(number, line, "not JSON");
    if (object.size() != 2 || !object.contains("rank") || !object["rank"].is_string() || !object.contains("to") ||
        !object["to"].is_string())
      bad_line(number, line, "not {\"rank\": \"JOB:RANK\", \"to\": \"NODE\"}");
    return {object["rank"].get<std::string>(), object["to"].get<std::string>()};
  }
  std::stringstream stream(line);
  std::string rank, to, more;
  if (!(stream >> rank >> to) || stream >> more) bad_line(number, line, "not JOB:RANK NODE");
  return {rank, to};
}
}  // namespace

nlohmann::ordered_json state_to_json(const ClusterState& state) {
  nlohmann::ordered_json nodes = nlohmann::ordered_json::array(), ranks = nlohmann::ordered_json::array();
  for (const auto& node : state.nodes)
    nodes.push_back({{"name", node.name()}, {"cores", node.cores()}, {"slots", node.slots()}, {"ranks", node.ranks()},
                     {"load", node.load()}, {"memory_total", node.memory_total()}, {"memory_free", node.memory_free()}});
  for (const auto& rank : state.ranks)
    ranks.push_back({{"rank", rank_name(rank.job(), rank.rank())}, {"node", rank.node()}, {"program", rank.program()},
                     {"state", rank.state()}, {"generation", rank.generation()}, {"memory", rank.memory()},
                     {"cpu_seconds", rank.cpu_seconds()}, {"cpu_share", rank.cpu_share()},
                     {"can_move", rank.why_not().empty()}, {"why_not", rank.why_not()}});
  nlohmann::ordered_json root;
  root["nodes"] = std::move(nodes);
  root["ranks"] = std::move(ranks);
  return root;
}

std::vector<Move> greedy_policy(const ClusterState& state) {
  std::map<std::string, Load> loads = loads_of(state);
  std::vector<proto::RankInfo> ranks = state.ranks;
  std::stable_sort(ranks.begin(), ranks.end(),
                   [](const auto& a, const auto& b) { return a.memory() < b.memory(); });
  std::set<const proto::RankInfo*> moved;
  std::vector<Move> moves;
  if (loads.size() < 2) return moves;
  while (moves.size() < ranks.size()) {
    auto fuller = [](const auto& a, const auto& b) { return a.second.per_core() < b.second.per_core(); };
    auto from = std::max_element(loads.begin(), loads.end(), fuller);
    auto to = loads.end();
    for (auto it = loads.begin(); it != loads.end(); ++it) {
      if (it == from || it->second.full()) continue;
      double after = (it->second.runnable + 1) / it->second.cores;
      if (to == loads.end() || after < (to->second.runnable + 1) / to->second.cores) to = it;
    }
    if (to == loads.end() || from->second.per_core() <= 1) break;
    // Better by a full rank: with the rank gone there, the receiver is still no worse off than the giver.
    double giver_after = (from->second.runnable - 1) / from->second.cores;
    double taker_after = (to->second.runnable + 1) / to->second.cores;
    if (taker_after > giver_after) break;
    auto candidate = std::find_if(ranks.begin(), ranks.end(), [&](const auto& rank) {
      return rank.node() == from->first && rank.cpu_share() > kRunnableShare && rank.why_not().empty() &&
             !moved.count(&rank);
    });
    if (candidate == ranks.end()) break;
    moves.push_back({candidate->job(), candidate->rank(), from->first, to->first});
    moved.insert(&*candidate);
    candidate->set_node(to->first);
    from->second.runnable--, from->second.ranks--;
    to->second.runnable++, to->second.ranks++;
  }
  return moves;
}

std::vector<Move> parse_moves(const std::string& answer, const ClusterState& state) {
  std::vector<Move> moves;
  std::set<std::string> seen;
  std::map<std::string, Load> loads = loads_of(state);
  std::stringstream lines(answer);
  std::string line;
  for (size_t number = 1; std::getline(lines, line); number++) {
    size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") + 1 - first);
    auto [name, to] = words_of_move(number, line);
    const proto::RankInfo* known = nullptr;
    for (const auto& rank : state.ranks)
      if (rank_name(rank.job(), rank.rank()) == name) known = &rank;
    if (!known) bad_line(number, line, "no rank " + name);
    auto place = loads.find(to);
    if (place == loads.end()) bad_line(number, line, "no node '" + to + "' (nodes: " + node_names(state.nodes, false) + ")");
    if (!seen.insert(name).second) bad_line(number, line, "rank " + name + " is named twice");
    if (known->node() == to) bad_line(number, line, "rank " + name + " is on node " + to + " already");
    if (!known->why_not().empty()) bad_line(number, line, "rank " + name + " cannot move: " + known->why_not());
    if (place->second.full()) bad_line(number, line, "node " + to + " has no free slot");
    place->second.ranks++;
    auto left = loads.find(known->node());
    if (left != loads.end()) left->second.ranks--;
    moves.push_back({known->job(), known->rank(), known->node(), to});
  }
  return moves;
}

}  // namespace msocket
