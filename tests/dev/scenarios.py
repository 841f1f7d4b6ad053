#!/usr/bin/python3
"""Holds docs/testing-raft.md against the sources: each test that its tables name must exist, and each
name of the field's list for one group (../shared/conformance/SCENARIOS.md, if it is there, or the file
given) must be in the second. And docs/testing.md: its table of simulated clusters has the scenarios
that there are. A finding is a line `scenario: ...`; exit code 0 only without any."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "testing-raft.md"
SCENARIOS = ROOT.parent / "shared" / "conformance" / "SCENARIOS.md"
if len(sys.argv) > 1:
    SCENARIOS = pathlib.Path(sys.argv[1])

findings = []


def complain(text):
    findings.append(text)
    print(f"scenario: {text}")


def tests_by_suite():
    """{"election": {"starts_as_follower", ...}}, of suites whose name begins with raft_."""
    suites = {}
    for path in sorted((ROOT / "tests" / "raft").glob("*.c")):
        for suite, name in re.findall(r"^Test\(\s*raft_(\w+),\s*(\w+)", path.read_text(), re.MULTILINE):
            suites.setdefault(suite, set()).add(name)
    return suites


def table_rows(heading):
    """(line number, what, where) of the two-column table under a heading."""
    begun = False
    for number, line in enumerate(DOCUMENT.read_text().splitlines(), 1):
        if line.startswith("## "):
            begun = line.startswith(heading)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if begun and line.startswith("|") and len(cells) == 2 and cells[0] not in ("case", "feature", "---"):
            yield number, cells[0], cells[1]


def check_tests(number, where, suites):
    """Every suite.test, `.test` (of the suite before), suite.*, story and fuzz target must be there."""
    found, suite = 0, None
    for name, test in re.findall(r"(?<![\w.])(\w*)\.(\w+|\*)", where):
        suite = name or suite
        if suite == "group" and test == "c":
            continue  # a file
        found += 1
        if suite not in suites:
            complain(f"line {number}: there is no suite raft_{suite}")
        elif test != "*" and test not in suites[suite]:
            complain(f"line {number}: there is no test {test} in raft_{suite}")
    for story in re.findall(r"\bstory (\w+)", where):
        found += 1
        if not (ROOT / "tests" / "raft" / "traces" / f"{story}.trace").exists():
            complain(f"line {number}: there is no story {story}")
    for target in re.findall(r"\bfuzz_\w+", where):
        found += 1
        if not (ROOT / "tests" / "fuzz" / f"{target}.c").exists():
            complain(f"line {number}: there is no {target}")
    public = re.findall(r"\btrace ([\w-]+)", where)
    for trace in public:
        if SCENARIOS.exists() and not list(SCENARIOS.parent.rglob(f"{trace}*.txt")):
            complain(f"line {number}: there is no public trace {trace}")
    if not found and not public and not re.search(r"does not apply|\bthe same\b", where):
        complain(f"line {number}: no test is named")


def check_simulated():
    """`NAME` in the first column, as scenario.c has them."""
    document = (ROOT / "docs" / "testing.md").read_text()
    section = document[document.index("\n## Simulated clusters"):]
    section = section[:section.index("\n## ", 3)]
    told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    source = (ROOT / "tests" / "sim" / "scenario.c").read_text()
    source = source[source.index("scenarios[] = {"):source.index("\n};\n\nstatic const struct scenario *find")]
    real = set(re.findall(r'^    \{(?:\.name = )?"(\w+)"', source, re.MULTILINE))
    for name in sorted(told - real):
        complain(f"there is no simulated scenario {name}")
    for name in sorted(real - told):
        complain(f"the simulated scenario {name} is not in docs/testing.md")
    return len(told)


def names_of_one_group(path):
    text = path.read_text()
    section = text[text.index("## One Raft group"):]
    section = section[:section.index("\n## ", 3)]
    for area, names in re.findall(r"\*\*(\w+)\*\*:([^*]*)", section):
        for name in names.split():
            yield area, name


def main():
    suites = tests_by_suite()
    offers = list(table_rows("## What the core offers"))
    cases = list(table_rows("## The field's scenarios"))
    if len(offers) < 15 or len(cases) < 50:
        complain(f"only {len(offers)} and {len(cases)} rows were found in {DOCUMENT.name}")
    for number, _, where in offers + cases:
        check_tests(number, where, suites)
    names = list(names_of_one_group(SCENARIOS)) if SCENARIOS.exists() else []
    for area, name in names:
        # A whole area may be named at once: `log_unstable: all`.
        if not any(re.search(rf"\b({re.escape(name)}|{area}: all)\b", case) for _, case, _ in cases):
            complain(f"{area} {name} is not in the table")
    simulated = check_simulated()
    print(f"{len(offers) + len(cases) + simulated} rows, {len(names)} names, {len(findings)} findings")
    return 1 if findings else 0


sys.exit(main())
