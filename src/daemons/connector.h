// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Data connections between this node's processes and everybody's, the first time: opened for connect(), accepted for listeners
// (paper 5.3). What comes to our port because of a move goes on to the redirector.
#pragma once
#include <optional>

#include "src/daemons/rank.h"
#include "src/wire/port.h"

namespace msocket::daemons {

class Node;

class Connector {
 public:
  explicit Connector(Node& node) : node_(node) {}
  /// kConnect: finds the listener's node and opens the connection; answers with kConnected.
  void connect(const Rank::Ptr& rank, const ProcessChannel::Ptr& from, const wire::ControlRecord& request);
  /// A data connection (kOpen or kRedirect) has come to our port.
  awaitable<void> accept(tcp::socket socket, wire::Caller caller);

 private:
  awaitable<void> run_connect(Rank::Ptr rank, ProcessChannel::Ptr from, wire::ControlRecord request);
  std::optional<wire::Reason> object_to(const wire::ConnHeader& header, const Rank& rank) const;
  void hold(tcp::socket socket, const wire::Caller& caller, const Rank::Ptr& rank);
  void accept_open(tcp::socket socket, const wire::Caller& caller, const Rank::Ptr& rank);

  Node& node_;
};

}  // namespace msocket::daemons
