"""The two systems of the comparison, as clusters of real processes with one face.

Each has three members that hold the data, on disk, with fsync on, under a directory of its own that is
removed at the end. Only processes that were started here are ended, by their handles.
"""

import contextlib
import json
import os
import shutil
import socket
import urllib.request

import cluster
from cluster import Cluster, Process, free_port, wait_until

MEMBERS = 3


class Etcd:
    """Debian's etcd with its own defaults, but for the quota of its data, which a long run reaches."""

    name = "etcd"
    program = "/usr/bin/etcd"
    quota_bytes = 8 << 30

    def __init__(self, directory, cuts=""):
        del cuts  # it is one group
        os.makedirs(directory)
        self.directory = directory
        self.ports = [(free_port(), free_port()) for _ in range(MEMBERS)]
        peers = ",".join(f"m{i + 1}=http://127.0.0.1:{peer}" for i, (_, peer) in enumerate(self.ports))
        self.members = [self._member(i, peers) for i in range(MEMBERS)]

    def _member(self, index, peers):
        client, peer = (f"http://127.0.0.1:{port}" for port in self.ports[index])
        name = f"m{index + 1}"
        return Process(f"etcd-{name}", self.directory, [
            "--name", name, "--data-dir", os.path.join(self.directory, name),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", peers, "--initial-cluster-state", "new",
            "--logger", "zap", "--log-level", "error",
            "--quota-backend-bytes", self.quota_bytes], program=self.program)

    def start(self):
        for member in self.members:
            member.launch()
        self.wait_serving()
        return self

    def wait_serving(self, timeout_s=60.0):
        wait_until("etcd has a leader", self._leader_index_or_none, timeout_s, poll_s=0.05)

    def _status(self, index):
        """None while the member does not answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[index][0]}/v3/maintenance/status", data=b"{}")
        try:
            with urllib.request.urlopen(request, timeout=1.0) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def _leader_index_or_none(self):
        """Every member that runs must know the leader."""
        leaders = set()
        own = {}
        for index, member in enumerate(self.members):
            if not member.running():
                continue
            status = self._status(index)
            if not status or status.get("leader", "0") == "0":
                return None
            own[status["header"]["member_id"]] = index
            leaders.add(status["leader"])
        if len(leaders) != 1:
            return None
        leader = own.get(leaders.pop())
        return None if leader is None else (leader,)

    def leader(self):
        return self.members[wait_until("etcd has a leader", self._leader_index_or_none)[0]]

    def options(self):
        """Of the load generator. The leader comes first, for loads that all go to it."""
        leader = self.members.index(self.leader())
        order = [leader] + [i for i in range(MEMBERS) if i != leader]
        endpoints = ",".join(f"127.0.0.1:{self.ports[i][0]}" for i in order)
        return ["--target", "etcd", "--endpoints", endpoints]

    def client_ports(self):
        return [client for client, _ in self.ports]

    def processes(self):
        """By role, for accounts."""
        return {member.name: member for member in self.members}

    def kill_all(self):
        for member in self.members:
            member.kill()

    def relaunch(self):
        for member in self.members:
            member.launch()

    def stop_all(self):
        for member in self.members:
            member.stop(60.0)

    def tails(self):
        return "\n".join(member.tail() for member in self.members)

    def close(self):
        for member in self.members:
            if member.child is not None:
                member.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Flotilla:
    """Placement, three nodes and a router, with their defaults."""

    name = "flotilla"

    def __init__(self, directory, cuts="", node_options=()):
        os.makedirs(directory)
        self.directory = directory
        self.cluster = Cluster(nodes=MEMBERS, split_keys=cuts, directory=directory, node_options=node_options)
        self.members = self.cluster.nodes

    def start(self):
        self.cluster.start()
        return self

    def wait_serving(self, timeout_s=60.0):
        self.cluster.wait_led(timeout_s)

    def leader(self, key="kv/"):
        _, index = self.cluster.leader_of(key)
        return self.cluster.nodes[index]

    def options(self):
        """Of the load generator. The leader comes first, for loads that all go to it."""
        leader = self.leader()
        order = [leader] + [node for node in self.members if node is not leader]
        return ["--router", ",".join(f"127.0.0.1:{node.port}" for node in order)]

    def client_ports(self):
        return [node.port for node in self.members]

    def processes(self):
        return {process.name: process for process in self.cluster.processes()}

    def kill_all(self):
        for process in self.cluster.processes():
            process.kill()

    def relaunch(self):
        for process in self.cluster.processes():
            process.launch()

    def stop_all(self):
        for process in [self.cluster.router, *self.cluster.nodes, self.cluster.placement]:
            process.stop(60.0)

    def tails(self):
        return "\n".join(process.tail() for process in self.cluster.processes())

    def close(self):
        self.cluster.close()


SYSTEMS = {system.name: system for system in (Etcd, Flotilla)}


def cuts(workload, ranges, **sizes):
    """Where `flotilla bench split-keys` would cut the key space for a workload."""
    options = [part for name, value in sizes.items() for part in (f"--{name}", value)]
    code, out, error = cluster.run(
        ["bench", "split-keys", "--workload", workload, "--ranges", ranges, *options])
    if code != 0:
        raise RuntimeError(error)
    return out.strip()


def accepts(port):
    """Somebody listens there."""
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def on_disk(directory):
    """False when the directory lies in memory, where fsync costs nothing."""
    directory, best, kind = os.path.realpath(directory), "", ""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, point, fs = line.split()[:3]
            inside = directory == point or directory.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, fs
    return kind not in ("tmpfs", "ramfs")
