// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/options.h"

#include <csignal>
#include <cstdio>
#include <iostream>
#include <stdexcept>

#include "src/wire/auth.h"

#ifndef MSOCKET_VERSION
#define MSOCKET_VERSION "(unknown version)"
#endif

namespace msocket {

po::options_description common_options() {
  po::options_description options("Options");
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"),
      "the cluster's configuration (default: $MSOCKET_CONFIG, else the newest job that brought its own daemons)");
  add("help,h", "print this");
  add("version", "print the version");
  return options;
}

namespace {
// Where the words of the program that is to be run begin.
int program_at(int argc, char** argv, const po::options_description& options) {
  for (int i = 1; i < argc; i++) {
    std::string word = argv[i];
    if (word == "--") return i;
    if (word.size() < 2 || word[0] != '-') return i;
    bool joined = word.find('=') != std::string::npos;
    const auto* option = options.find_nothrow(word.substr(word[1] == '-' ? 2 : 1), true);
    if (!joined && option && option->semantic()->max_tokens() > 0) i++;
  }
  return argc;
}
}  // namespace

CommandLine parse_options(int argc, char** argv, const po::options_description& options, const std::string& program,
                          const std::string& help, bool program_follows) {
  CommandLine line;
  int end = program_follows ? program_at(argc, argv, options) : argc;
  po::options_description all;
  all.add(options).add_options()("word", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("word", -1);
  try {
    po::store(po::command_line_parser(end, argv).options(all).positional(positional).run(), line.values);
    po::notify(line.values);
  } catch (const po::error& error) {
    throw std::runtime_error(std::string(error.what()) + " (see " + program + " --help)");
  }
  if (line.has("help")) {
    std::cout << help << "\n" << options;
    std::exit(0);
  }
  if (line.has("version")) {
    std::cout << program << " (msocket) " << MSOCKET_VERSION << "\n";
    std::exit(0);
  }
  if (line.has("word")) line.words = line.values["word"].as<std::vector<std::string>>();
  if (end < argc && std::string(argv[end]) == "--") end++;
  line.words.insert(line.words.end(), argv + end, argv + argc);
  return line;
}

Config require_config(const CommandLine& line) {
  auto path = find_config(line.text("config"));
  if (!path)
    throw std::runtime_error("no cluster: give --config FILE or set MSOCKET_CONFIG (no job with daemons of its own runs)");
  return load_config(*path);
}

int run_tool(const std::string& program, std::function<awaitable<int>(asio::any_io_executor)> work) {
  std::signal(SIGPIPE, SIG_IGN);
  std::string why;
  int status = 1;
  try {
    wire::auth_init();
    asio::io_context loop(1);
    spawn(
        loop.get_executor(),
        [&]() -> awaitable<void> {
          status = co_await work(loop.get_executor());
          loop.stop();
        },
        [&](const std::string& error) {
          why = error;
          loop.stop();
        });
    loop.run();
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (why.empty()) return status;
  std::fflush(stdout);
  std::fprintf(stderr, "%s: %s\n", program.c_str(), why.c_str());
  return 1;
}

}  // namespace msocket
