# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""Programs under msrun, for tests that move them: those that run by themselves, and those that do what they are told.

  cons = Moving(cluster, "ms_rndcons", "a", "240.0.0.77", PORT, "4096", seed)
  cons.move("b"); cons.result("bytes")
  one = Commanded(cluster, "ms_states", "a", "240.0.0.1")
  one.ask("listen l 5000")
"""

import os
import queue
import re
import subprocess

import harness
from harness import Failure


class Moving(harness.Program):
    """msrun NAME on a node. The program's first line, "NAME: ...", tells that it is there. Of a program that others have written
    `path` tells where it is, and `ready` what it writes when it is ready, if anything; else it must be in msctl ps, that is all."""

    def __init__(self, cluster, name, node, address, *words, label=None, path=None, ready=None, **options):
        self.cluster, self.name, self.address, self.node = cluster, name, address, node
        self.label, self.now = label or name, None
        self.path = path or os.path.join(harness.compiled(name), name)
        self.ready = ready if path else f"{name}: "
        super().__init__([harness.installed("msrun"), "--node", node, "--vip", address, self.path, *words],
                         os.path.join(cluster.work, self.label), cluster.env, **options)
        if self.ready:
            harness.wait_for(f"{self.label} ready", self.is_ready, 30, 0.01)
        entry = harness.wait_for(f"{self.label} in msctl ps", self.entry, 30)
        self.job, self.number = str(entry["job"]), entry["rank"]

    def is_ready(self):
        running = self.running()
        said = self.ready in self.text()
        if not said and not running:
            self.must_run()
        return said

    def entry(self):
        """What msctl ps tells of it."""
        self.must_run()
        for entry in self.cluster.ps():
            if entry["vip"] == self.address:
                return entry
        return None

    def pid(self):
        if not self.now:
            self.now = harness.wait_for(f"{self.label} in msctl ps", self.entry, 10)["pid"]
        return self.now

    def move(self, to, seconds=60):
        self.must_run()
        self.now = None
        self.cluster.migrate(self.job, self.number, to, seconds)
        self.now, self.node = None, to

    def wait_flow(self, which, more):
        """Until it has read ("rchar") or written ("wchar") so many bytes more."""
        def count():
            self.must_run()
            try:
                with open(f"/proc/{self.pid()}/io") as file:
                    return int(dict(line.split(": ") for line in file.read().splitlines())[which])
            except OSError:
                return 0  # it is just ending: must_run will say so
        before = count()
        harness.wait_for(f"{more} bytes more through {self.label}", lambda: count() >= before + more, 30, 0.002)

    def must_have_moved(self, times):
        moved = self.cluster.settled(self.job, self.number)["generation"]
        if moved < times:
            raise Failure(f"{self.label} says that it moved {moved} times, not {times}")

    def result(self, *fields, seconds=60):
        """The numbers in its last line, which must be "NAME: OK FIELD=NUMBER ...", after a good end."""
        status = self.wait(seconds)
        last = self.lines()[-1] if self.lines() else "no output"
        found = dict(re.findall(r"(\w+)=(\d+)", last))
        if status != 0 or not last.startswith(f"{self.name}: OK ") or any(field not in found for field in fields):
            raise Failure(f"{self.label}: exit status {status}, its last line: {last}")
        return [int(found[field]) for field in fields]


class Commanded(Moving):
    """A program that answers each line on its standard input with one line on its standard output."""

    def __init__(self, cluster, name, node, address, label=None, words=()):
        self.answers, self.asked = queue.Queue(), []
        super().__init__(cluster, name, node, address, *words, label=label, stdin=subprocess.PIPE, keep=self.keep)

    def keep(self, line):
        if not line.startswith(f"{self.name}: "):
            self.answers.put(line)

    def begin(self, command):
        """Tells it what to do; the answer may take its time."""
        self.asked.append(command)
        try:
            self.process.stdin.write((command + "\n").encode())
            self.process.stdin.flush()
        except OSError:
            self.must_run()
            raise

    def answer_line(self, seconds=20):
        """The next answer, whatever it is."""
        command = self.asked.pop(0)
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            self.must_run()
            raise Failure(f"{self.label}: no answer to '{command}' within {seconds} s") from None

    def answer(self, seconds=20):
        """The words behind "ok" of the next answer."""
        command = self.asked[0]
        line = self.answer_line(seconds)
        words = line.split()
        if not words or words[0] != "ok":
            raise Failure(f"{self.label}: '{command}': {line}")
        return words[1:]

    def ask(self, command, seconds=20):
        self.begin(command)
        return self.answer(seconds)

    def must(self, command, *expected, seconds=20):
        """As ask(), but the answer is known."""
        self.begin(command)
        self.must_answer(*expected, seconds=seconds)

    def must_answer(self, *expected, seconds=20):
        """As must(), for what has begun already."""
        command = self.asked[0]
        got = self.answer(seconds)
        if got != [str(word) for word in expected]:
            raise Failure(f"{self.label}: '{command}': {' '.join(got)}, not {' '.join(map(str, expected))}")

    def must_have_failed(self, error, seconds=20):
        command = self.asked[0]
        line = self.answer_line(seconds)
        if line != f"failed {command.split()[0]} {error}":
            raise Failure(f"{self.label}: '{command}': {line}, not {error}")

    def must_fail(self, command, error, seconds=20):
        self.begin(command)
        self.must_have_failed(error, seconds)

    def until(self, command, *expected, seconds=20):
        """Asks again and again, until the answer is this one."""
        wanted = [str(word) for word in expected]
        harness.wait_for(f"{self.label}: '{command}' answered with {' '.join(wanted)}", lambda: self.ask(command) == wanted,
                         seconds, 0.005)

    def stands_in(self, *calls, first=None):
        """Until the process is blocked in one of these system calls (numbers), with this first argument if one is given."""
        pid = self.pid()

        def look():
            self.must_run()
            try:
                with open(f"/proc/{pid}/syscall") as file:
                    words = file.read().split()
            except OSError:
                return False
            return words[0] in map(str, calls) and (first is None or int(words[1], 16) == first)
        harness.wait_for(f"{self.label} blocked in system call {calls}", look, 10, 0.002)

    def leave(self, seconds=20):
        """Its input ends, and so does it."""
        self.process.stdin.close()
        if self.wait(seconds) != 0:
            raise Failure(f"{self.label}: exit status {self.process.returncode}: {' / '.join(self.lines()[-3:])}")
        harness.wait_for(f"{self.label} leaving msctl ps",
                         lambda: not any(entry["vip"] == self.address for entry in self.cluster.ps()), 15)


def move_at_once(*moves):
    """(program, node) pairs; all at the same time."""
    harness.at_once(*[lambda p=program, n=node: p.move(n) for program, node in moves])
