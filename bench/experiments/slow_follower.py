#!/usr/bin/python3
"""One of three nodes gets a slow disk under load, on and off: the median of puts must not notice, because the quorum does
not wait for the slower follower. Called by ./dev bench slow-follower."""

import argparse
import json
import os
import signal
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("FLOTILLA_BIN", os.path.join(ROOT, "build", "release", "cmd", "flotilla"))
sys.path[:0] = [os.path.join(ROOT, "tests", "cluster"), os.path.join(ROOT, "bench", "compare")]

import cluster  # noqa: E402
import measure  # noqa: E402
import neighbours  # noqa: E402
import systems  # noqa: E402
from slow_disk import CannotTrace, SlowDisk, syncing_threads  # noqa: E402

RATIO_MAX = 1.10


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench slow-follower", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="of measurements with and without; default 5")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement, after a second of warm-up; default 3")
    parser.add_argument("--clients", default="1,16,64", help="numbers of clients, one request per call; default 1,16,64")
    parser.add_argument("--delay-ms", type=float, default=20, help="that every sync of the follower takes longer; default 20")
    parser.add_argument("--json", help="file to write the last line to as well")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "slow-follower"),
                        help="directory for data, removed at the end; default build/slow-follower")
    return parser.parse_args()


class Experiment:
    """A cluster of one range, and the follower that is made slow."""

    def __init__(self, system, arguments):
        self.system = system
        self.arguments = arguments
        self.cluster = system.cluster
        leader = system.leader()
        self.leader_id = self.cluster.node_id(self.cluster.nodes.index(leader))
        followers = [node for node in self.cluster.nodes if node is not leader]
        self.slow, self.quick = followers
        self.slow_id, self.quick_id = (self.cluster.node_id(self.cluster.nodes.index(node)) for node in followers)
        self.threads = ()

    def options(self, clients, seconds):
        return ["--clients", clients, "--in-flight", 1, "--unary", "--connections", min(clients, 3),
                "--duration-s", seconds, "--warm-up-s", 1, "--no-verify", "--stages",
                "--placement", self.cluster.placement_address]

    def find_threads(self):
        load = measure.Generator(self.system, "put", self.options(4, 3))
        try:
            self.threads = syncing_threads(self.slow.child.pid)
        finally:
            load.run(30)

    def wait_caught_up(self):
        """What the slow follower missed must not be made up for within the next measurement."""
        def caught_up():
            status = self.cluster.status()
            return status and all(node["behind_entries"] == 0 for node in status["nodes"])
        cluster.wait_until("the followers have caught up", caught_up, 60)

    def measure(self, clients):
        """Figures of one measurement; latencies in microseconds."""
        seconds = self.arguments.seconds
        figures = neighbours.run_load(self.system, "put", self.options(clients, seconds), 60 + seconds, say)
        stages = figures["stages"]
        if self.system.leader() is not self.cluster.nodes[self.cluster.index_of(self.leader_id)]:
            raise measure.Failed("the leader moved")
        return {
            "p50_us": figures["p50_ms"] * 1000, "p99_us": figures["p99_ms"] * 1000, "per_s": figures["per_s"],
            "others": figures["others"],
            "quorum_p50_us": stages["quorum"]["p50_us"],
            "slow_append_p50_us": stages["followers"][str(self.slow_id)]["p50_us"],
            "other_append_p50_us": stages["followers"][str(self.quick_id)]["p50_us"],
        }

    def measure_slow(self, clients):
        with SlowDisk(self.threads, self.arguments.delay_ms):
            figures = self.measure(clients)
        if figures["slow_append_p50_us"] < self.arguments.delay_ms * 1000:
            raise measure.Failed(f"the follower was not slow: {figures}")
        self.wait_caught_up()
        return figures

    def pair(self, clients, number):
        """One measurement without and one with; in turns, which of them comes first."""
        if number % 2:
            slow = self.measure_slow(clients)
            return {"before": self.measure(clients), "slow": slow}
        before = self.measure(clients)
        return {"before": before, "slow": self.measure_slow(clients)}


def medians(pairs, phase):
    return {what: statistics.median(pair[phase][what] for pair in pairs) for what in pairs[0][phase]}


def summary(clients, pairs):
    """Ratios are made within a pair."""
    ratios = sorted(pair["slow"]["p50_us"] / pair["before"]["p50_us"] for pair in pairs)
    return {"clients": clients, "pairs": len(pairs), "ratio": round(statistics.median(ratios), 3),
            "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
            "before": medians(pairs, "before"), "slow": medians(pairs, "slow")}


def table(rows):
    lines = [f"{'clients':>7} {'disk':>8} {'puts/s':>9} {'p50 us':>9} {'p99 us':>9} {'quorum p50':>11} "
             f"{'that follower':>14} {'the other':>10}   ratio of p50 (lowest to highest)"]
    for row in rows:
        for phase in ("before", "slow"):
            f = row[phase]
            line = (f"{row['clients']:7} {'slow' if phase == 'slow' else 'as it is':>8} {f['per_s']:9,.0f} {f['p50_us']:9,.0f} "
                    f"{f['p99_us']:9,.0f} {f['quorum_p50_us']:11,.0f} {f['slow_append_p50_us']:14,.0f} "
                    f"{f['other_append_p50_us']:10,.0f}")
            if phase == "slow":
                line += f"   {row['ratio']:.2f} ({row['ratio_range'][0]:.2f} to {row['ratio_range'][1]:.2f})"
            lines.append(line)
    return "\n".join(lines)


def run(experiment, arguments):
    rows = []
    experiment.find_threads()
    for clients in (int(n) for n in arguments.clients.split(",")):
        pairs = []
        for number in range(arguments.pairs):
            pairs.append(experiment.pair(clients, number))
            say(f"{clients} clients, pair {number + 1} of {arguments.pairs}: p50 {pairs[-1]['before']['p50_us']:,.0f} us, "
                f"with the slow follower {pairs[-1]['slow']['p50_us']:,.0f} us")
        rows.append(summary(clients, pairs))
    return rows


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = parse_arguments()
    cluster.need_binary()
    data = os.path.join(os.path.abspath(arguments.work), f"data-{os.getpid()}")
    os.makedirs(os.path.dirname(data), exist_ok=True)
    system = systems.Flotilla(data)
    try:
        system.start()
        rows = run(Experiment(system, arguments), arguments)
    except (measure.Failed, CannotTrace, AssertionError) as error:
        say(system.tails())
        sys.exit(f"slow-follower: {error}")
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        system.close()
    worst = max(row["ratio"] for row in rows)
    line = json.dumps({"delay_ms": arguments.delay_ms, "ratio": worst, "ratio_max": RATIO_MAX, "met": worst <= RATIO_MAX,
                       "rows": rows})
    print(table(rows))
    print(line)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    return 0 if worst <= RATIO_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
