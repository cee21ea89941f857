# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""What the end-to-end tests of this folder have in common: a test with named checks, jobs under mpiexec -migratable, and
commands that must say one clear line.

  class Mine(Test):
      def check_something(self): ...     every check_... method is one check; Failure fails it
  sys.exit(main(Mine, "mine"))
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import harness
from harness import Failure


def must_refuse(done, *words, who="msctl"):
    """`done` ended with status 1 and one line on stderr, `who: ...`, in which each of the words is found. A move that takes
    longer tells before that how far it is."""
    lines = [line for line in done.stderr.splitlines() if not re.fullmatch(r"\S+  round \d+ .*", line)]
    shown = " / ".join(lines) or "nothing"
    if done.returncode != 1:
        raise Failure(f"exit status {done.returncode} instead of 1; stderr: {shown}; stdout: {done.stdout.strip()}")
    if len(lines) != 1 or not lines[0].startswith(f"{who}: "):
        raise Failure(f"stderr is not one line '{who}: ...' but: {shown}")
    for word in words:
        if word not in lines[0]:
            raise Failure(f"no '{word}' in: {shown}")


class Job:
    """A job in the background. Standard output and standard error are apart; standard input is `stdin` or empty. `before`: a
    command that becomes mpiexec, as `ip netns exec` does."""

    def __init__(self, cluster, name, words, env=None, stdin=subprocess.DEVNULL, migratable=True, wait_ranks=0, cwd=None,
                 before=()):
        self.cluster, self.name = cluster, name
        command = [*before, harness.installed("mpiexec")] + (["-migratable"] if migratable else []) + words
        base = os.path.join(cluster.work, name)
        self.out_file, self.err_file = base + ".out", base + ".err"
        with open(self.out_file, "wb") as out, open(self.err_file, "wb") as err:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=out, stderr=err, start_new_session=True,
                                            env=dict(cluster.env if env is None else env), cwd=cwd)
        Job.all.append(self)
        Job.programs.update(word for word in words if os.path.isabs(word) and os.access(word, os.X_OK) and os.path.isfile(word))
        self.number = None
        if wait_ranks:
            self.wait_ranks(wait_ranks)

    all = []
    programs = set()  # what they run, for keep_evidence

    def out(self):
        with open(self.out_file, errors="replace") as file:
            return file.read()

    def err(self):
        with open(self.err_file, errors="replace") as file:
            return file.read()

    def running(self):
        return self.process.poll() is None

    def said(self):
        return f"stdout: {' / '.join(self.out().splitlines()[-3:])}; stderr: {' / '.join(self.err().splitlines()[-3:])}"

    def must_run(self):
        if not self.running():
            raise Failure(f"job {self.name} ended too early, with status {self.process.returncode}; {self.said()}")

    def wait_ranks(self, count, seconds=30):
        """Until `count` ranks of a job that is ours run under msocket. Jobs are made one after the other."""
        def look():
            self.must_run()
            ranks = [rank for rank in self.cluster.ps() if str(rank["job"]) not in self.others()]
            return ranks if len(ranks) >= count and not any(rank["why_not"] for rank in ranks) else None
        self.number = str(harness.wait_for(f"{count} ranks of {self.name}", look, seconds)[0]["job"])

    def others(self):
        return [job.number for job in Job.all if job is not self and job.number]

    def wait_out(self, text, seconds=30):
        def look():
            running = self.running()
            if text in self.out():
                return True
            if not running:
                self.must_run()
            return False
        harness.wait_for(f"'{text}' from {self.name}", look, seconds)

    def wait(self, seconds=60):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"job {self.name} does not end within {seconds:g} s; {self.said()}") from None

    def must_end(self, status, seconds=60):
        got = self.wait(seconds)
        if got != status:
            raise Failure(f"job {self.name}: exit status {got} instead of {status}; {self.said()}")

    def end(self):
        for number, seconds in ((signal.SIGINT, 10), (signal.SIGKILL, 5)):
            if not self.running():
                return
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


class Ring(Job):
    """mpi-tests/ring: checks every byte itself, until finish()."""

    def __init__(self, cluster, name, hosts, ranks=4, program=None, env=None):
        self.stop = os.path.join(cluster.work, name + ".stop")
        self.program = program or os.path.join(harness.compiled("ring"), "ring")
        super().__init__(cluster, name, ["-n", str(ranks), "-hosts", hosts, self.program, "--stop-file", self.stop],
                         env=env, wait_ranks=ranks)
        self.wait_out("ring: running")

    def finish(self, seconds=60):
        """All of it was right to the last byte, and the job has left the cluster."""
        open(self.stop, "w").close()
        self.must_end(0, seconds)
        if not self.out().splitlines()[-1].startswith("ring: OK"):
            raise Failure(f"the ring ends otherwise: {self.said()}")
        if self.err():
            raise Failure(f"the ring's stderr: {self.err().strip()}")
        self.must_leave()

    def must_leave(self, seconds=15):
        harness.wait_for(f"job {self.number} leaving msctl ps",
                         lambda: not any(str(rank["job"]) == self.number for rank in self.cluster.ps()), seconds)


class Test:
    nodes = 3
    options = ()      # for tools/cluster
    given = None      # the command line, with what more_options(parser), if there is one, has added
    where = None      # in a check: what is being tried, for when it fails
    apart = False     # each check has a cluster of its own
    options_of = {}   # check: options for tools/cluster that it needs; it has a cluster of its own

    def __init__(self, cluster):
        self.cluster = cluster

    def begin(self):
        """Before the checks."""

    def finish(self):
        """After them, if the cluster is still whole; another check."""

    def refuses(self, *words, of, who="msctl", seconds=60, env=None, **options):
        """The tool is refused: see must_refuse; `of` are the words of its command line."""
        done = harness.run([harness.installed(who), *of], seconds, stderr=subprocess.PIPE, env=env or self.cluster.env,
                           **options)
        must_refuse(done, *words, who=who)
        return done

    def cannot_move(self, job, number, to, *words, seconds=90):
        self.refuses(*words, of=["migrate", f"{job.number}:{number}", "--to", to], seconds=seconds)

    def must_be_at(self, job, number, node):
        entry = self.cluster.settled(job.number, number, 15)
        if entry["node"] != node:
            raise Failure(f"rank {job.number}:{number} is on {entry['node']} instead of {node}")

    def move(self, job, number, to):
        self.cluster.settled(job.number, number, 15)
        self.cluster.migrate(job.number, number, to)

    def daemon(self, node):
        pid = self.cluster.nodes()[node][2]
        if pid is None:
            raise Failure(f"the daemon of {node} has ended")
        return pid

    def kill_daemon(self, node):
        pid = self.daemon(node)
        os.kill(pid, signal.SIGKILL)
        harness.wait_for(f"the daemon of {node} ending", lambda: not os.path.exists(f"/proc/{pid}"), 10)


def one_check(test, name, method):
    start, test.case = time.monotonic(), None
    try:
        method()
        print(f"{name}: ok ({time.monotonic() - start:.1f} s)", flush=True)
        return True
    except Failure as failure:
        print(f"{name}: FAILED {failure}{f' ({test.case})' if test.case else ''}", flush=True)
    except Exception:  # a test that is wrong itself
        print(f"{name}: FAILED {traceback.format_exc().strip()}", flush=True)
    harness.keep_evidence(test.cluster, Job.programs)
    folder = os.path.join(test.cluster.work, "evidence")
    os.rename(folder, f"{folder}-{name}")
    return False


def on_one_cluster(cls, names, work, options):
    """The names of the checks that fail, and those that are still to run: what a failed one leaves must not fail another."""
    failed, left = [], list(names)
    cluster = harness.Cluster(cls.nodes, folder=work, options=options)
    with cluster:
        test = cls(cluster)
        try:
            test.begin()
            while left and not failed:
                name = left.pop(0)
                if not one_check(test, name, getattr(test, "check_" + name)):
                    failed.append(name)
            if not failed and not one_check(test, "end", test.finish):
                failed.append("end")
        finally:
            for job in Job.all:
                job.end()
            for program in harness.Program.all:
                program.end()
            Job.all.clear()
            harness.Program.all.clear()
    return failed, left


def main(cls, title):
    all_names = [name[6:] for name in cls.__dict__ if name.startswith("check_")]
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.split("\n")[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"only these of: {' '.join(all_names)}")
    if hasattr(cls, "more_options"):
        cls.more_options(parser)
    options = cls.given = parser.parse_args()
    unknown = [name for name in options.checks if name not in all_names]
    if unknown:
        parser.error(f"no check {' '.join(unknown)}")
    names = [name for name in all_names if not options.checks or name in options.checks]
    work = tempfile.mkdtemp(prefix="msocket-")
    failed, count = [], len(names)
    try:
        for name in [name for name in names if cls.apart or name in cls.options_of]:
            print(f"{name} ...", flush=True)
            folder = os.path.join(work, name)
            os.mkdir(folder)
            if on_one_cluster(cls, [name], folder, cls.options_of.get(name, cls.options))[0]:
                failed.append(name)
            names.remove(name)
        folder = work
        while names:
            failed_here, names = on_one_cluster(cls, names, folder, cls.options)
            failed += failed_here
            folder = os.path.join(work, f"after-{'-'.join(failed_here)}")
            if names:
                os.mkdir(folder)
    except (Failure, KeyboardInterrupt) as failure:
        print(f"{title}: {str(failure) or type(failure).__name__}")
        failed.append("set-up")
    if failed:
        print(f"{title}: kept {work}: output of the jobs, evidence-*/, cluster/log/")
        print(f"{title}: FAILED {' '.join(failed)}")
        return 1
    shutil.rmtree(work, ignore_errors=True)
    print(f"{title}: OK checks={count}")
    return 0
