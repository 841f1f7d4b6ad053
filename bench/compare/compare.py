#!/usr/bin/python3
"""Flotilla and etcd on the same machine, alternately, under the same load. Called by ./dev bench compare."""

import argparse
import dataclasses
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("FLOTILLA_BIN", os.path.join(ROOT, "build", "release", "cmd", "flotilla"))
sys.path[:0] = [os.path.join(ROOT, "tests", "cluster"), os.path.join(ROOT, "bench", "compare")]

import background  # noqa: E402
import charts  # noqa: E402
import cluster  # noqa: E402
import measure  # noqa: E402
import postgresql  # noqa: E402
import report  # noqa: E402
import systems  # noqa: E402
import workloads  # noqa: E402

QUICK = workloads.Settings(rounds=1, seconds=2, warm_up_s=1, keys=20_000, restart_entries=50_000,
                           memory_keys=100_000, sparse=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench compare", description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="one short round of everything, under four minutes")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=int, help="of each measurement, after the warm-up; default 5")
    parser.add_argument("--workloads", help="comma-separated groups, of: "
                        + ", ".join(workloads.groups(workloads.Settings())))
    parser.add_argument("--neighbours", action="store_true",
                        help="measure everything twice: alone, and beside one nice-15 compute loop per processor; "
                        "exit code 1 when a row falls below half of its quiet ratio")
    parser.add_argument("--with", dest="others", choices=["postgresql"], action="append", default=[],
                        help="a third system, for the loads that it has")
    parser.add_argument("--ranges", type=int, help="that Flotilla begins with; default 1, its own")
    parser.add_argument("--connections", type=int, help="gRPC connections that the clients share; default 3")
    parser.add_argument("--out", help="directory for tables and charts; default docs/benchmarks, "
                        "with --quick build/compare/quick")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "compare"),
                        help="directory for data (removed at the end) and finished pieces; default build/compare")
    parser.add_argument("--resume", action="store_true",
                        help="keep the pieces that are finished, make the missing ones")
    parser.add_argument("--keep-going", action="store_true", help="after a measurement that failed")
    return parser.parse_args()


def settings_of(arguments):
    settings = dataclasses.replace(QUICK if arguments.quick else workloads.Settings())
    for name in ("rounds", "seconds", "ranges", "connections"):
        if getattr(arguments, name) is not None:
            setattr(settings, name, getattr(arguments, name))
    return settings


def chosen_groups(arguments, settings):
    groups = workloads.groups(settings)
    if not arguments.workloads:
        return list(groups.values())
    unknown = [name for name in arguments.workloads.split(",") if name not in groups]
    if unknown:
        sys.exit(f"compare: there is no workload {', '.join(unknown)}; there are: {', '.join(groups)}")
    return [groups[name] for name in arguments.workloads.split(",")]


# ---- pieces: what one system did in one round of one group --------------------------------------------


class Pieces:
    """Finished pieces on disk, so that an interrupted run can go on."""

    def __init__(self, directory, settings, resume):
        self.directory = directory
        stamp = os.path.join(directory, "settings.json")
        wanted = dataclasses.asdict(settings)
        wanted.pop("rounds", None)  # more rounds may be added
        if resume and os.path.exists(stamp):
            with open(stamp, encoding="utf-8") as file:
                if json.load(file) != wanted:
                    sys.exit(f"compare: the pieces in {directory} were made with other settings; "
                             "leave --resume out to begin anew")
            return
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        write_json(stamp, wanted)

    def _path(self, group, number, system):
        return os.path.join(self.directory, f"{group}.{number}.{system}.json")

    def has(self, group, number, system):
        return os.path.exists(self._path(group, number, system))

    def put(self, group, number, system, figures):
        write_json(self._path(group, number, system), figures)

    def rounds(self):
        """[{system: {measurement: figures}}], whatever groups are there."""
        found = {}
        for name in sorted(os.listdir(self.directory)):
            parts = name.split(".")
            if len(parts) != 4:
                continue
            with open(os.path.join(self.directory, name), encoding="utf-8") as file:
                of_round = found.setdefault(int(parts[1]), {})
                of_round.setdefault(parts[2], {}).update(json.load(file))
        return [found[number] for number in sorted(found)]


def write_json(path, value):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, default=dataclasses.asdict)
        file.write("\n")
    os.replace(path + ".new", path)


# ---- the run ------------------------------------------------------------------------------------------


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_piece(group, system_class, directory, settings):
    """Figures of one system in one round. Leaves no process and no data."""
    system = group.start(system_class, directory, settings)
    try:
        return group.run(system, settings, lambda text: say(f"    {system_class.name:10} {text}"))
    except Exception:
        say(system.tails())
        raise
    finally:
        system.close()


def plan(groups, settings, chosen_systems, neighbours):
    """(round, group, system, beside the load) in the order of the run: what is compared is measured in turns."""
    for number in range(1, settings.rounds + 1):
        for group in groups:
            for beside in (False, True) if neighbours else (False,):
                for system_class in chosen_systems:
                    if system_class.name in group.systems:
                        yield number, group, system_class, beside


def run_all(steps, settings, pieces, data, keep_going):
    failures = 0
    began = time.monotonic()
    for number, group, system_class, beside in steps:
        name = system_class.name + (background.SUFFIX if beside else "")
        if pieces.has(group.name, number, name):
            continue
        passed_s = time.monotonic() - began
        say(f"[{passed_s:5.0f} s] round {number} of {settings.rounds}, {group.name}, {name}")
        try:
            with background.load(beside):
                figures = run_piece(group, system_class, os.path.join(data, name), settings)
        except (measure.Failed, AssertionError) as error:
            say(f"    failed: {error}")
            failures += 1
            if not keep_going:
                return failures
            continue
        pieces.put(group.name, number, name, figures)
    return failures


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else ""


def libraries():
    """Versions of the libraries, and who compiled them."""
    lines = output_of([os.environ["FLOTILLA_BIN"], "version"]).splitlines()[1:]
    return dict(re.match(r"(\D+) (\d.*)", line).groups() for line in lines)


def machine():
    """What the figures were made on and with."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    etcd = output_of([systems.Etcd.program, "--version"]).splitlines()
    return {
        "processor": f"{os.cpu_count()} × {model}",
        "memory": f"{memory_bytes / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "etcd": etcd[0].rpartition(" ")[2] if etcd else "?",
        **({"PostgreSQL": postgresql.version()} if postgresql.available() else {}),
        "Flotilla": output_of(["git", "describe", "--always", "--dirty"]) or "?",
        **libraries(),
        "day": time.strftime("%Y-%m-%d"),
    }


def write_results(out, pieces, settings):
    os.makedirs(out, exist_ok=True)
    rounds, about, plain = pieces.rounds(), machine(), dataclasses.asdict(settings)
    write_json(os.path.join(out, "compare.json"), {
        "machine": about, "settings": plain,
        "targets": [target.row(rounds) for target in report.targets(plain)], "rounds": rounds})
    drawn = charts.draw(rounds, out)
    with open(os.path.join(out, "compare.md"), "w", encoding="utf-8") as file:
        file.write(report.text(rounds, about, plain, drawn))
    print(report.target_table(rounds, plain))
    fallen = report.fallen_rows(rounds, plain)
    for row in fallen:
        say(f"beside the load less than half of its quiet ratio: {row}")
    print(json.dumps({**report.summary(rounds, plain), "out": os.path.relpath(out, ROOT)}))
    return fallen


def main():
    # As Ctrl-C: processes are ended and data is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = parse_arguments()
    settings = settings_of(arguments)
    groups = chosen_groups(arguments, settings)
    cluster.need_binary()
    out = arguments.out or (os.path.join(arguments.work, "quick") if arguments.quick
                            else os.path.join(ROOT, "docs", "benchmarks"))
    data = os.path.join(os.path.abspath(arguments.work), f"data-{os.getpid()}")
    os.makedirs(data, exist_ok=True)
    if not systems.on_disk(data):
        sys.exit(f"compare: {data} lies in memory, where fsync costs nothing; give --work on a disk")
    kind = "quick-pieces" if arguments.quick else "pieces"
    pieces = Pieces(os.path.join(arguments.work, kind), settings, arguments.resume)
    chosen_systems = [*systems.SYSTEMS.values(), *[postgresql.Postgresql for name in arguments.others[:1]]]
    steps = plan(groups, settings, chosen_systems, arguments.neighbours)
    try:
        failures = run_all(steps, settings, pieces, data, arguments.keep_going)
    except KeyboardInterrupt:
        say("interrupted; what is finished is kept: go on with --resume")
        return 130
    finally:
        shutil.rmtree(data, ignore_errors=True)
    fallen = write_results(os.path.abspath(out), pieces, settings)
    return 1 if failures or fallen else 0


if __name__ == "__main__":
    sys.exit(main())
