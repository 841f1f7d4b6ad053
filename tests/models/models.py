#!/usr/bin/python3
"""./dev model: the models of docs/models/, every case as it is and in its broken variants.

As it is it must hold in every state that can be reached; a broken variant must be found. Progress
goes to standard error, the result is one line of JSON."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "docs/models"
BUILD = ROOT / "build/models"

MEMORY_MB = 1900  # each; two side by side stay below 4 GB
DEPTH_MAX = 1_000_000
TIMEOUT_S = 600
# One process, so there is no order of processes to reduce; every state in full, so none is missed.
PAN_OPTIONS = ["-O1", "-DSAFETY", "-DNOREDUCE", "-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_MB}"]


class Case:
    def __init__(self, model, name, shape, broken):
        self.model, self.name, self.shape, self.broken = model, name, shape, broken


def read_cases():
    cases = []
    for path in sorted(MODELS.glob("*.cases")):
        for line in path.read_text().splitlines():
            line = line.split("#")[0].strip()
            if not line:
                continue
            name, rest = line.split(":")
            shape, broken = rest.split("|")
            cases.append(Case(path.with_suffix(".pml"), name.strip(), shape.split(),
                              broken.split()))
    return cases


def run(command, directory, log, timeout_s=TIMEOUT_S):
    with open(log, "ab") as out:
        out.write((" ".join(map(str, command)) + "\n").encode())
        out.flush()
        return subprocess.run(command, cwd=directory, stdout=out, stderr=out,
                              stdin=subprocess.DEVNULL, timeout=timeout_s, check=False).returncode


def search(case, broken, directory):
    """What the search says: "holds", "found" or why it is neither; and the states it has seen."""
    log = directory / "log"
    log.unlink(missing_ok=True)
    for trail in directory.glob("*.trail"):
        trail.unlink()
    defines = [f"-D{name}" for name in case.shape + ([broken] if broken else [])]
    try:
        if run(["spin", "-a", *defines, case.model], directory, log) != 0:
            return "spin does not take the model", 0
        if run(["gcc", *PAN_OPTIONS, "-o", "pan", "pan.c"], directory, log) != 0:
            return "gcc does not take what spin made", 0
        run(["./pan", "-E", f"-m{DEPTH_MAX}", "-w22"], directory, log)
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_S} s", 0
    text = log.read_text(errors="replace")
    states = re.search(r"([\d.e+]+) states, stored", text)
    errors = re.search(r"errors: (\d+)", text)
    stored = int(float(states.group(1))) if states else 0
    if not errors or not states:
        return "the search did not end", stored
    if int(errors.group(1)) > 0:
        return ("found" if "assertion violated" in text else "an error of another kind"), stored
    if re.search(r"Search not completed|search depth too small|out of memory|interrupted", text):
        return "not all states were seen", stored
    return "holds", stored


def judge(case, broken):
    directory = BUILD / case.name / (broken or "as-it-is")
    directory.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    result, states = search(case, broken, directory)
    good = result == ("found" if broken else "holds")
    print(f"    {case.name:16} {broken or 'as it is':32} {'' if good else 'FAILED: '}{result}, "
          f"{states:,} states, {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    if not good:
        print(f"        {directory.relative_to(ROOT)}/log" +
              (f"; the way there: cd {directory.relative_to(ROOT)} && spin -t -p "
               f"{' '.join('-D' + name for name in case.shape + ([broken] if broken else []))} "
               f"{case.model}" if result == "found" else ""), file=sys.stderr, flush=True)
    return good, states


def main():
    parser = argparse.ArgumentParser(prog="./dev model", add_help=False)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    cases = read_cases()
    if options.list:
        for case in cases:
            print(f"{case.name:16} {' '.join(case.shape)}; broken: {' '.join(case.broken)}")
        return 0
    known = {case.name for case in cases}
    for name in options.names:
        if name not in known:
            print(f"model: there is no '{name}'; there are: {' '.join(sorted(known))}",
                  file=sys.stderr)
            return 1
    chosen = [case for case in cases if not options.names or case.name in options.names]
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=max(1, options.jobs)) as pool:
        held = [(case, pool.submit(judge, case, None)) for case in chosen]
        broken = [pool.submit(judge, case, name) for case in chosen for name in case.broken]
    good = sum(done.result()[0] for _, done in held)
    found = sum(done.result()[0] for done in broken)
    print(json.dumps({"cases": len(held), "held": good, "broken": len(broken), "found": found,
                      "states": sum(done.result()[1] for _, done in held),
                      "wall_s": round(time.monotonic() - started, 1)}, separators=(",", ":")))
    return 0 if good == len(held) and found == len(broken) and held else 1


if __name__ == "__main__":
    sys.exit(main())
