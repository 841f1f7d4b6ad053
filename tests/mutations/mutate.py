#!/usr/bin/python3
"""Puts one plausible bug at a time into a copy of the tree and demands that a check sees it.

`./dev mutate` is the front end; README.md says what a patch looks like. The working tree is only
read. Under build/mutate there is one clean copy, `clean`, that is brought up to date and built
incrementally, and a throw-away clone of it, build and all, for each job. A job applies a patch to
its clone, builds the programs that the patch names, runs them until one fails, and puts the files
back. A seed that fails is run again in the clean copy: a bug is caught only by what passes there.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATCHES = ROOT / "tests" / "mutations"
WORK = ROOT / "build" / "mutate"
PRODUCTION = ("raft/", "range/", "txn/", "placement/", "storage/", "base/", "rpc/", "cmd/", "bench/")

# Warnings are not errors here: what a bug leaves unused is no reason to refuse it.
MESON_OPTIONS = ["--buildtype=debugoptimized", "-Doptimization=1", "-Ddebug=false",
                 "-Dwerror=false"]
RAFT_PER_SIM_SEED = 100  # a seed of one group is that much cheaper than one of a cluster
BATCH_MAX = 64          # seeds per process; it starts with one and doubles
SECONDS_PER_BATCH, SECONDS_PER_SEED = 120, 20  # beyond that a run hangs, which counts as seen
SIM_SECONDS = 10        # virtual, under faults, per seed


class Failure(Exception):
    """The patch, the build or the machine is at fault: neither caught nor survived."""


@dataclasses.dataclass
class Patch:
    name: str
    path: pathlib.Path
    sentence: str
    checks: list
    files: list

    def called(self):
        """By its name, its number, or what is behind that."""
        number, _, what = self.name.partition("-")
        return self.name, number, what


@dataclasses.dataclass
class Verdict:
    name: str
    outcome: str  # caught, SURVIVED, ERROR
    by: str = ""
    seed: int = 0   # the first that failed; 0: not a matter of seeds
    runs: int = 0   # seeds, or programs, that ran until then
    reason: str = ""
    wall_s: float = 0


# ---- patches ------------------------------------------------------------------------------------


def read_patch(path):
    head, _, diff = path.read_text().partition("\n--- a/")
    lines = [line for line in head.splitlines() if line.strip()]
    checks = [line[len("Checks:"):].split() for line in lines if line.startswith("Checks:")]
    sentence = " ".join(line for line in lines if not line.startswith("Checks:"))
    files = re.findall(r"^\+\+\+ b/(\S+)", diff, re.MULTILINE)
    if not re.fullmatch(r"\d{2,3}-[a-z0-9-]+\.patch", path.name):
        raise Failure(f"{path.name}: a patch is named NN-what-it-does.patch")
    if len(checks) != 1 or not checks[0] or not sentence.endswith(".") or "breaks" not in sentence:
        raise Failure(f"{path.name}: needs a sentence that says which rule the bug breaks, and one "
                      "line 'Checks: ...'")
    for check in checks[0]:
        program_of(check)
    if not files or not all(file.startswith(PRODUCTION) for file in files):
        raise Failure(f"{path.name}: must change production code: {' '.join(PRODUCTION)}")
    return Patch(path.stem, path, sentence, checks[0], files)


def apply(patch, tree, check_only=False):
    command = ["git", "apply", "-p1"] + (["--check"] if check_only else []) + [str(patch.path)]
    # The copies are no repositories of their own, and must not be taken for part of this one.
    environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(pathlib.Path(tree).parent))
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise Failure(f"{patch.path.name} does not apply: {done.stderr.strip()}")


def verify():
    """What ./dev lint asks: a line per patch that is badly made or no longer applies."""
    bad = 0
    for path in sorted(PATCHES.glob("*.patch")):
        try:
            apply(read_patch(path), ROOT, check_only=True)
        except Failure as failure:
            bad += 1
            print(f"mutation: {failure}")
    return 1 if bad else 0


def choose(names):
    patches = [read_patch(path) for path in PATCHES.glob("*.patch")]
    patches.sort(key=lambda patch: int(patch.called()[1]))
    if not names:
        return patches
    chosen = [patch for patch in patches
              if any(name in patch.called() for name in names)]
    known = {part for patch in chosen for part in patch.called()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Failure(f"no such mutation: {' '.join(unknown)}; see ./dev mutate --list")
    return chosen


# ---- copies and builds --------------------------------------------------------------------------


def run(command, cwd, what):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Failure(f"{what} failed:\n{tail}")


def update_clean_copy():
    """Only what differs is written, so that ninja rebuilds no more than that."""
    tree = WORK / "clean" / "tree"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                            stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for old in [path for path in tree.rglob("*") if path.is_file()]:
        if str(old.relative_to(tree)) not in wanted:
            old.unlink()
    for name in wanted:
        source, target = ROOT / name, tree / name
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return tree


def program_of(check):
    """raft: one group; sim, sim:SCENARIO: clusters; test_FOLDER, test_FOLDER_PART, with :SUITE: unit tests."""
    if check == "raft":
        return "tests/raft/raft_simulate"
    if re.fullmatch(r"sim(:[a-z]+)?", check):
        return "tests/sim/flotilla_sim"
    unit = re.fullmatch(r"test_([a-z]+)(_[a-z]+)?(:[a-z_]+)?", check)
    if unit:
        return f"tests/{unit.group(1)}/test_{unit.group(1)}{unit.group(2) or ''}"
    raise Failure(f"unknown check '{check}': there are raft, sim, sim:SCENARIO, test_FOLDER, "
                  "test_FOLDER:SUITE")


def build(copy, checks):
    programs = sorted({program_of(check) for check in checks})
    run(["ninja", "-j1", "-C", str(copy / "build"), *programs], ROOT, "the build")


def make_clean_copy(checks):
    update_clean_copy()
    copy = WORK / "clean"
    if not (copy / "build" / "build.ninja").is_file():
        run(["meson", "setup", str(copy / "build"), str(copy / "tree"), *MESON_OPTIONS], ROOT,
            "configuring")
    build(copy, checks)
    return copy


def clone(clean, number):
    """The paths inside a build are relative: a clone of it knows what is up to date."""
    copy = WORK / f"job-{number}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(clean, copy, symlinks=True)  # keeps the times
    return copy


# ---- running checks -----------------------------------------------------------------------------


running = set()  # groups of processes, to be ended with this one


def command_of(check, copy, first, count):
    program = str(copy / "build" / program_of(check))
    if check == "raft":
        return [program, str(first), str(count)]
    if check.startswith("test_"):
        suite = check.partition(":")[2] or "*"
        return [program, "-j1", f"--filter={suite}/*"]
    scenario = check.partition(":")[2] or "mixed"
    return [program, "--scenario", scenario, "--from", str(first), "--seeds", str(count),
            "--seconds", str(SIM_SECONDS), "--jobs", "1"]


def limit_child():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)


def reason_in(output):
    """The line that says what was noticed: an assertion says more than its consequence."""
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    for pattern in (r"(assert_failed .*)", r"(fatal .*)", r"broken rule: (.*\n.*)",
                    r"^(seed \d+ at .*)", r"\[FAIL\]\S* (.*)", r"(CRASH!.*)"):
        found = re.search(pattern, output, re.MULTILINE)
        if found:
            return " ".join(found.group(1).split())[:160]
    return "ended badly"


def passes(check, copy, first, count):
    """Returns whether the program passed, and what it had to say."""
    limit_s = SECONDS_PER_BATCH + SECONDS_PER_SEED * count
    # A group of its own: the simulator and the unit tests fork, and all of it has to end.
    child = subprocess.Popen(command_of(check, copy, first, count), cwd=copy / "tree",
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", preexec_fn=limit_child, start_new_session=True)
    running.add(child.pid)
    try:
        output, _ = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return False, f"assert_failed no end within {limit_s} s"
    finally:
        running.discard(child.pid)
    return child.returncode == 0, output


def first_failure(check, copy, seeds):
    """Returns the first seed that fails, how many ran, and the reason; 0 when none does."""
    first, count = 1, 1
    while first <= seeds:
        count = min(count, seeds + 1 - first)
        good, output = passes(check, copy, first, count)
        if not good and count == 1:
            return first, first, reason_in(output)
        if not good:
            for seed in range(first, first + count):
                good, output = passes(check, copy, seed, 1)
                if not good:
                    return seed, seed, reason_in(output)
            raise Failure(f"{check}: seeds {first} to {first + count - 1} fail together but not "
                          "one by one")
        first, count = first + count, min(2 * count, BATCH_MAX)
    return 0, seeds, ""


class Judge:
    """Confirms in the clean copy that it is the bug that makes a check fail."""

    def __init__(self, clean):
        self.clean = clean
        self.lock = threading.Lock()
        self.good = set()

    def confirm(self, check, seed):
        with self.lock:
            if (check, seed) in self.good:
                return
            good, output = passes(check, self.clean, max(seed, 1), 1)
            if not good:
                where = f" at seed {seed}" if seed else ""
                raise Failure(f"{check} fails{where} without the bug, too: {reason_in(output)}")
            self.good.add((check, seed))


def run_checks(patch, checks, copy, judge, seeds):
    runs = 0
    for check in checks:
        if check.startswith("test_"):
            good, output = passes(check, copy, 1, 1)
            seed, ran, reason = (0, 1, "" if good else reason_in(output))
        else:
            budget = seeds * RAFT_PER_SIM_SEED if check == "raft" else seeds
            seed, ran, reason = first_failure(check, copy, budget)
            good = seed == 0
        runs += ran
        if good:
            continue
        judge.confirm(check, seed)
        return Verdict(patch.name, "caught", check, seed, ran, reason)
    return Verdict(patch.name, "SURVIVED", " ".join(checks), 0, runs, patch.sentence)


def put_back(patch, copy, clean):
    for name in patch.files:
        shutil.copyfile(clean / "tree" / name, copy / "tree" / name)  # a new time: it is rebuilt


def mutate(patch, checks, copy, judge, seeds):
    begin = time.monotonic()
    try:
        apply(patch, copy / "tree")
        build(copy, checks)
        verdict = run_checks(patch, checks, copy, judge, seeds)
    except Failure as failure:
        verdict = Verdict(patch.name, "ERROR", reason=str(failure))
    put_back(patch, copy, judge.clean)
    verdict.wall_s = time.monotonic() - begin
    return verdict


# ---- telling ------------------------------------------------------------------------------------


def show(verdict):
    how = ""
    if verdict.outcome == "caught":
        how = f"by {verdict.by}" + (f", {verdict.runs} seeds" if verdict.seed else "")
    elif verdict.outcome == "SURVIVED":
        how = f"{verdict.by}, {verdict.runs} runs"
    print(f"{verdict.outcome:8}  {verdict.name:42}  {how}  ({verdict.wall_s:.1f} s)\n"
          f"          {verdict.reason}", flush=True)


def names_of(verdicts, outcome):
    return [verdict.name for verdict in verdicts if verdict.outcome == outcome]


def summary(verdicts, wall_s):
    caught = [verdict for verdict in verdicts if verdict.outcome == "caught"]
    by = {}
    for verdict in caught:
        by[verdict.by] = by.get(verdict.by, 0) + 1
    return json.dumps({"mutations": len(verdicts), "caught": len(caught), "by": by,
                       "survived": names_of(verdicts, "SURVIVED"),
                       "errors": names_of(verdicts, "ERROR"), "wall_s": round(wall_s, 1)})


def commit_of_tree():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                              check=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=10", "HEAD") + (" and uncommitted changes" if changed else "")


def table_row(verdict, sentence):
    if verdict.outcome == "caught":
        how = verdict.by + (f", {verdict.runs}" if verdict.seed else "")
        seen = verdict.reason.replace("../tree/", "").replace("|", "\\|")
    else:
        how, seen = f"**{verdict.outcome}**", "nothing"
    return f"| {verdict.name} | {sentence} | {how} | {seen} |"


def write_table(path, verdicts, sentences):
    caught = len(names_of(verdicts, "caught"))
    lines = ["# What saw which bug", "",
             f"{caught} of {len(verdicts)} were caught in one run of `./dev mutate --table FILE` at "
             f"commit {commit_of_tree()}.",
             "The third column says which check saw it first, and after how many seeds; the last one "
             "what was said.", "",
             "| mutation | bug | check, seeds | seen as |", "|---|---|---|---|"]
    lines += [table_row(verdict, sentences[verdict.name]) for verdict in verdicts]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


# ---- the command --------------------------------------------------------------------------------


def parse():
    parser = argparse.ArgumentParser(prog="./dev mutate", add_help=False)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--check", action="append")
    parser.add_argument("--table")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verify", action="store_true")
    arguments = parser.parse_args()
    if arguments.jobs < 1 or arguments.seeds < 1:
        parser.error("--jobs and --seeds are at least 1")
    return arguments


def run_all(arguments):
    begin = time.monotonic()
    patches = choose(arguments.names)
    checks_of = {patch.name: arguments.check or patch.checks for patch in patches}
    every_check = sorted({check for checks in checks_of.values() for check in checks})
    print("Building the clean copy", file=sys.stderr, flush=True)
    clean = make_clean_copy(every_check)
    judge = Judge(clean)
    copies = queue.Queue()
    for number in range(min(arguments.jobs, len(patches))):
        copies.put(clone(clean, number))

    def one(patch):
        copy = copies.get()
        try:
            return mutate(patch, checks_of[patch.name], copy, judge, arguments.seeds)
        finally:
            copies.put(copy)

    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(one, p) for p in patches]):
            verdicts.append(future.result())
            show(verdicts[-1])
    verdicts.sort(key=lambda verdict: verdict.name)
    if arguments.table:
        write_table(arguments.table, verdicts, {patch.name: patch.sentence for patch in patches})
    print(summary(verdicts, time.monotonic() - begin))
    return 0 if verdicts and all(v.outcome == "caught" for v in verdicts) else 1


def main():
    arguments = parse()
    try:
        if arguments.verify:
            return verify()
        if arguments.list:
            for patch in choose(arguments.names):
                print(f"{patch.name}  [{' '.join(patch.checks)}]\n    {patch.sentence}")
            return 0
        return run_all(arguments)
    except Failure as failure:
        print(f"mutate: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        for group in list(running):
            os.killpg(group, signal.SIGKILL)
        os._exit(130)  # the threads of the jobs wait for nobody


if __name__ == "__main__":
    sys.exit(main())
