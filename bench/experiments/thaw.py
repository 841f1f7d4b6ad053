#!/usr/bin/python3
"""One of three nodes stands still for some seconds under load and goes on: what the others still do while it catches up.
Called by ./dev bench thaw."""

import argparse
import json
import os
import re
import signal
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("FLOTILLA_BIN", os.path.join(ROOT, "build", "release", "cmd", "flotilla"))
sys.path[:0] = [os.path.join(ROOT, "tests", "cluster"), os.path.join(ROOT, "bench", "compare")]

import cluster  # noqa: E402
import measure  # noqa: E402
import systems  # noqa: E402

SHARE_MIN = 0.3  # of the puts before, in the worst second
BEFORE_S = 4
AFTER_S = 10

PROGRESS = re.compile(r"^\s*(\d+) s\s+(\d+) puts/s")


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench thaw", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--still-s", type=int, default=5, help="how long the follower stands still; default 5")
    parser.add_argument("--value-bytes", type=int, default=4096, help="default 4096")
    parser.add_argument("--in-flight", type=int, default=64, help="puts in flight; default 64")
    parser.add_argument("--json", help="file to write the last line to as well")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "thaw"),
                        help="directory for data, removed at the end; default build/thaw")
    return parser.parse_args()


def rates_of(lines):
    """Puts per second, by the second of the run."""
    rates = {}
    for line in lines:
        match = PROGRESS.match(line)
        if match:
            rates[int(match.group(1))] = int(match.group(2))
    return rates


def shares(rates, still_s):
    """What was left of the puts before: while it stood still, and in the median and the worst second after."""
    before = statistics.median(rates[s] for s in range(2, BEFORE_S) if s in rates)
    still = [rates[s] for s in range(BEFORE_S + 2, BEFORE_S + still_s) if s in rates]
    after = [rates[s] for s in range(BEFORE_S + still_s + 1, BEFORE_S + still_s + AFTER_S) if s in rates]
    if not (before and still and after):
        raise measure.Failed(f"no figures of some phase: {rates}")
    return {"before": before, "still": round(statistics.median(still) / before, 3),
            "after": round(statistics.median(after) / before, 3), "worst": round(min(after) / before, 3)}


def behind(system, node_id):
    status = system.cluster.status()
    return next(n["behind_entries"] for n in status["nodes"] if n["id"] == node_id) if status else None


def run_round(system, arguments):
    leader = system.leader()
    follower = next(node for node in system.members if node is not leader)
    node_id = system.cluster.node_id(system.members.index(follower))
    seconds = BEFORE_S + arguments.still_s + AFTER_S
    load = system.cluster.bench("put", *system.options(), "--clients", 4, "--in-flight", max(1, arguments.in_flight // 4),
                                "--value-bytes", arguments.value_bytes, "--duration-s", seconds, "--no-verify", name="load")
    began = time.monotonic()
    try:
        time.sleep(BEFORE_S)
        follower.pause()
        time.sleep(arguments.still_s)
        follower.resume()
        thawed = time.monotonic()
        caught_up_s = None
        while time.monotonic() < began + seconds:
            time.sleep(0.2)
            if caught_up_s is None and (behind(system, node_id) or 1000) < 200:
                caught_up_s = round(time.monotonic() - thawed, 1)
        load.wait(60)
    finally:
        follower.resume()
        if load.running():
            load.kill()
    rates = rates_of(load.log().splitlines())
    os.unlink(load.log_path)
    figures = shares(rates, arguments.still_s)
    figures["caught_up_s"] = caught_up_s
    return figures


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = parse_arguments()
    cluster.need_binary()
    data = os.path.join(os.path.abspath(arguments.work), f"data-{os.getpid()}")
    os.makedirs(os.path.dirname(data), exist_ok=True)
    system = systems.Flotilla(data)
    rounds = []
    try:
        system.start()
        for number in range(arguments.rounds):
            rounds.append(run_round(system, arguments))
            say(f"round {number + 1}: {rounds[-1]}")
    except (measure.Failed, AssertionError) as error:
        say(system.tails())
        sys.exit(f"thaw: {error}")
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        system.close()
    worst = statistics.median(figures["worst"] for figures in rounds)
    print(f"{'puts/s before':>14} {'still':>7} {'after':>7} {'worst second':>13} {'caught up':>10}")
    for figures in rounds:
        caught_up = "not" if figures["caught_up_s"] is None else f"{figures['caught_up_s']} s"
        print(f"{figures['before']:14,} {figures['still']:7.2f} {figures['after']:7.2f} {figures['worst']:13.2f} {caught_up:>10}")
    line = json.dumps({"rounds": rounds, "worst": worst, "worst_min": SHARE_MIN, "met": worst >= SHARE_MIN})
    print(line)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    return 0 if worst >= SHARE_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
