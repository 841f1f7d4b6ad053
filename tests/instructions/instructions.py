#!/usr/bin/python3
"""Counts the instructions of hot paths under callgrind and compares them with bench/instructions.json.

Each path runs twice, with two fixed numbers of operations; instructions per operation are the difference, so
that start-up cancels out. ./dev bench instructions --help has the options.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = ROOT / "bench" / "instructions.json"
# The counter runs inside these only (paths.h). Stars: the linker's optimiser may have cloned a function under a longer name.
COUNTED = ("measured*", "drive_worker*")
TIMEOUT_S = 120
PROFILE_LINES = 20


class Broken(Exception):
    """Something could not be measured; the text says what."""


def parse_options(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench instructions", add_help=False)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--tolerance", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", default="")
    parser.add_argument("--binary", required=True)
    return parser.parse_args(arguments)


def list_paths(binary, names):
    output = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True).stdout
    paths = {}
    for line in output.splitlines():
        name, short, long, what = line.split("\t")
        paths[name] = (int(short), int(long), what)
    for name in names:
        if name not in paths:
            raise Broken(f"there is no path '{name}'; there are: {', '.join(paths)}")
    return {name: path for name, path in paths.items() if not names or name in names}


def count(binary, name, operations, profile="/dev/null"):
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", "--collect-atstart=no"]
    command += [f"--toggle-collect={function}" for function in COUNTED]
    run = subprocess.run(command + [binary, name, str(operations)], capture_output=True, text=True,
                         timeout=TIMEOUT_S, check=False)
    collected = re.search(r"Collected\s*:\s*(\d+)", run.stderr)
    if run.returncode != 0 or not collected:
        raise Broken(f"{name} with {operations} operations failed:\n{run.stderr[-2000:]}")
    return int(collected.group(1))


def measure(binary, paths, jobs):
    """Instructions per operation of every path."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        runs = {name: (pool.submit(count, binary, name, short), pool.submit(count, binary, name, long))
                for name, (short, long, _) in paths.items()}
        return {name: round((long.result() - short.result()) / (paths[name][1] - paths[name][0]), 1)
                for name, (short, long) in runs.items()}


def print_profile(binary, name, operations):
    """The functions that take most of a path's long run, start-up within it included."""
    with tempfile.NamedTemporaryFile(prefix="callgrind.") as file:
        total = count(binary, name, operations, file.name)
        lines = subprocess.run(["callgrind_annotate", "--inclusive=no", "--auto=no", "--threshold=95", file.name],
                               check=True, capture_output=True, text=True).stdout.splitlines()
    print(f"\n{name}: instructions per operation, by function")
    shown = 0
    for line in lines:
        found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S*):(\S+)", line)
        if not found or shown == PROFILE_LINES:
            continue
        shown += 1
        instructions = int(found.group(1).replace(",", ""))
        print(f"{instructions / operations:10,.0f} {instructions / total * 100:5.1f}%  {found.group(3)}")


def compiler():
    run = subprocess.run(["gcc", "-dumpfullversion"], check=False, capture_output=True, text=True)
    return "gcc " + run.stdout.strip()


def read_kept():
    if not KEPT.exists():
        return {"compiler": compiler(), "paths": {}}
    return json.loads(KEPT.read_text())


def change_percent(before, now):
    return None if not before else (now - before) / before * 100


def print_table(paths, figures, kept):
    print(f"{'':18}{'instructions':>13}{'before':>11}{'change':>9}   per")
    for name, now in figures.items():
        change = change_percent(kept.get(name), now)
        before = f"{kept[name]:11,.0f}{change:+8.1f}%" if change is not None else f"{'new':>11}{'':9}"
        print(f"{name:18}{now:13,.0f}{before}   {paths[name][2]}")


def main():
    options = parse_options(sys.argv[1:])
    try:
        paths = list_paths(options.binary, options.names)
        figures = measure(options.binary, paths, options.jobs)
    except (Broken, subprocess.SubprocessError, OSError) as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 2
    kept = read_kept()
    print_table(paths, figures, kept["paths"])
    if kept["compiler"] != compiler():
        print(f"kept figures are those of {kept['compiler']}, this is {compiler()}: small changes mean nothing",
              file=sys.stderr)
    grown = [name for name, now in figures.items()
             if (change_percent(kept["paths"].get(name), now) or 0) > options.tolerance]
    if options.profile:
        for name, (_, long, _) in paths.items():
            print_profile(options.binary, name, long)
    for name in grown:
        print(f"{name} grew by more than {options.tolerance:g}%", file=sys.stderr)
    if options.update:
        everything = {} if not options.names else kept["paths"]
        document = {"compiler": compiler(), "paths": {**everything, **figures}}
        KEPT.write_text(json.dumps(document, indent=2) + "\n")
    result = json.dumps({"instructions": figures, "grown": grown}, separators=(",", ":"))
    if options.json:
        pathlib.Path(options.json).write_text(result + "\n")
    print(result)
    return 1 if options.check and grown else 0


if __name__ == "__main__":
    sys.exit(main())
