"""What is measured. A group is a set of measurements on one fresh cluster of each system; a round runs the
group on one system and then on the other.

Both get the same generator, threads, value sizes, keys and number of gRPC connections: three, however many clients,
because both systems are fastest with few, shared ones (at 256 clients etcd by 70 %, Flotilla by 40 %, against one
connection per client). Writes and linearizable reads all go to the leader, which was better for etcd than its members in
turn (puts of 64 clients by a third); etcd's updates of one hot row, and of both systems stale reads (etcd's serializable
ones) and clients that must survive the leader go to all members in turn. Flotilla's router stands by: its nodes serve clients themselves, as etcd's members do.
"""

import os
import threading
import time
from dataclasses import dataclass, field

import cluster
import measure
import systems

VALUE_BYTES = 256
CONNECTIONS = 3
ISSUERS = 256
SCAN_ROWS = 100


@dataclass
class Settings:
    """What the command line decides."""

    rounds: int = 5
    seconds: int = 5
    warm_up_s: int = 2
    ranges: int = 1
    keys: int = 100_000
    connections: int = CONNECTIONS
    restart_entries: int = 500_000
    memory_keys: int = 1_000_000
    sparse: bool = False  # only the numbers of clients that targets name


# ---- loads: runs of the load generator ----------------------------------------------------------------


@dataclass
class Load:
    """A run of the load generator, on one system or (with the same options) on both."""

    name: str
    workload: str
    options: list
    clients: int = 1
    in_flight: int = 1
    only: str = ""  # the system that has such a thing; empty: both
    spread: bool = False  # etcd: over the members in turn; else all to the leader
    everywhere: bool = False  # both: over the members in turn, because the leader goes, or any may answer
    own: dict = field(default_factory=dict)  # further options, by system

    def fits(self, system_name):
        """PostgreSQL has no pipelines of one connection, no stale reads here, and one way to reserve."""
        if system_name != "postgresql":
            return self.only in ("", system_name)
        return (self.only in ("", "flotilla") and self.workload in ("put", "get", "hot-issuer")
                and self.in_flight == 1 and "--stale-reads" not in self.options)

    def arguments(self, system_name, settings):
        """Options of the generator, without the time."""
        options = ["--clients", self.clients, "--in-flight", self.in_flight,
                   "--connections", min(self.clients, settings.connections),
                   *self.options, *self.own.get(system_name, [])]
        spread = self.everywhere or (self.spread if system_name == "etcd" else settings.ranges > 1)
        if not spread:
            options.append("--no-spread")
        if system_name == "flotilla" and self.in_flight == 1:
            options.append("--unary")
        return options

    def run(self, system, settings):
        """Figures of one measurement."""
        if hasattr(system, "run_load"):
            return system.run_load(self, settings)
        timed = ["--duration-s", settings.seconds, "--warm-up-s", settings.warm_up_s]
        limit_s = 90 + settings.seconds + settings.warm_up_s
        return measure.run_load(
            system, self.workload, self.arguments(system.name, settings) + timed, limit_s)


def fill(system, settings, keys):
    """Writes every key once, as fast as the system takes them; returns the generator's figures."""
    if hasattr(system, "fill"):
        return system.fill(keys, VALUE_BYTES)
    load = Load("fill", "put", ["--keys", keys, "--value-bytes", VALUE_BYTES, "--distribution", "sequential",
                                "--count", keys, "--duration-s", 0, "--no-verify"],
                clients=256 if system.name == "etcd" else 8, in_flight=1 if system.name == "etcd" else 128)
    return measure.run_load(system, load.workload, load.arguments(system.name, settings), 600)


def describe(figures):
    """One measurement, for the line of progress."""
    if "per_s" not in figures:
        return ", ".join(f"{name} {value:,.1f}" for name, value in figures.items() if isinstance(value, (int, float)))
    text = f"{figures['per_s']:,.0f}/s, p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms"
    if figures.get("server_cpu_us") is not None:
        text += f", {figures['server_cpu_us']:.0f} µs of CPU each in the servers"
    if figures.get("conflicts"):
        text += f", {figures['conflicts'] / max(figures['done'], 1):.1f} conflicts each"
    return text


# ---- groups -------------------------------------------------------------------------------------------


@dataclass
class Group:
    """Measurements that share a cluster. `prepare` runs once on it, before them."""

    name: str
    loads: list
    cuts: str = "put"
    prepare: object = None
    systems: tuple = ("etcd", "flotilla", "postgresql")

    def start(self, system_class, directory, settings):
        """A fresh cluster of a system, not started yet."""
        where = ""
        if system_class.name == "flotilla" and settings.ranges > 1:
            sizes = {"keys": settings.keys} if self.cuts == "put" else {"issuers": ISSUERS}
            where = systems.cuts(self.cuts, settings.ranges, **sizes)
        return system_class(directory, where)

    def run(self, system, settings, say):
        """{measurement: figures} of one system in one round."""
        system.start()
        if self.prepare:
            say("preparing")
            self.prepare(system, settings)
        results = {}
        for load in self.loads:
            if not load.fits(system.name):
                continue
            results[load.name] = load.run(system, settings)
            say(f"{load.name}: {describe(results[load.name])}")
        return results


def counts(settings, all_counts, named):
    return named if settings.sparse else all_counts


def put_group(settings):
    common = ["--keys", settings.keys, "--value-bytes", VALUE_BYTES, "--no-verify"]
    loads = [Load(f"put-{n}", "put", common, clients=n)
             for n in counts(settings, (1, 16, 64, 256, 1000), (1, 256, 1000))]
    # As deep as takes no longer than etcd's thousand clients wait, too.
    loads += [Load("put-pipelined", "put", common, clients=8, in_flight=128, only="flotilla"),
              Load("put-pipelined-4096", "put", common, clients=8, in_flight=512, only="flotilla")]
    return Group("put", loads)


def hot_group(settings):
    """Reservations. On etcd: read and transaction, or (-known) beginning with the revision that the client knows."""
    def load(name, issuers, zipf, clients, known=None, in_flight=1):
        options = ["--issuers", issuers, "--zipf", zipf, "--limit", 10**15, "--timeout-ms", 30000]
        only = "flotilla" if known is None else "etcd"
        return Load(name, "hot-issuer", options, clients=clients, in_flight=in_flight, only=only, spread=issuers == 1 and clients > 1,
                    own={"etcd": ["--etcd-remember"] if known else []})

    loads = []
    for n in counts(settings, (1, 4, 16, 64), (1, 64)):
        loads += [load(f"hot-one-{n}-read", 1, 0, n, known=False), load(f"hot-one-{n}-known", 1, 0, n, known=True),
                  load(f"hot-one-{n}", 1, 0, n)]
    loads.append(load("hot-one-pipelined", 1, 0, 8, in_flight=64))
    for name, zipf in counts(settings, (("uniform", 0), ("zipf", 0.99)), (("zipf", 0.99),)):
        loads += [load(f"hot-{name}-64-read", ISSUERS, zipf, 64, known=False),
                  load(f"hot-{name}-64-known", ISSUERS, zipf, 64, known=True),
                  load(f"hot-{name}-64", ISSUERS, zipf, 64),
                  load(f"hot-{name}-pipelined", ISSUERS, zipf, 8, in_flight=64)]
    # The last one: it leaves the most rows behind.
    loads.append(load("hot-one-pipelined-4096", 1, 0, 8, in_flight=512))
    return Group("hot", loads, cuts="hot-issuer")


def fill_and_restart(system, settings):
    """In etcd 3.4 a burst of puts slows later reads until the members restart; both systems are restarted."""
    fill(system, settings, settings.keys)
    system.stop_all()
    system.relaunch()
    system.wait_serving()


def read_group(settings):
    common = ["--keys", settings.keys, "--value-bytes", VALUE_BYTES, "--no-preload", "--no-verify"]
    loads = []
    for n in counts(settings, (1, 64, 256), (256,)):
        loads += [Load(f"get-{n}", "get", common, clients=n),
                  Load(f"get-stale-{n}", "get", [*common, "--stale-reads"], clients=n, everywhere=True)]
    loads += [
        Load("get-pipelined", "get", common, clients=8, in_flight=64, only="flotilla"),
        Load("scan-64", "scan", [*common, "--scan-rows", SCAN_ROWS], clients=64),
        Load("mixed-95-256", "mixed", [*common, "--read-percent", 95], clients=256),
        Load("mixed-50-256", "mixed", [*common, "--read-percent", 50], clients=256),
    ]
    return Group("read", loads, prepare=fill_and_restart)


@dataclass
class Alone:
    """A group of one measurement that has its own way. Flotilla has one range, which one node leads, as etcd."""

    name: str
    make: object  # (system, settings, say) -> figures
    systems: tuple = ("etcd", "flotilla")

    def start(self, system_class, directory, settings):
        return system_class(directory)

    def run(self, system, settings, say):
        system.start()
        figures = self.make(system, settings, say)
        say(f"{self.name}: {describe(figures)}")
        return {self.name: figures}


def failover(system, settings, say):
    """The longest gap between two answers to any of 16 clients whose leader is killed."""
    seconds = max(settings.seconds * 2, 8)
    load = Load("failover", "put", ["--keys", settings.keys, "--value-bytes", VALUE_BYTES, "--timeout-ms", 1000,
                                    "--duration-s", seconds, "--no-verify"], clients=16, everywhere=True)
    leader = system.leader()
    generator = measure.Generator(system, load.workload, load.arguments(system.name, settings))
    killers = []

    def on_line(line):
        if line == "measuring":
            killers.append(threading.Timer(seconds / 4, leader.kill))
            killers[0].start()

    try:
        result = generator.run(60 + seconds, on_line)
    finally:
        for killer in killers:
            killer.join()
    if leader.running():
        raise measure.Failed("the leader was not killed")
    return {"gap_ms": result["longest_gap_ms"], "done": result["acked"], "retries": result["retries"]}


def restart(system, settings, say):
    """From the launch of all, after SIGKILL of all, to the first accepted put."""
    entries = settings.restart_entries
    filled = fill(system, settings, entries)
    say(f"{entries:,} entries at {filled['per_s']:,.0f}/s")
    options = system.options()  # while there is a leader to ask for
    system.kill_all()
    began = time.monotonic()
    system.relaunch()
    # The generator begins when there is somebody to connect to: how long a connection is tried again after it was
    # refused says nothing of the system.
    cluster.wait_until("a client's port is open", lambda: any(map(systems.accepts, system.client_ports())),
                       120, poll_s=0.005)
    first = Load("first", "put", ["--keys", 1, "--value-bytes", VALUE_BYTES, "--count", 1, "--duration-s", 0,
                                  "--timeout-ms", 200, "--settle-s", 120, "--no-verify"], everywhere=True)
    generator = measure.Generator(system, first.workload, first.arguments(system.name, settings), options)
    result = generator.run(150)
    ready_s = time.monotonic() - began
    if result["acked"] != 1:
        raise measure.Failed("no put was accepted after the restart")
    sample = ["--keys", entries, "--value-bytes", VALUE_BYTES, "--no-preload", "--no-verify",
              "--count", 2000, "--duration-s", 0]
    system.wait_serving()
    read = Load("sample", "get", sample, clients=16)
    measure.run_load(system, read.workload, read.arguments(system.name, settings), 60)
    return {"ready_s": ready_s, "retries": result["retries"]}


def memory(system, settings, say):
    """Resident memory and disk with many keys."""
    filled = fill(system, settings, settings.memory_keys)
    say(f"{settings.memory_keys:,} keys at {filled['per_s']:,.0f}/s")
    leader = system.leader()
    time.sleep(3)  # what was being flushed and freed is no steady state
    resident = {role: measure.account(process.child.pid)["resident_bytes"] / 2**20
                for role, process in system.processes().items()}
    followers = [resident[member.name] for member in system.members if member is not leader]
    return {"leader_mib": resident[leader.name], "follower_mib": max(followers),
            "all_mib": sum(resident.values()), "disk_mib": disk_bytes(system.directory) / 2**20}


def disk_bytes(directory):
    """What the files take on the disk."""
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except FileNotFoundError:  # a log that was recycled meanwhile
                pass
    return total


def groups(settings):
    """Every group, by name, in the order of a full run."""
    made = [put_group(settings), hot_group(settings), read_group(settings), Alone("failover", failover),
            Alone("restart", restart), Alone("memory", memory)]
    return {group.name: group for group in made}
