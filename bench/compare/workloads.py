"""What is measured. A group is a set of measurements on one fresh cluster of each system; a round runs the
group on one system and then on the other.

Both get the same generator, threads, value sizes, keys and number of gRPC connections. Three connections, however
many clients, because both systems are fastest with few, shared ones (etcd by 70 %, Flotilla by 40 % against one
connection per client at 256 clients); spread over etcd's members, because that is as good for etcd as all to the leader,
or better. A single client talks to the leader, which saves it a hop.
"""

from dataclasses import dataclass, field

import measure
import systems

VALUE_BYTES = 256
CONNECTIONS = 3


@dataclass
class Settings:
    """What the command line decides."""

    rounds: int = 5
    seconds: int = 5
    warm_up_s: int = 2
    ranges: int = 16
    keys: int = 100_000
    connections: int = CONNECTIONS


@dataclass
class Load:
    """A run of the load generator, on one system or (with the same options) on both."""

    name: str
    workload: str
    options: list
    clients: int = 1
    in_flight: int = 1
    only: str = ""  # the system that has such a thing; empty: both
    own: dict = field(default_factory=dict)  # further options, by system
    timed: bool = True  # takes the settings' seconds

    def run(self, system, settings):
        """Figures of one measurement."""
        connections = min(self.clients, settings.connections)
        options = ["--clients", self.clients, "--in-flight", self.in_flight,
                   "--connections", connections, *self.options, *self.own.get(system.name, [])]
        if system.name == "etcd" and self.clients == 1:
            options.append("--no-etcd-spread")
        if system.name == "flotilla" and self.in_flight == 1:
            options.append("--unary")
        limit_s = 60
        if self.timed:
            options += ["--duration-s", settings.seconds, "--warm-up-s", settings.warm_up_s]
            limit_s += settings.seconds + settings.warm_up_s
        return measure.run_load(system, self.workload, options, limit_s)


@dataclass
class Group:
    """Measurements that share a cluster. `prepare` runs once on it, before them."""

    name: str
    about: str
    loads: list
    cuts: str = "put"
    prepare: object = None

    def start(self, system_class, directory, settings):
        """A fresh cluster of a system."""
        sizes = {"keys": settings.keys} if self.cuts == "put" else {}
        where = systems.cuts(self.cuts, settings.ranges, **sizes) if system_class.name == "flotilla" else ""
        return system_class(directory, where)

    def wanted(self, system_name):
        return [load for load in self.loads if load.only in ("", system_name)]

    def run(self, system, settings, say):
        """{measurement: figures} of one system in one round."""
        system.start()
        if self.prepare:
            say("preparing")
            self.prepare(system, settings)
        results = {}
        for load in self.wanted(system.name):
            results[load.name] = load.run(system, settings)
            say(f"{load.name}: {describe(results[load.name])}")
        return results


def describe(figures):
    """One measurement, for the line of progress."""
    text = f"{figures['per_s']:,.0f}/s, p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms"
    if figures.get("server_cpu_us") is not None:
        text += f", {figures['server_cpu_us']:.0f} µs of CPU each in the servers"
    return text


def put_group(settings):
    common = ["--keys", settings.keys, "--value-bytes", VALUE_BYTES, "--no-verify"]
    loads = [Load(f"put-{n}", "put", common, clients=n) for n in (1, 16, 64, 256, 1000)]
    loads.append(Load("put-pipelined", "put", common, clients=8, in_flight=128, only="flotilla"))
    return Group("put", "puts of 256 bytes, keys uniform", loads)


def groups(settings):
    """Every group, by name, in the order of a full run."""
    made = [put_group(settings)]
    return {group.name: group for group in made}
