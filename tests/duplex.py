# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""Two processes with a connection that is used both ways (ms_duplex.c), for tests that move, stop and suspend them."""

import os
import random
import re

import harness
from harness import Failure
from jobs import Job

ADDRESS, PORT = "240.0.0.77", "5077"
SEED = random.SystemRandom().randrange(1, 1000000)


class Pair:
    """ms_duplex on node a, which accepts, and on node b, which connects."""

    def __init__(self, test, mode):
        self.cluster = test.cluster
        self.path = os.path.join(harness.compiled("ms_duplex"), "ms_duplex")
        Job.programs.add(self.path)
        self.stop = os.path.join(self.cluster.work, f"stop-{mode}-{len(harness.Program.all)}")
        self.ends, self.programs = [], []
        for node, words in (("a", []), ("b", [ADDRESS])):
            msrun = [harness.installed("msrun"), "--node", node] + (["--vip", ADDRESS] if not words else [])
            log = os.path.join(self.cluster.work, f"duplex-{len(harness.Program.all)}")
            program = harness.Program(msrun + [self.path, mode, self.stop, str(SEED), PORT] + words, log, self.cluster.env)
            self.programs.append(program)
            line = "ms_duplex: connected" if words else "ms_duplex: listening"
            harness.wait_for("ms_duplex", lambda p=program, start=line: p.saw(start), 30)
            self.ends.append(self.entry_on(node))
        for program in self.programs if mode not in ("half", "halfback") else []:
            harness.wait_for(f"{mode}: bytes both ways", lambda p=program: p.saw("ms_duplex: flowing"), 30)
        self.where = {end: node for end, node in zip(self.ends, "ab")}

    def entry_on(self, node):
        def look():
            for rank in self.cluster.ps():
                if rank["node"] == node and rank["program"] == self.path and not rank["why_not"]:
                    return str(rank["job"]), rank["rank"]
            return None
        return harness.wait_for(f"ms_duplex on {node}", look, 30)

    def pid(self, end):
        return self.cluster.rank(*end)["pid"]

    def move(self, end, to):
        self.cluster.migrate(*end, to, seconds=30)
        self.where[end] = to

    def finish(self):
        """Every byte was right, each got all that the other had sent, and both have left."""
        open(self.stop, "w").close()
        counts = []
        for program in self.programs:
            status = program.wait(60)
            last = program.lines()[-1] if program.lines() else "no output"
            found = re.match(r"ms_duplex: OK sent=(\d+) received=(\d+)$", last)
            if status != 0 or not found:
                raise Failure(f"exit status {status}, last line: {last}")
            counts.append((int(found.group(1)), int(found.group(2))))
        if counts[0] != counts[1][::-1]:
            raise Failure(f"sent and received do not agree: {counts}")
        harness.wait_for("both leaving msctl ps", lambda: not self.cluster.ps(), 15)
