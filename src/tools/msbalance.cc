// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// msbalance: the load-balancer hook. Reads nodes and ranks from the daemons, asks a policy, carries out its moves.
#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "src/tools/cluster.h"
#include "src/tools/options.h"
#include "src/tools/policy.h"
#include "src/tools/policy_program.h"
#include "src/tools/table.h"

namespace {
using namespace msocket;

constexpr const char* kHelp =
    "usage: msbalance --policy greedy | --policy ./PROGRAM [OPTIONS]\n"
    "\n"
    "Moves ranks between nodes as a policy decides.\n"
    "  greedy     takes a rank off the most overloaded node when that makes the balance better by a full rank\n"
    "  ./PROGRAM  any executable (its name has a '/'): gets the state as JSON on standard input and prints moves, one\n"
    "             line each: JOB:RANK NODE, or {\"rank\": \"1:3\", \"to\": \"c\"}. It is to end with status 0 within 10 s;\n"
    "             one bad line and nothing is moved.\n"
    "\n"
    "The state:\n"
    "  {\"nodes\": [{\"name\", \"cores\", \"slots\", \"ranks\", \"load\", \"memory_total\", \"memory_free\"}],\n"
    "   \"ranks\": [{\"rank\": \"1:3\", \"node\", \"program\", \"state\", \"generation\", \"memory\", \"cpu_seconds\",\n"
    "              \"cpu_share\" (1.0: one core), \"can_move\", \"why_not\"}]}\n";

constexpr Millis kAnswerLimit(10000);

class Balancer {
 public:
  Balancer(asio::any_io_executor executor, Config config, std::string policy, bool dry_run)
      : cluster_(executor, std::move(config)), policy_(std::move(policy)), dry_run_(dry_run) {}

  /// False: something went wrong, and stderr says what.
  awaitable<bool> round() {
    std::string why;
    bool good = true;
    try {
      ClusterState state = co_await read_state();
      std::vector<Move> moves = decide(state);
      for (const Move& move : moves) {
        bool done = co_await carry_out(state, move);
        good &= done;
      }
    } catch (const std::exception& error) {
      why = error.what();
    }
    if (!why.empty()) complain(why);
    co_return good && why.empty();
  }

 private:
  static void complain(const std::string& line) {
    std::fflush(stdout);
    std::fprintf(stderr, "msbalance: %s\n", line.c_str());
  }

  awaitable<ClusterState> read_state() {
    ClusterState state;
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    for (const auto& node : nodes) {
      if (!node.alive()) continue;
      std::vector<proto::RankInfo> ranks;
      std::string why;
      try {
        ranks = co_await cluster_.ranks_on(node);
      } catch (const std::exception& error) {
        why = error.what();
      }
      if (!why.empty()) {  // the policy is not to move anything there
        complain(why);
        continue;
      }
      state.nodes.push_back(node);
      state.ranks.insert(state.ranks.end(), ranks.begin(), ranks.end());
    }
    co_return state;
  }

  std::vector<Move> decide(const ClusterState& state) const {
    if (policy_ == "greedy") return greedy_policy(state);
    try {
      // A program's path need not be UTF-8.
      std::string text = state_to_json(state).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
      return parse_moves(run_policy_program(policy_, text + "\n", kAnswerLimit), state);
    } catch (const std::exception& error) {
      throw std::runtime_error(policy_ + ": " + error.what() + "; nothing is moved");
    }
  }

  awaitable<bool> carry_out(const ClusterState& state, Move move) {
    std::string name = rank_name(move.job, move.rank);
    if (dry_run_) {
      std::printf("%s  %s -> %s\n", name.c_str(), move.from.c_str(), move.to.c_str());
      co_return true;
    }
    const proto::NodeInfo* from = find_node(state.nodes, move.from);
    std::string why;
    try {
      proto::MoveReport report = co_await cluster_.migrate(*from, move.job, move.rank, move.to);
      std::printf("%s  %s -> %s  %s  pause %.0f ms  total %.0f ms\n", name.c_str(), move.from.c_str(), move.to.c_str(),
                  human_bytes(report.bytes()).c_str(), report.pause_ms(), report.total_ms());
      std::fflush(stdout);
    } catch (const std::exception& error) {
      why = error.what();
    }
    if (!why.empty()) complain(name + " -> " + move.to + ": " + why);
    co_return why.empty();
  }

  Cluster cluster_;
  std::string policy_;
  bool dry_run_;
};

awaitable<int> balance(asio::any_io_executor executor, Config config, CommandLine line) {
  Balancer balancer(executor, std::move(config), line.text("policy"), line.has("dry-run"));
  Millis interval(static_cast<int64_t>(line.values["interval"].as<double>() * 1000));
  while (true) {
    bool good = co_await balancer.round();
    if (line.has("once")) co_return good ? 0 : 1;
    co_await sleep_for(interval);
  }
}
}  // namespace

int main(int argc, char** argv) {
  try {
    po::options_description options = common_options();
    auto add = options.add_options();
    add("policy", po::value<std::string>()->value_name("POLICY"), "greedy, or the path of a program");
    add("interval", po::value<double>()->value_name("SECONDS")->default_value(5.0, "5"), "between two looks");
    add("once", "look once; exit status 1 when anything went wrong");
    add("dry-run", "print the moves, make none");
    CommandLine line = parse_options(argc, argv, options, "msbalance", kHelp);
    if (!line.words.empty()) throw std::runtime_error("unexpected '" + line.words[0] + "' (see msbalance --help)");
    std::string policy = line.text("policy");
    if (policy.empty()) throw std::runtime_error("--policy is missing: greedy, or the path of a program");
    if (policy != "greedy" && policy.find('/') == std::string::npos)
      throw std::runtime_error("no policy '" + policy + "' (greedy, or the path of a program, with a '/')");
    if (line.values["interval"].as<double>() <= 0) throw std::runtime_error("--interval must be above 0");
    Config config = require_config(line);
    return run_tool("msbalance", [&](asio::any_io_executor executor) { return balance(executor, config, line); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "msbalance: %s\n", error.what());
  }
  return 1;
}
