#!/usr/bin/python3
"""How the election time-out is chosen: how long nobody answers after a leader was killed on a quiet machine, against how
often leaders change for nothing while other programs keep the processors busy. Called by ./dev bench elections."""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("FLOTILLA_BIN", os.path.join(ROOT, "build", "release", "cmd", "flotilla"))
sys.path[:0] = [os.path.join(ROOT, "tests", "cluster"), os.path.join(ROOT, "bench", "compare")]

import background  # noqa: E402
import cluster  # noqa: E402
import measure  # noqa: E402
import systems  # noqa: E402
import workloads  # noqa: E402

HEARTBEATS_PER_TIMEOUT = 3  # as the defaults have it


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench elections", description=__doc__)
    parser.add_argument("--timeouts-ms", default="150,300,500,1000", help="time-outs to compare; default 150,300,500,1000")
    parser.add_argument("--rounds", type=int, default=3, help="of every time-out, in turns; default 3")
    parser.add_argument("--seconds", type=int, default=15, help="of each run beside the load; default 15")
    parser.add_argument("--loops", type=int, default=2, help="busy loops per processor, at the usual priority; default 2")
    parser.add_argument("--ranges", type=int, default=16, help="default 16")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "elections"),
                        help="directory for data, removed at the end; default build/elections")
    return parser.parse_args()


def start(directory, timeout_ms, ranges):
    shutil.rmtree(directory, ignore_errors=True)
    options = ["--election-timeout-ms", timeout_ms, "--heartbeat-ms", max(timeout_ms // HEARTBEATS_PER_TIMEOUT, 20)]
    system = systems.Flotilla(directory, systems.cuts("put", ranges, keys=100_000), options)
    return system.start()


def gap_ms(directory, timeout_ms):
    """The longest gap between acknowledgements when the leader of the only range is killed."""
    system = start(directory, timeout_ms, 1)
    try:
        return workloads.failover(system, dataclasses.replace(workloads.Settings(), seconds=4), say)["gap_ms"]
    finally:
        system.close()


def leaders_won(system):
    return sum(node.log().count(" range_leader ") for node in system.members)


def elections_per_minute(directory, timeout_ms, arguments):
    """Leaders won under puts of 16 clients while busy loops compete for every processor."""
    system = start(directory, timeout_ms, arguments.ranges)
    try:
        load = workloads.Load("busy", "put", ["--keys", 100_000, "--value-bytes", 256, "--duration-s", arguments.seconds,
                                              "--warm-up-s", 1, "--no-verify"], clients=16, everywhere=True)
        before = leaders_won(system)
        with background.load(loops=arguments.loops * os.cpu_count(), nice=0):
            generator = measure.Generator(system, load.workload, load.arguments("flotilla", workloads.Settings()))
            figures = generator.run(60 + arguments.seconds)
        return (leaders_won(system) - before) * 60 / arguments.seconds, figures["puts_per_s"]
    finally:
        system.close()


def measure_all(arguments, timeouts_ms):
    rows = {timeout_ms: {"gap_ms": [], "elections_per_minute": [], "puts_per_s": []} for timeout_ms in timeouts_ms}
    directory = os.path.join(os.path.abspath(arguments.work), f"data-{os.getpid()}")
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    for number in range(arguments.rounds):
        for timeout_ms in timeouts_ms if number % 2 == 0 else reversed(timeouts_ms):
            row = rows[timeout_ms]
            row["gap_ms"].append(gap_ms(directory, timeout_ms))
            elections, rate = elections_per_minute(directory, timeout_ms, arguments)
            row["elections_per_minute"].append(elections)
            row["puts_per_s"].append(rate)
            say(f"round {number + 1} of {arguments.rounds}, {timeout_ms} ms: gap {row['gap_ms'][-1]} ms; beside the load "
                f"{elections:.0f} elections per minute, {rate:,.0f} puts/s")
    return rows


def table(rows):
    lines = ["| time-out, ms | gap after a kill, ms (median; all) | elections per minute beside the load (median; all) | puts/s there |",
             "|---:|---:|---:|---:|"]
    for timeout_ms, row in rows.items():
        gaps, elections = row["gap_ms"], row["elections_per_minute"]
        lines.append(f"| {timeout_ms} | {statistics.median(gaps):.0f}; {', '.join(f'{gap:.0f}' for gap in gaps)} "
                     f"| {statistics.median(elections):.0f}; {', '.join(f'{one:.0f}' for one in elections)} "
                     f"| {statistics.median(row['puts_per_s']):,.0f} |")
    return "\n".join(lines)


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = parse_arguments()
    cluster.need_binary()
    timeouts_ms = [int(word) for word in arguments.timeouts_ms.split(",")]
    try:
        rows = measure_all(arguments, timeouts_ms)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except (measure.Failed, AssertionError) as error:
        sys.exit(f"elections: {error}")
    print(table(rows))
    print(json.dumps({"loops_per_processor": arguments.loops, "ranges": arguments.ranges, "rows": [
        {"timeout_ms": timeout_ms, **{name: statistics.median(values) for name, values in row.items()}}
        for timeout_ms, row in rows.items()]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
