# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""What is left on a node that has no ranks: its msdaemon, with the files that it had before the first rank came.

  left = NodeLeft(cluster, "a")   before any job
  left.check()                    after the last rank has gone; Failure names what it finds
"""

import collections
import glob
import os
import re

import harness


class NodeLeft:
    def __init__(self, cluster, node):
        self.cluster, self.node = cluster, node
        self.address, self.namespace, self.daemon = cluster.nodes()[node]
        self.files_before = self.files()

    def processes(self):
        if self.namespace:
            pids = harness.run(["ip", "netns", "pids", self.namespace]).stdout.split()
        else:
            pids, look = [], [str(self.daemon)]
            while look:
                pids.append(look.pop())
                for name in glob.glob(f"/proc/{pids[-1]}/task/*/children"):
                    try:
                        with open(name) as file:
                            look += file.read().split()
                    except OSError:
                        pass
        found = []
        for pid in pids:
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if int(pid) != self.daemon:
                found.append(f"process {pid} ({' '.join(words).strip() or 'ended, not waited for'})")
        return found

    def sockets(self):
        """TCP sockets, apart from the daemon's and from TIME-WAIT, which is the kernel's memory of a closed one."""
        found = []
        for line in self.cluster.exec(self.node, "ss", "-Htanp").stdout.splitlines():
            parts = line.split()
            if parts[0] == "TIME-WAIT" or f"pid={self.daemon}," in line:
                continue
            if self.namespace or parts[3].rpartition(":")[0] == self.address:
                found.append(f"socket {' '.join(parts)}")
        return found

    def files(self):
        """How many the daemon has open of each kind. Its TCP links to other daemons come and go: sockets() sees those."""
        kinds = collections.Counter()
        unix = set(re.findall(r"\bino:(\d+)", harness.run(["ss", "-Hxpe"]).stdout))
        for name in glob.glob(f"/proc/{self.daemon}/fd/*"):
            try:
                target = os.readlink(name)
            except OSError:
                continue
            kind, _, number = target.partition(":[")
            if kind != "socket":
                kinds[kind if kind == "pipe" else target] += 1
            elif number.rstrip("]") in unix:
                kinds["Unix socket"] += 1
        return kinds

    def look(self):
        more = self.files() - self.files_before
        return self.processes() + self.sockets() + [f"{count} more of {kind} open in msdaemon" for kind, count in more.items()]

    def check(self, seconds=15):
        found = []

        def nothing():
            found[:] = self.look()
            return not found
        try:
            harness.wait_for("nothing", nothing, seconds)
        except harness.Failure:
            raise harness.Failure(f"node {self.node} still has after {seconds} s: {'; '.join(found)}") from None
