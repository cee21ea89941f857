# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""tools/bench downtime: bench/sock_downtime.c moves there and back, and a peer pings it.

In the same run as much memory is copied over a plain TCP connection between the same nodes.
"""

import json
import os
import statistics

import harness
from harness import Failure

PORT, COPY_PORT = 5095, 5096
SIZES, DIRT = (4, 64, 1024, 2048), (0, 1, 10, 100)
SHORTEST_STALL = 0.5  # ms; kWorthTelling of sock_downtime.c
AFTER = 0.1           # s; how long after the old node is empty a ping may begin that still is the move's


def size_name(mib):
    return f"{mib // 1024}GiB" if mib % 1024 == 0 else f"{mib}MiB"


def plain_copies(cluster, mib, count):
    """Milliseconds of each."""
    path = os.path.join(harness.compiled("sock_downtime", stock=True), "sock_downtime")
    on_a, on_b = ([os.path.join(harness.REPO, "tools/cluster"), "--dir", cluster.dir, "exec", node, path] for node in "ab")
    taker = harness.Program(on_b + ["take", str(COPY_PORT)], os.path.join(cluster.work, "taker"), cluster.env)
    try:
        harness.wait_for("the copy's taker", lambda: taker.saw("sock_downtime: listening"), 30)
        done = harness.run(on_a + ["give", cluster.nodes()["b"][0], str(COPY_PORT), str(mib), str(count)], 300)
    finally:
        taker.end()
    seen = [float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("copy ")]
    if done.returncode != 0 or len(seen) != count:
        raise Failure(f"plain copy of {mib} MiB: status {done.returncode}: {done.stdout[-200:]}")
    return seen


class Pair:
    """The program that moves, on node a, and its peer, on node b."""

    number = 0

    def __init__(self, cluster, mib, percent):
        Pair.number += 1
        self.cluster, self.programs = cluster, []
        path = os.path.join(harness.compiled("sock_downtime"), "sock_downtime")
        self.address, peer_address = f"240.0.2.{Pair.number}", f"240.0.3.{Pair.number}"
        self.stop_file = os.path.join(cluster.work, f"stop{Pair.number}")

        def start(name, node, vip, *words):
            program = harness.Program([harness.installed("msrun"), "--no-preload", "--node", node, "--vip", vip, path, *words],
                                      os.path.join(cluster.work, f"{name}{Pair.number}"), cluster.env)
            self.programs.append(program)
            return program
        self.rank = start("rank", "a", self.address, "rank", str(mib), str(percent), str(PORT))
        harness.wait_for("sock_downtime listening", lambda: self.rank.saw("sock_downtime: listening"), 60)
        self.peer = start("peer", "b", peer_address, "peer", self.address, str(PORT), self.stop_file)
        harness.wait_for("sock_downtime pinging", lambda: self.peer.saw("sock_downtime: pinging"), 30)
        self.job = next(str(entry["job"]) for entry in cluster.ps() if entry["vip"] == self.address)

    def move(self):
        """The report of msctl, and resident bytes before it."""
        entry = self.cluster.settled(self.job, next(e["rank"] for e in self.cluster.ps() if e["vip"] == self.address))
        to = "b" if entry["node"] == "a" else "a"
        done = self.cluster.msctl("migrate", f"{self.job}:{entry['rank']}", "--to", to, "--json", seconds=180)
        if done.returncode != 0:
            raise Failure(f"msctl migrate: {done.stdout.strip()}")
        return dict(json.loads(done.stdout), resident=entry["memory"])

    def finish(self):
        """The peer's stalls: (when, ms)"""
        open(self.stop_file, "w").close()
        for program in (self.peer, self.rank):
            if program.wait(120) != 0 or not program.saw("sock_downtime: OK"):
                raise Failure(f"sock_downtime: {' / '.join(program.lines()[-3:])}")
        lines = [line.split() for line in self.peer.lines() if line.startswith("stall ")]
        return [(float(when), float(ms)) for _, when, ms in lines]

    def end(self):
        for program in self.programs:
            program.end()


def stall_of(move, stalls):
    until = move["start"] + move["total_ms"] / 1e3 + AFTER
    # A ping that was on its way when the move was asked for counts as well.
    return max((ms for when, ms in stalls if when + ms / 1e3 > move["start"] and when < until), default=SHORTEST_STALL)


def measure(cluster, results, note, rounds, sizes, dirt):
    def median_of(seen):
        return statistics.median(seen)

    first_stall = None
    for mib in sizes:
        size, copies, totals = size_name(mib), [], {}
        for percent in dirt:
            note(f"downtime: {size}, {percent} % a second: plain copy, then {rounds} moves")
            copies += plain_copies(cluster, mib, max(1, rounds // 2))
            pair = Pair(cluster, mib, percent)
            try:
                moves = [pair.move() for _ in range(rounds)]
                stalls = pair.finish()
            finally:
                pair.end()
            what = f"{size}_dirty{percent}"
            totals[percent] = median_of(move["total_ms"] for move in moves)
            stall = median_of(stall_of(move, stalls) for move in moves)
            results.add("downtime", f"pause_ms_{what}", median_of(move["pause_ms"] for move in moves), None, "ms")
            results.add("downtime", f"total_ms_{what}", totals[percent], None, "ms")
            results.add("downtime", f"sent_over_resident_{what}",
                        median_of(move["bytes"] / move["resident"] for move in moves), None, "ratio")
            results.add("downtime", f"peer_stall_ms_{what}", stall, None, "ms")
            if first_stall is None or what == "64MiB_dirty1":
                first_stall = stall
            for stage in moves[0].get("stages", {}):
                results.add("downtime", f"stage_{stage}_ms_{what}",
                            median_of(move["stages"].get(stage, 0) for move in moves), None, "ms")
        copy = median_of(copies)
        usual = totals.get(1, totals[dirt[0]])
        results.add("downtime", f"copy_ms_{size}", copy, None, "ms")
        results.add("downtime", f"total_over_copy_{size}", usual / copy, None, "ratio")
        if mib == 4:
            results.add("downtime", "move_ms_4MiB", usual, None, "ms")
    results.add("downtime", "peer_stall_ms", first_stall, None, "ms")
