# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""Two programs (tests/ms_states.c) on two of four nodes, that do with a connection what they are told; either or both move.

  class Mine(Connections):
      def check_something(self):
          for movers in self.ways():       the server moves, the client moves, both move at once
              names = self.connect()       the state to be tested, seen to be there
              self.move(movers)
              self.exchange()              every byte compared by the programs
              self.nothing_left()
"""

import contextlib
import os
import signal
import threading

import harness
from harness import Failure
from jobs import Job, Test
from node_left import NodeLeft
from programs import Commanded, move_at_once

SERVER, CLIENT, THIRD = "240.0.0.1", "240.0.0.2", "240.0.0.3"
FUTEX = 202  # x86-64; what a blocking ms_connect stands in


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        def is_stopped():
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "T"
        harness.wait_for(f"process {pid} stopped", is_stopped, 10, 0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Connections(Test):
    """What the checks are made of. The server has the end that was accepted, its socket s; the client the other, c."""
    nodes = 4

    def begin(self):
        self.lefts = {name: NodeLeft(self.cluster, name) for name in self.cluster.names}
        self.port = 5000
        self.start()

    def start(self):
        self.server = Commanded(self.cluster, "ms_states", "a", SERVER, label="server")
        self.client = Commanded(self.cluster, "ms_states", "b", CLIENT, label="client")
        self.server.name_of_socket, self.client.name_of_socket = "s", "c"
        Job.programs.add(self.server.path)
        self.broken = False

    def finish(self):
        if self.broken:
            return
        for program in (self.server, self.client):
            program.leave()
        self.cluster.check_daemons()
        for left in self.lefts.values():
            left.check()

    def start_again(self):
        """After a failure."""
        if self.broken:
            for program in harness.Program.all:
                program.end()
            harness.wait_for("the old programs leaving msctl ps", lambda: not self.cluster.ps(), 15)
            self.start()

    def ways(self, with_ends=False):
        """Who moves; with_ends: and the two ends, this way round and the other."""
        self.start_again()
        ends = [(self.client, self.server), (self.server, self.client)] if with_ends else [None]
        for pair in ends:
            for movers in ([self.server], [self.client], [self.server, self.client]):
                self.case = " and ".join(program.label for program in movers) + " moving"
                if pair:
                    self.case += f", {pair[0].label} first"
                self.broken = True  # unless we come back here
                yield (movers, *pair) if pair else movers
                self.broken = False

    def move(self, movers, meanwhile=None):
        """All movers at once, each to a node where nobody is. `meanwhile` runs when the moves have been asked for."""
        self.left_behind = [program.node for program in movers]
        taken = {program.node for program in (self.server, self.client, *movers)}
        moves = list(zip(movers, [name for name in self.cluster.names if name not in taken]))
        failures = []

        def all_of_them():
            try:
                move_at_once(*moves)
            except Failure as failure:
                failures.append(failure)
        thread = threading.Thread(target=all_of_them)
        thread.start()
        try:
            if meanwhile:
                meanwhile(dict(moves))
        finally:
            thread.join()
        if failures:
            raise failures[0]

    def nothing_left(self):
        for name in self.left_behind:
            self.lefts[name].check()

    def listen(self):
        self.port += 1
        self.server.ask(f"listen l {self.port}")

    def call(self, name="c"):
        return f"connect {name} {SERVER} {self.port}"

    def connect_client(self):
        self.client.socket = int(self.client.ask("socket c")[0])
        self.client.must(self.call(), 0)

    def accept(self):
        self.server.socket = int(self.server.ask("accept l s")[0])

    def connect(self):
        """A new connection, on which nothing has been sent, and its four addresses."""
        self.listen()
        self.connect_client()
        self.accept()
        self.server.must("close l", 0)
        names = self.names()
        if names[0] != names[3] or names[1] != names[2]:
            raise Failure(f"the ends do not agree about their addresses: {names}")
        return names

    def names(self):
        return self.server.ask("names s") + self.client.ask("names c")

    def must_be_named(self, names):
        if self.names() != names:
            raise Failure(f"getsockname and getpeername: {self.names()}, before the move {names}")

    def exchange(self, server="s", client="c", size=100000):
        self.server.must(f"send {server} {size}", size)
        self.client.must(f"send {client} {size}", size)
        self.server.must(f"recv {server} {size}", size)
        self.client.must(f"recv {client} {size}", size)

    def close(self):
        self.client.must("close c", 0)
        self.server.must("recv s", 0, "end")
        self.server.must("close s", 0)

    def fill(self, program):
        """Its socket does not block and has taken all that it takes; how much."""
        s = program.name_of_socket
        program.must(f"option {s} nonblock 1", 0)
        filled = []

        def full():
            filled.append(program.ask(f"fill {s}"))
            return filled[-2:-1] == filled[-1:] and program.ask(f"poll {s} out 0") == ["0"]
        harness.wait_for(f"{program.label}'s buffers full", full, 20, 0.02)
        return int(filled[-1][0])

    def connecting(self, movers, blocking):
        """The daemon of the listener's node stands still until connect() and the moves have been asked for."""
        self.listen()
        self.client.ask("socket c")
        if not blocking:
            self.client.must("option c nonblock 1", 0)
        self.client.pid()  # while all daemons answer
        there = contextlib.ExitStack()
        there.enter_context(stopped(self.daemon(self.server.node)))

        def waiting_there():
            """How many connections the daemon has not accepted yet."""
            lines = self.cluster.exec(self.server_node, "ss", "-Htln").stdout.splitlines()
            return max(int(line.split()[1]) for line in lines)

        def asked(moves):
            for program, node in moves.items():
                if program is self.server:
                    harness.wait_for("msctl at the standing daemon", lambda: waiting_there() >= 2, 10, 0.002)
                else:  # its new process is there and waits for the old one's freeze
                    harness.wait_for(f"a new process on {node}", self.lefts[node].processes, 10, 0.002)
            there.close()
        with there:
            self.server_node = self.server.node
            self.client.begin(self.call())
            harness.wait_for("the connect at the standing daemon", lambda: waiting_there() >= 1, 10, 0.002)
            if blocking:
                self.client.stands_in(FUTEX)
            else:
                self.client.must_have_failed("EINPROGRESS")
                self.client.must("poll c out 0", 0)
            self.move(movers, asked)
        if blocking:
            self.client.must_answer(0)
        else:
            self.client.must("poll c out 20000", 1, "out")
            self.client.must("option c error", 0)
            self.client.must("option c nonblock 0", 0)
        self.accept()
        self.server.must("close l", 0)
        self.exchange()
        self.close()
        self.nothing_left()
