# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""Nodes of a cluster (network namespaces) as hosts that OpenSSH reaches: an sshd on each, with keys and configuration of
their own in the cluster's folder, and a client that is configured for them alone.

  with SshHosts(cluster, "c", ["a", "b"]) as hosts:
      hosts.here       begins a command on node c
      hosts.client     a folder for PATH: `ssh` there uses a configuration that knows the hosts, as host-a and host-b too
  hosts.config     such a configuration, with no more in it than that
      hosts.left()     what runs on the three nodes and lies in the hosts' /run, /dev/shm and /var/tmp since
"""

import getpass
import os
import shutil

import harness
from harness import Failure

PORT = 22


def sshd_program():
    return shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


class SshHosts:
    def __init__(self, cluster, here, there):
        self.cluster, self.there = cluster, there
        self.nodes = cluster.nodes()
        self.watched = [here, *there]
        self.here = ["ip", "netns", "exec", self.nodes[here][1]]
        self.own_address = self.nodes[here][0]
        self.addresses = [self.nodes[name][0] for name in there]
        self.folder = os.path.join(cluster.work, "openssh")
        self.client = os.path.join(self.folder, "bin")
        self.config = os.path.join(self.folder, "plain_config")
        self.servers = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)

    def key(self, name):
        """Its public half."""
        done = harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.path(name)])
        if done.returncode != 0:
            raise Failure(f"ssh-keygen: {done.stdout.strip()}")
        with open(self.path(name) + ".pub") as file:
            return " ".join(file.read().split()[:2])

    def __enter__(self):
        os.makedirs(self.client)
        self.write("authorized_keys", self.key("user_key") + "\n")
        self.key("other_key")
        known = ""
        for name, address in zip(self.there, self.addresses):
            known += f"{address} {self.key('host_key_' + name)}\n"
            self.write(f"server_config_{name}", f"""\
Port {PORT}
ListenAddress {address}
HostKey {self.path('host_key_' + name)}
AuthorizedKeysFile {self.path('authorized_keys')}
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
""")
        self.write("known_hosts", known)
        self.write("no_known_hosts", "")
        aliases = "".join(f"Host host-{name}\n  HostName {address}\n" for name, address in zip(self.there, self.addresses))
        first = self.addresses[0]
        plain = f"""\
{aliases}Host closed
  HostName {first}
  Port {PORT + 1}
Host stranger
  HostName {first}
  UserKnownHostsFile {self.path('no_known_hosts')}
Host no-key
  HostName {first}
  IdentityFile {self.path('other_key')}
Host * !no-key
  IdentityFile {self.path('user_key')}
Host *
  User {getpass.getuser()}
  Port {PORT}
  IdentitiesOnly yes
  UserKnownHostsFile {self.path('known_hosts')}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  ConnectTimeout 10
"""
        self.write("plain_config", plain)
        # What people have in theirs and daemons must not mind: a master that stays, a terminal, forwardings.
        self.write("client_config", plain + f"""\
  ControlMaster auto
  ControlPersist yes
  ControlPath {self.path('%C')}
  RequestTTY force
  LocalForward 7799 127.0.0.1:7799
  ExitOnForwardFailure yes
""")
        self.write("bin/ssh", f"#!/bin/sh\nexec {shutil.which('ssh')} -F '{self.path('client_config')}' \"$@\"\n", 0o755)
        try:
            for name in self.there:
                self.start_server(name)
            harness.wait_for("the ssh servers", self.answering, 20)
        except BaseException:
            self.__exit__()
            raise
        self.before = self.state()
        return self

    def start_server(self, name):
        # In the file systems that it sees alone there is nothing at first. `ip netns exec` has made them its own.
        command = ("mount -t tmpfs none /run && mkdir -m 755 /run/sshd && mount -t tmpfs none /dev/shm && "
                   "mount -t tmpfs none /var/tmp && exec \"$@\"")
        self.servers[name] = harness.Program(
            ["ip", "netns", "exec", self.nodes[name][1], "sh", "-c", command, "sh", sshd_program(), "-D", "-e", "-f",
             self.path(f"server_config_{name}")], self.path(f"server_{name}.log"), {"PATH": os.environ["PATH"]})

    def answering(self):
        return all(self.servers[name].saw("Server listening on") for name in self.there)

    def processes(self, name):
        found, own = set(), {self.nodes[name][2]} | {server.process.pid for server in self.servers.values()}
        for pid in harness.run(["ip", "netns", "pids", self.nodes[name][1]]).stdout.split():
            if int(pid) in own:
                continue
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    found.add(f"{name}: process {pid} ({' '.join(file.read().split(chr(0))).strip()})")
            except OSError:
                pass
        return found

    def files(self, name):
        found, pid = set(), self.servers[name].process.pid
        for folder in ("/run", "/dev/shm", "/var/tmp"):
            for at, folders, files in os.walk(f"/proc/{pid}/root{folder}"):
                found.update(f"{name}: {os.path.join(at, entry).partition('/root')[2]}" for entry in folders + files)
        return found

    def sockets(self, name):
        lines = harness.run(["ip", "netns", "exec", self.nodes[name][1], "ss", "-Hltn"]).stdout.splitlines()
        return {f"{name}: listens on {line.split()[3]}" for line in lines}

    def state(self):
        found = set()
        for name in self.watched:
            found |= self.processes(name) | self.sockets(name)
        for name in self.there:
            found |= self.files(name)
        return found

    def left(self):
        return sorted(self.state() - self.before)

    def __exit__(self, *_):
        for server in self.servers.values():
            server.end()
