# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""What the end-to-end tests, the benchmarks and the demo have in common: a cluster made by tools/cluster, the people's
tools on it, programs with their output, and what to keep when something goes wrong.

Waiting is always for a condition, with a deadline. A failure is a Failure with one line for a person.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.path.abspath(os.environ.get("MSOCKET_BUILD") or os.path.join(REPO, "build"))
INST = os.path.join(BUILD, "inst")


class Failure(Exception):
    pass


def installed(name):
    path = os.path.join(INST, "bin", name)
    if not os.access(path, os.X_OK):
        raise Failure(f"no {path}: run tools/setup first")
    return path


def closed_to_others():
    """A folder that keeps an ordinary user away from the checkout or the installation (a clone in /root, say); None: there is none."""
    for path in (REPO, INST):
        while path != "/":
            if not os.stat(path).st_mode & 0o001:
                return path
            path = os.path.dirname(path)
    return None


def wait_for(what, condition, seconds, every=0.05):
    """Returns the first true value of condition(); Failure after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Failure(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def run(command, seconds=60, **options):
    """A finished process; Failure when it takes longer than `seconds`. Its output is one text, in `stdout`."""
    options.setdefault("stderr", subprocess.STDOUT)
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
                              timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        raise Failure(f"no end within {seconds:g} s: {' '.join(command)}") from None


def compiled(*names, stock=False):
    """The folder with the compiled MPI programs; see mpi-tests/build."""
    done = run([os.path.join(REPO, "mpi-tests/build")] + (["--stock"] if stock else []) + list(names), 300)
    if done.returncode != 0:
        raise Failure(done.stdout.strip())
    return done.stdout.strip().splitlines()[-1]


def read_timeline(path):
    """The moves that mpiexec wrote down (MSOCKET_TIMELINE), oldest first."""
    try:
        with open(path) as file:
            lines = file.read().split("\n")[:-1]  # what has no newline is still being written
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.strip()]


class Program:
    """A process in the background; its output goes to a file and is looked at there. `keep` gets each line as well; with
    `data`, another file, standard output goes there and only standard error is looked at."""

    all = []  # those that were started, for who cleans up

    def __init__(self, command, log, env=None, stdin=subprocess.DEVNULL, keep=None, data=None):
        self.command, self.log = command, log
        with open(log, "wb") as said, open(data or os.devnull, "wb") as out:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE if keep else out if data else said,
                                            stderr=said if data else subprocess.STDOUT, env=env, start_new_session=True)
        Program.all.append(self)
        if keep:
            threading.Thread(target=self.follow, args=(keep,), daemon=True).start()

    def follow(self, keep):
        with open(self.log, "ab", buffering=0) as log:
            for line in self.process.stdout:
                log.write(line)
                keep(line.decode(errors="replace").rstrip("\n"))

    def text(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def lines(self):
        return self.text().splitlines()

    def running(self):
        return self.process.poll() is None

    def must_run(self):
        if not self.running():
            raise Failure(f"{os.path.basename(self.command[0])} ended too early, with status {self.process.returncode}: "
                          f"{' / '.join(self.lines()[-3:])}")

    def saw(self, start):
        """The first line that begins with `start`; a program that ended without it has failed."""
        running = self.running()  # before the look: what it wrote last is there
        for line in self.lines():
            if line.startswith(start):
                return line
        if not running:
            self.must_run()
        return None

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{os.path.basename(self.command[0])} does not end within {seconds:g} s") from None

    def end(self):
        """Ends it, if it is still there, politely at first."""
        for number, seconds in ((signal.SIGINT, 5), (signal.SIGKILL, 5)):
            if not self.running():
                return
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


class Cluster:
    """tools/cluster, as an object; `with Cluster(3) as c` takes it down at the end."""

    def __init__(self, count, folder=None, options=()):
        self.work = folder or tempfile.mkdtemp(prefix="msocket-")
        self.dir = os.path.join(self.work, "cluster")
        self.config = os.path.join(self.dir, "cluster.json")
        self.names = [chr(ord("a") + i) for i in range(count)]
        self.options = list(options)
        self.env = dict(os.environ, MSOCKET_CONFIG=self.config)

    def tool(self, *words, seconds=60):
        done = run([os.path.join(REPO, "tools/cluster"), "--dir", self.dir, *words], seconds)
        if done.returncode != 0:
            raise Failure(done.stdout.strip().splitlines()[-1] if done.stdout.strip() else f"tools/cluster {words} failed")
        return done.stdout

    def __enter__(self):
        try:
            self.tool(*self.options, "up", str(len(self.names)))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        run([os.path.join(REPO, "tools/cluster"), "--dir", self.dir, "down"], 60)

    def nodes(self):
        """name -> (address, namespace or None, the daemon's pid or None when it is off)"""
        rows = [line.split() for line in self.tool("list").splitlines()]
        return {name: (address, None if ns == "-" else ns, None if pid == "off" else int(pid))
                for name, address, ns, pid in rows}

    def exec(self, node, *command, seconds=60):
        return run([os.path.join(REPO, "tools/cluster"), "--dir", self.dir, "exec", node, *command], seconds)

    def msctl(self, *words, seconds=60, **options):
        return run([installed("msctl"), *words], seconds, env=self.env, **options)

    def query(self, what):
        # Standard error apart: with a node gone msctl complains there and prints what it knows.
        done = self.msctl(what, "--json", seconds=20, stderr=subprocess.PIPE)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Failure(f"msctl {what} --json: {done.stderr.strip() or done.stdout.strip() or 'no output'}") from None

    def ps(self):
        """The ranks, as msctl tells them, but with "rank": "1:3" taken apart into "job": "1", "rank": 3."""
        entries = self.query("ps")
        for entry in entries:
            if isinstance(entry["rank"], str):
                entry["job"], _, number = entry["rank"].rpartition(":")
                entry["rank"] = int(number)
        return entries

    def rank(self, job, number):
        for entry in self.ps():
            if str(entry["job"]) == str(job) and entry["rank"] == number:
                return entry
        return None

    def settled(self, job, number, seconds=60):
        """The rank's entry once nothing of an earlier move is under way."""
        def look():
            entry = self.rank(job, number)
            return entry if entry and entry.get("state", "running") == "running" else None
        return wait_for(f"rank {job}:{number} at rest", look, seconds)

    def migrate(self, job, number, to, seconds=60):
        done = self.msctl("migrate", f"{job}:{number}", "--to", to, seconds=seconds)
        if done.returncode != 0:
            raise Failure(f"msctl migrate {job}:{number} --to {to}: status {done.returncode}: {done.stdout.strip()}")

    def check_daemons(self):
        dead = [name for name, (_, _, pid) in self.nodes().items() if pid is None]
        if dead:
            raise Failure(f"the msdaemon of {', '.join(dead)} has ended; logs: {self.dir}/log")

    def remove(self):
        shutil.rmtree(self.work, ignore_errors=True)


def at_once(*calls):
    """Runs the calls at the same time; the first failure is raised when all have ended."""
    failures = []

    def guarded(call):
        try:
            call()
        except Failure as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def pids_of(programs):
    """Processes of this machine that run one of these files or came from this installation, all nodes included."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                exe = os.readlink(f"/proc/{entry}/exe").removesuffix(" (deleted)")
            except OSError:
                continue
            if exe in programs or os.path.dirname(exe) == os.path.join(INST, "bin"):
                found.append((int(entry), exe))
    return found


# What libmsocket knows, in processes that have it: for gdb.
LIBRARY_STATE = ["-ex", "set language c++", "-ex", "set print elements 0"]
LIBRARY_STATE += [word for what in ("rt", "vsockets[0]@msocket::transport::used_vsockets", "transition_log")
                  for word in ("-ex", f"p msocket::transport::{what}")]


def keep_evidence(cluster, programs):
    """Stacks of all processes, sockets of all nodes and what msctl knows, into the work folder. Never fails."""
    folder = os.path.join(cluster.work, "evidence")
    os.makedirs(folder, exist_ok=True)

    def save(name, command, seconds=60):
        try:
            text = run(command, seconds, env=cluster.env).stdout
        except (Failure, OSError) as failure:
            text = f"{failure}\n"
        with open(os.path.join(folder, name), "w") as file:
            file.write(f"$ {' '.join(command)}\n{text}")

    for what in ("ps", "nodes"):
        save(f"msctl-{what}", [os.path.join(INST, "bin/msctl"), what, "--json"], 20)
    save("sockets-here", ["ss", "-tanpoei"])
    for node in cluster.names:
        inside = [os.path.join(REPO, "tools/cluster"), "--dir", cluster.dir, "exec", node]
        save(f"sockets-{node}", inside + ["ss", "-tanpoei"])
        save(f"counters-{node}", inside + ["nstat", "-a", "-s"])
    for pid, exe in pids_of(programs):
        name = f"{os.path.basename(exe)}-{pid}"
        save(f"status-{name}", ["sh", "-c", f"cat /proc/{pid}/status; cat /proc/{pid}/wchan; echo; ls -l /proc/{pid}/fd"])
        save(f"stack-{name}", ["gdb", "-batch", "-p", str(pid), "-ex", "thread apply all bt", *LIBRARY_STATE])
    return folder
