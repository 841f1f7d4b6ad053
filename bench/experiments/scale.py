#!/usr/bin/python3
"""How the speed of puts depends on the number of ranges, on the size of values and on the offered load, and what idle ranges
cost. Called by ./dev bench scale."""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("FLOTILLA_BIN", os.path.join(ROOT, "build", "release", "cmd", "flotilla"))
sys.path[:0] = [os.path.join(ROOT, "tests", "cluster"), os.path.join(ROOT, "bench", "compare")]

import cluster  # noqa: E402
import measure  # noqa: E402
import neighbours  # noqa: E402
import scale_report  # noqa: E402
import systems  # noqa: E402
from compare import Pieces, machine, write_json  # noqa: E402

SYSTEM = systems.Flotilla.name


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclass
class Settings:
    """What the figures depend on; pieces of different settings are never mixed."""

    seconds: int = 4
    warm_up_s: int = 2
    keys: int = 100_000
    value_bytes: int = 256
    clients: int = 8
    in_flight: int = 128
    deep_in_flight: int = 1024
    full_in_flight: int = 4096
    outstanding_bytes: int = 8 << 20  # of all clients together: large values are fewer at a time
    idle_s: int = 8


# ---- points: one measurement on a fresh cluster, or several in ascending order ------------------------


class Point:
    """Makes {name: figures}. A name is what the reports know a measurement by."""

    name: str
    ranges: int = 1
    node_options: tuple = ()

    def cluster(self, directory, settings):
        """Fresh, and not started yet."""
        cuts = systems.cuts("put", self.ranges, keys=settings.keys) if self.ranges > 1 else ""
        return systems.Flotilla(directory, cuts, self.node_options)

    def run(self, system, settings):
        raise NotImplementedError


def pipelined(settings, value_bytes, in_flight):
    """Options of the load that every closed-loop point has."""
    per_client = settings.outstanding_bytes // value_bytes // settings.clients
    return ["--clients", settings.clients, "--connections", settings.clients,
            "--in-flight", max(1, min(in_flight, per_client)), "--keys", settings.keys, "--value-bytes", value_bytes,
            "--duration-s", settings.seconds, "--warm-up-s", settings.warm_up_s, "--no-verify"]


def put(system, settings, options):
    """Figures of one load: those that all workloads share, and how much of the machine others had."""
    figures = neighbours.run_load(system, "put", options, 90 + settings.seconds + settings.warm_up_s,
                                  lambda text: say("    " + text))
    say(f"    {figures['per_s']:9,.0f}/s  p50 {figures['p50_ms']:8.2f} ms  p99 {figures['p99_ms']:8.2f} ms  "
        f"{figures['server_cpu_us']:6.1f} us of CPU each")
    return figures


class Ranges(Point):
    """The same pipelined load, cut into so many ranges; deep and full: with so many requests that each of many ranges has several,
    or as many as it can use."""

    def __init__(self, ranges, kind="ranges"):
        self.name = f"{kind}-{ranges}"
        self.ranges = ranges
        self.kind = kind

    def run(self, system, settings):
        in_flight = {"ranges": settings.in_flight, "deep": settings.deep_in_flight, "full": settings.full_in_flight}[self.kind]
        return {self.name: put(system, settings, pipelined(settings, settings.value_bytes, in_flight))}


class Values(Point):
    """The same pipelined load, with values of so many bytes."""

    def __init__(self, value_bytes):
        self.name = f"values-{value_bytes}"
        self.value_bytes = value_bytes

    def run(self, system, settings):
        figures = put(system, settings, pipelined(settings, self.value_bytes, settings.in_flight))
        figures["mib_per_s"] = figures["per_s"] * self.value_bytes / 2**20
        return {self.name: figures}


class Offered(Point):
    """Open loop: so many requests fall due each second, whatever happens to the earlier ones; latency counts from when due."""

    name = "offered"

    def run(self, system, settings):
        found = {}
        for rate in scale_report.OFFERED:
            options = ["--clients", 64, "--connections", 3, "--in-flight", 64, "--rate", rate, "--keys", settings.keys,
                       "--value-bytes", settings.value_bytes, "--duration-s", settings.seconds, "--warm-up-s", 1,
                       "--settle-s", 10, "--no-verify"]
            say(f"    {rate:,} due each second")
            found[f"offered-{rate}"] = put(system, settings, options)
            if found[f"offered-{rate}"]["per_s"] < 0.9 * rate:
                break  # beyond the knee there is nothing but a queue
        return found


class Idle(Point):
    """Processor time of a cluster that nobody uses, with ranges that go quiet or with heartbeats for ever."""

    def __init__(self, ranges, quiet):
        self.ranges = ranges
        self.node_options = () if quiet else ("--quiesce-ms", 0)
        self.name = f"idle-{ranges}-{'quiet' if quiet else 'awake'}"

    def run(self, system, settings):
        time.sleep(3)  # births, elections and the last load of the machine are no idleness
        pids = {role: process.child.pid for role, process in system.processes().items()}
        neighbours.wait_quiet(pids)
        before, began = measure.accounts(pids), time.monotonic()
        time.sleep(settings.idle_s)
        after, passed_s = measure.accounts(pids), time.monotonic() - began
        shares = {role: (after[role]["cpu_s"] - before[role]["cpu_s"]) / passed_s * 100 for role in pids}
        nodes = [share for role, share in shares.items() if role.startswith("node")]
        figures = {"all_percent": sum(shares.values()), "node_percent": sum(nodes) / len(nodes),
                   "node_mib": max(after[role]["resident_bytes"] for role in pids if role.startswith("node")) / 2**20}
        say(f"    {figures['node_percent']:.1f} % of a processor per node, {figures['all_percent']:.1f} % in all")
        return {self.name: figures}


def groups():
    return {
        **{kind: [Ranges(n, kind) for n in scale_report.RANGES] for kind in scale_report.RANGE_KINDS},
        "values": [Values(n) for n in scale_report.VALUES],
        "offered": [Offered()],
        "idle": [Idle(n, quiet) for n in scale_report.IDLE_RANGES for quiet in (True, False)],
    }


# ---- the run ------------------------------------------------------------------------------------------


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench scale", description=__doc__)
    parser.add_argument("--groups", default=",".join(groups()), help=f"default: all of {', '.join(groups())}")
    parser.add_argument("--rounds", type=int, default=3, help="default 3; a round of everything takes about five minutes")
    parser.add_argument("--seconds", type=int, help="of each measurement; default 4")
    parser.add_argument("--minutes", type=float, default=0, help="begin no further measurement after so long; the rest with --resume")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "benchmarks"),
                        help="directory for tables and charts; default docs/benchmarks")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "scale"),
                        help="directory for data (removed at the end) and finished pieces; default build/scale")
    parser.add_argument("--resume", action="store_true", help="keep the pieces that are finished, make the missing ones")
    return parser.parse_args()


def plan(names, rounds):
    """[(round, point)]: interleaved, every other round backwards, so that a drift of the machine favours no end."""
    made = groups()
    unknown = [name for name in names if name not in made]
    if unknown:
        sys.exit(f"scale: there is no group {', '.join(unknown)}; there are: {', '.join(made)}")
    points = [point for name in names for point in made[name]]
    return [(number, point) for number in range(1, rounds + 1) for point in (points if number % 2 else reversed(points))]


def run_point(point, directory, settings):
    """Leaves no process and no data."""
    system = point.cluster(directory, settings)
    try:
        return point.run(system.start(), settings)
    finally:
        system.close()


def run_all(steps, settings, pieces, data, minutes):
    """False: time ended first."""
    began = time.monotonic()
    for number, point in steps:
        if pieces.has(point.name, number, SYSTEM):
            continue
        passed_s = time.monotonic() - began
        if minutes and passed_s > minutes * 60:
            return False
        say(f"[{passed_s:4.0f} s] round {number}, {point.name}")
        pieces.put(point.name, number, SYSTEM, run_point(point, os.path.join(data, SYSTEM), settings))
    return True


def write_results(out, pieces, settings):
    os.makedirs(out, exist_ok=True)
    rounds, about, plain = pieces.rounds(), machine(), dataclasses.asdict(settings)
    summary = scale_report.summary(rounds)
    write_json(os.path.join(out, "scale.json"), {"machine": about, "settings": plain, "summary": summary, "rounds": rounds})
    drawn = scale_report.draw(rounds, out)
    with open(os.path.join(out, "scale.md"), "w", encoding="utf-8") as file:
        file.write(scale_report.text(rounds, about, plain, drawn))
    print(json.dumps({**summary, "out": os.path.relpath(out, ROOT)}))
    return summary


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: data is removed on the way out
    arguments = parse_arguments()
    settings = Settings()
    if arguments.seconds:
        settings.seconds = arguments.seconds
    steps = plan(arguments.groups.split(","), arguments.rounds)
    cluster.need_binary()
    data = os.path.join(os.path.abspath(arguments.work), f"data-{os.getpid()}")
    os.makedirs(data, exist_ok=True)
    if not systems.on_disk(data):
        sys.exit(f"scale: {data} lies in memory, where fsync costs nothing; give --work on a disk")
    pieces = Pieces(os.path.join(arguments.work, "pieces"), settings, arguments.resume)
    try:
        if not run_all(steps, settings, pieces, data, arguments.minutes):
            say("time is over; go on with --resume")
    except (measure.Failed, AssertionError) as error:
        sys.exit(f"scale: {error}")
    except KeyboardInterrupt:
        say("interrupted; what is finished is kept: go on with --resume")
        return 130
    finally:
        shutil.rmtree(data, ignore_errors=True)
    summary = write_results(os.path.abspath(arguments.out), pieces, settings)
    return 1 if summary.get("ranges", {}).get("met") is False else 0


if __name__ == "__main__":
    sys.exit(main())
