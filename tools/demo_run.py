# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""The demo itself; tools/demo calls it when everything is installed. See there for what it shows and its options."""

import argparse
import os
import random
import re
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import harness  # noqa: E402
from harness import Failure  # noqa: E402
from node_left import NodeLeft  # noqa: E402

RANKS = 6
REPORT_EVERY = 25  # steps between heat's progress lines


def arguments():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--out", default="demo-timeline.svg")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1000000))
    parser.add_argument("--loopback", action="store_true")
    return parser.parse_args()


def say(text):
    print(f"demo: {text}", flush=True)


class Job:
    """heat on the cluster. Shows its progress while it is waited for: in place on a terminal, else now and then."""

    def __init__(self, cluster, name, steps, timeline=None):
        self.cluster, self.name, self.steps = cluster, name, steps
        self.field = os.path.join(cluster.work, f"{name}.field")
        path = os.path.join(harness.compiled("heat"), "heat")
        env = dict(cluster.env, MSOCKET_TIMELINE=timeline) if timeline else cluster.env
        self.began = time.time()
        self.program = harness.Program(
            [harness.installed("mpiexec"), "-migratable", "-n", str(RANKS), "-hosts", ",".join(cluster.names), path,
             "--steps", str(steps), "--report-every", str(REPORT_EVERY), "--out", self.field],
            os.path.join(cluster.work, f"{name}.output"), env)
        harness.wait_for("heat running", lambda: self.program.saw("heat: running"), 120)

    def step(self):
        seen = re.findall(r"^heat: step (\d+)", self.program.text(), re.M)
        return int(seen[-1]) if seen else 0

    def show(self, force=False):
        terminal = sys.stdout.isatty()
        now = time.monotonic()
        if not force and now - getattr(self, "shown", 0) < (0.2 if terminal else 5):
            return
        self.shown = now
        line = f"demo:   step {self.step()} of {self.steps}, {time.time() - self.began:.0f} s"
        print(f"\r{line}\033[K" if terminal else line, end="" if terminal else "\n", flush=True)

    def finish(self, seconds):
        def ended():
            self.show()
            return not self.program.running()
        harness.wait_for("the end of the job", ended, seconds)
        self.ended = time.time()
        self.show(force=True)
        if sys.stdout.isatty():
            print()
        last = self.program.lines()[-1] if self.program.lines() else "no output"
        if self.program.process.returncode != 0 or not last.startswith("heat: OK"):
            raise Failure(f"heat: exit status {self.program.process.returncode}, its last line: {last}")
        return dict(re.findall(r"(\w+)=(\S+)", last))


class Moves(threading.Thread):
    """Random moves spread over the first part of the run, then the drain of node a and its end."""

    def __init__(self, job, cluster, options, spread, left):
        super().__init__(daemon=True)
        self.job, self.cluster, self.options, self.spread, self.left = job, cluster, options, spread, left
        self.dice = random.Random(options.seed)
        self.failure, self.off_at, self.done = None, None, 0
        self.at = {entry["rank"]: entry["node"] for entry in self.whole_job()}
        self.placement = dict(self.at)

    def whole_job(self):
        def look():
            self.job.program.must_run()
            entries = self.cluster.ps()
            return entries if len(entries) == RANKS else None
        entries = harness.wait_for("all ranks in msctl ps", look, 60)
        self.id = entries[0]["job"]
        return entries

    def say(self, text):
        begin = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{begin}demo:   {time.time() - self.job.began:5.1f} s  {text}", flush=True)

    def move(self, rank, to):
        self.job.program.must_run()
        self.cluster.settled(self.id, rank)
        began = time.monotonic()
        self.cluster.migrate(self.id, rank, to)
        self.done += 1
        self.say(f"rank {rank}: {self.at[rank]} -> {to}, {time.monotonic() - began:.2f} s in all")
        self.at[rank] = to

    def wander(self):
        began = time.monotonic()
        moments = sorted(self.dice.uniform(0, self.spread) for _ in range(self.options.moves))
        for number, moment in enumerate(moments):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            rank = self.dice.randrange(RANKS)
            to = self.dice.choice([name for name in self.cluster.names if name != self.at[rank]])
            # Node a must not be empty already when it is drained.
            on_a = [r for r, node in self.at.items() if node == "a"]
            if len(moments) - number <= 2 and len(on_a) < 3:
                rank = self.dice.choice([r for r in self.at if r not in on_a])
                to = "a"
            self.move(rank, to)

    def drain(self):
        for rank in self.at:
            self.cluster.settled(self.id, rank)
        self.say("msctl drain a")
        done = self.cluster.msctl("drain", "a", seconds=120)
        if done.returncode != 0:
            raise Failure(f"msctl drain a: {done.stdout.strip()}")
        there = [entry["rank"] for entry in self.cluster.ps() if entry["node"] == "a"]
        if there:
            raise Failure(f"after the drain rank {there[0]} is still on node a")
        self.left.check()
        self.say("node a: no process, no socket and no file of a rank is left")

    def run(self):
        try:
            self.wander()
            self.drain()
            self.job.program.must_run()
            self.cluster.tool("off", "a")
            self.off_at = time.time()
            self.say("node a is switched off")
        except Exception as failure:  # told by the main thread
            self.failure = failure


def run_alone(cluster, seconds):
    """The reference, of about this length: a short run tells how many steps that takes."""
    probe = Job(cluster, "probe", 3 * REPORT_EVERY)
    rate = 3 * REPORT_EVERY / max(float(probe.finish(300)["seconds"]), 0.01)
    steps = max(4, round(rate * seconds / REPORT_EVERY)) * REPORT_EVERY
    say(f"{RANKS} ranks on three nodes, {steps} steps, nothing moves")
    job = Job(cluster, "alone", steps)
    return job, job.finish(20 * seconds + 300)


def run_moving(cluster, options, alone, result, timeline, left):
    say("the same again, and now the ranks move")
    job = Job(cluster, "moved", alone.steps, timeline)
    moves = Moves(job, cluster, options, 0.55 * float(result["seconds"]), left)
    moves.start()

    def over():
        job.show()
        return not moves.is_alive()
    harness.wait_for("the moves", over, 20 * options.seconds + 300)
    if moves.failure:
        ended = "" if job.program.running() else " (a longer job: --seconds)" if job.program.process.returncode == 0 else ""
        raise Failure(f"{moves.failure}{ended}")
    return job, moves, job.finish(20 * options.seconds + 300)


def table(entries, began):
    yield "   when  rank  from -> to      MiB  stood still     in all"
    for move in entries:
        yield (f"{move['start'] - began:6.1f} s  {move['rank']:4}  {move['from']:>4} -> {move['to']:<4} "
               f"{move['bytes'] / 2**20:6.1f}  {move['pause_ms']:8.1f} ms  {move['total_ms']:6.0f} ms")


def draw(options, cluster, timeline, job, moves):
    placement = ",".join(f"{rank}:{node}" for rank, node in sorted(moves.placement.items()))
    command = [os.path.join(harness.REPO, "tools/timeline"), timeline, "--ranks", str(RANKS),
               "--nodes", ",".join(cluster.names), "--placement", placement, "--start", str(job.began),
               "--end", str(job.ended), "--off", f"a:{moves.off_at}", "--out", options.out,
               "--title", "Heat equation, node a emptied and switched off"]
    done = harness.run(command)
    if done.returncode != 0:
        raise Failure(done.stdout.strip())


def demo(options, cluster):
    timeline = os.path.join(cluster.work, "moves.jsonl")
    say(f"three nodes, seed {options.seed}")
    with cluster:
        for line in cluster.tool("list").splitlines():
            say(f"  node {line.split()[0]}: {line.split()[1]}")
        try:
            left = NodeLeft(cluster, "a")
            alone, result = run_alone(cluster, options.seconds)
            job, moves, moved = run_moving(cluster, options, alone, result, timeline, left)
        except BaseException:
            if sys.stdout.isatty():
                print()
            harness.keep_evidence(cluster, [os.path.join(harness.BUILD, "mpi-tests/heat")])
            raise
        finally:
            for job_left in harness.Program.all:
                job_left.end()
    entries = sorted(harness.read_timeline(timeline), key=lambda move: move["start"])
    say("what happened:")
    print("\n".join(table(entries, job.began)), flush=True)
    draw(options, cluster, timeline, job, moves)
    say(f"drawn: {os.path.abspath(options.out)}")
    if len(entries) < moves.done + 1:
        raise Failure(f"{len(entries)} moves in the timeline, {moves.done} random ones and a drain were made")
    same = subprocess.run(["cmp", alone.field, job.field], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    say(f"alone {result['seconds']} s, checksum {result['checksum']}; moved {moved['seconds']} s, checksum {moved['checksum']}")
    if same.returncode != 0 or result["checksum"] != moved["checksum"]:
        raise Failure(f"the fields differ: {same.stdout.strip()}")
    say(f"the two fields ({os.path.getsize(job.field) / 2**20:.0f} MiB) are the same, bit for bit")
    return f"OK moves={len(entries)} max_pause_ms={max(move['pause_ms'] for move in entries):.1f} identical=yes"


def main():
    options = arguments()
    cluster = harness.Cluster(3, options=["--loopback"] if options.loopback else [])
    try:
        last = demo(options, cluster)
    except (Failure, KeyboardInterrupt, OSError) as failure:
        say(f"kept {cluster.work}: output, evidence/, cluster/log/")
        say(f"FAILED {str(failure) or type(failure).__name__}")
        return 1
    cluster.remove()
    say(last)
    return 0


sys.exit(main())
