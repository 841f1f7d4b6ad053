"""Whether a measurement had the machine to itself.

Other work on the same processors changes a figure by more than what is looked for. It shows in /proc/stat: what the processors
did in all, less what the measured processes did.
"""

import os
import time

import measure

SHARE_MAX = 0.12  # of all processors, used by others
WAIT_S_MAX = 30  # for them to end
ATTEMPTS = 3


def parse_busy_s(line):
    """Seconds that all processors have worked since the machine started, or were kept from it by its host."""
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(word) for word in line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / measure.TICKS_PER_S


class Mark:
    """A moment: the processors' work in all, and that of the measured processes."""

    def __init__(self, pids):
        self.at = time.monotonic()
        self.accounts = measure.accounts(pids)
        with open("/proc/stat", encoding="utf-8") as file:
            self.busy_s = parse_busy_s(file.readline())

    def own_s(self):
        return sum(account["cpu_s"] for account in self.accounts.values())


def others_share(began, ended, processors):
    """Share of all processors that went to others between two marks."""
    own_s = ended.own_s() - began.own_s()
    return max(0.0, ended.busy_s - began.busy_s - own_s) / ((ended.at - began.at) * processors)


def wait_quiet(pids):
    """Until a second passes without others, but not for ever."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        began = Mark(pids)
        time.sleep(1)
        if others_share(began, Mark(pids), os.cpu_count()) < SHARE_MAX:
            return


def run_load_once(system, workload, options, limit_s):
    """Figures as all workloads have them, with "others": their share of the processors; and "stages" when asked for."""
    pids = {role: process.child.pid for role, process in system.processes().items()}
    wait_quiet(pids)
    generator = measure.Generator(system, workload, options)
    pids["generator"] = generator.pid
    marks = {}

    def on_line(line):
        if line in ("measuring", "measured"):
            marks[line] = Mark(pids)

    result = generator.run(limit_s, on_line)
    began, ended = marks["measuring"], marks["measured"]
    figures = measure.figures_of(result, measure.spent(began.accounts, ended.accounts, result["acked"]))
    figures["others"] = round(others_share(began, ended, os.cpu_count()), 3)
    if "stages" in result:
        figures["stages"] = result["stages"]
    return figures


def run_load(system, workload, options, limit_s, say):
    """Tried again when others had much of the machine; of all attempts the one in which they had least."""
    attempts = []
    for _ in range(ATTEMPTS):
        attempts.append(run_load_once(system, workload, options, limit_s))
        others = attempts[-1]["others"]
        if others < SHARE_MAX:
            break
        say(f"    others had {others:.0%} of the processors")
    return min(attempts, key=lambda figures: figures["others"])
