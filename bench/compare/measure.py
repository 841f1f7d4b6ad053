"""One measurement: the load generator against a running system, and what every process spent on it."""

import json
import os
import subprocess
import threading

import cluster

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """A measurement that gave no figures, with the reason."""


def parse_stat(text):
    """(processor seconds, resident bytes) from /proc/PID/stat. The command's name may hold blanks."""
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[21]) * PAGE_BYTES


def parse_written(text):
    """Bytes that went to the disk, from /proc/PID/io."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "write_bytes":
            return int(value)
    return 0


def account(pid):
    """What a process has used so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        cpu_s, resident_bytes = parse_stat(file.read())
    try:
        with open(f"/proc/{pid}/io", encoding="utf-8") as file:
            written_bytes = parse_written(file.read())
    except OSError:  # of a process that has ended and was not waited for yet
        written_bytes = 0
    return {"cpu_s": cpu_s, "resident_bytes": resident_bytes, "written_bytes": written_bytes}


def accounts(pids):
    return {role: account(pid) for role, pid in pids.items()}


def spent(before, after, operations):
    """Per process: processor seconds and bytes of the measured time, in all and per operation."""
    result = {}
    for role, end in after.items():
        cpu_s = end["cpu_s"] - before[role]["cpu_s"]
        written_bytes = end["written_bytes"] - before[role]["written_bytes"]
        result[role] = {
            "cpu_s": round(cpu_s, 2),
            "cpu_s_per_1000": cpu_s / operations * 1000 if operations else None,
            "written_bytes_per_operation": written_bytes / operations if operations else None,
            "resident_bytes": end["resident_bytes"],
        }
    return result


def server_sum(processes, what):
    """Over all processes but the generator; None if one of them is not known."""
    values = [figures[what] for role, figures in processes.items() if role != "generator"]
    return None if None in values else sum(values)


def figures_of(result, processes):
    """The generator's last line and the accounts, in the names that all workloads share."""
    rate = next(value for name, value in result.items() if name.endswith("_per_s"))
    return {
        "per_s": rate,
        "p50_ms": result["p50_ms"],
        "p99_ms": result["p99_ms"],
        "longest_gap_ms": result["longest_gap_ms"],
        "done": result["acked"],
        "conflicts": result["conflicts"],
        "retries": result["retries"],
        "server_cpu_us": _scaled(server_sum(processes, "cpu_s_per_1000"), 1000),
        "generator_cpu_us": _scaled(processes["generator"]["cpu_s_per_1000"], 1000),
        "written_bytes": server_sum(processes, "written_bytes_per_operation"),
        "processes": processes,
    }


def _scaled(value, factor):
    return None if value is None else value * factor


class Generator:
    """`flotilla bench` as a child: its lines on standard error as they come, its result at the end."""

    def __init__(self, system, workload, options, where=None):
        """`where`: the system's own options, if it cannot be asked for them now."""
        command = [cluster.BIN, "bench", workload, *(where or system.options()), "--progress=false",
                   "--log-level", "error", *(str(o) for o in options)]
        self.command = command
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=cluster.environment(), preexec_fn=cluster._die_with_parent)

    @property
    def pid(self):
        return self.child.pid

    def run(self, limit_s, on_line=lambda line: None):
        """The final figures. Ends the child when it takes longer than the limit."""
        guard = threading.Timer(limit_s, self.child.kill)
        guard.start()
        said = []
        try:
            for line in self.child.stderr:
                said.append(line.rstrip())
                on_line(said[-1])
            out = self.child.stdout.read()
            code = self.child.wait()
        finally:
            guard.cancel()
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            self.child.stderr.close()
            self.child.stdout.close()
        if code != 0:
            raise Failed(f"{' '.join(self.command)} ended with {code}:\n" + "\n".join(said[-10:]))
        return json.loads(out.strip().splitlines()[-1])


def run_load(system, workload, options, limit_s):
    """A load from warm-up to figures."""
    generator = Generator(system, workload, options)
    pids = {role: process.child.pid for role, process in system.processes().items()}
    pids["generator"] = generator.pid
    taken, missing = {}, []

    def on_line(line):
        if line in ("measuring", "measured"):
            taken[line] = accounts(pids)
        if "that nobody had written" in line:
            missing.append(line)

    result = generator.run(limit_s, on_line)
    if missing and "--no-preload" in options:
        raise Failed(f"{system.name} lost keys: {missing[0]}")
    return figures_of(result, spent(taken["measuring"], taken["measured"], result["acked"]))
