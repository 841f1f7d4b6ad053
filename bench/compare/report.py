"""From the figures of the rounds to medians, ratios and the tables."""

from dataclasses import dataclass
from statistics import median

import background

SYSTEM_NAMES = ("etcd", "flotilla", "postgresql")
# Beside other load a row must keep this share of its quiet ratio (where less is better: not more than its inverse).
BESIDE_SHARE_MIN = 0.5


# ---- statistics -------------------------------------------------------------------------------------


@dataclass
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values):
    """None when no round has the figure."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(median(known), min(known), max(known), len(known))


def best(values, more_is_better=True):
    """Of the known ones; None when there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if more_is_better else min(known)


def figure(one_round, system, names, what, more_is_better=True):
    """The best of a system's measurements in one round, by one figure."""
    measured = one_round.get(system, {})
    return best([measured[name].get(what) for name in names if name in measured], more_is_better)


def ratio(flotilla, etcd):
    """None when one is missing, or when there is nothing to divide by."""
    if flotilla is None or not etcd:
        return None
    return flotilla / etcd


# ---- targets ----------------------------------------------------------------------------------------


@dataclass
class Target:
    """A row of the table: a figure of both, and what their ratio must be."""

    text: str
    what: str  # the figure
    unit: str
    flotilla: tuple  # measurements, of which the best counts
    etcd: tuple
    bound: float
    at_least: bool = True  # the ratio; else at most

    def met(self, value):
        return value >= self.bound if self.at_least else value <= self.bound

    def row(self, rounds):
        """The row's figures over all rounds."""
        pairs = [(figure(r, "flotilla", self.flotilla, self.what, self.at_least),
                  figure(r, "etcd", self.etcd, self.what, self.at_least)) for r in rounds]
        ratios = spread([ratio(ours, theirs) for ours, theirs in pairs])
        return {
            "workload": self.text,
            "unit": self.unit,
            "etcd": spread([theirs for _, theirs in pairs]),
            "flotilla": spread([ours for ours, _ in pairs]),
            "ratio": ratios,
            "target": self.bound,
            "at_least": self.at_least,
            "met": None if ratios is None else self.met(ratios.median),
        }


PUTS = tuple(f"put-{n}" for n in (1, 16, 64, 256, 1000))
PUTS_PIPELINED = ("put-pipelined", "put-pipelined-4096")
HOT_PIPELINED = ("hot-one-pipelined", "hot-one-pipelined-4096")
HOT_ONE_64 = ("hot-one-64-read", "hot-one-64-known")
HOT_ONE = tuple(f"hot-one-{n}-{way}" for n in (1, 4, 16, 64) for way in ("read", "known"))
HOT_ZIPF_64 = ("hot-zipf-64-read", "hot-zipf-64-known")

def targets(settings):
    """The rows, in the words of what was really run."""
    return (
        Target("hot issuer: one issuer, 64 clients, one request per call; etcd with 64 clients", "per_s", "/s",
               ("hot-one-64",), HOT_ONE_64, 200),
        Target("hot issuer: one issuer, 64 clients, one request per call; etcd at its best", "per_s", "/s",
               ("hot-one-64",), HOT_ONE, 15),
        Target("hot issuer: one issuer, pipelined, the better of two depths; etcd with 64 clients", "per_s", "/s",
               HOT_PIPELINED, HOT_ONE_64, 600),
        Target("hot issuer: one issuer, pipelined, the better of two depths; etcd at its best", "per_s", "/s",
               HOT_PIPELINED, HOT_ONE, 40),
        Target("hot issuer: 256 issuers Zipf 0.99, 64 clients, one request per call", "per_s", "/s",
               ("hot-zipf-64",), HOT_ZIPF_64, 40),
        Target("puts, 256 clients, one request per call", "per_s", "/s", ("put-256",), ("put-256",), 2.5),
        Target("puts, pipelined, the better of two depths; etcd at its best", "per_s", "/s", PUTS_PIPELINED, PUTS, 6),
        Target("linearizable gets, 256 clients, one request per call", "per_s", "/s",
               ("get-256",), ("get-256",), 3),
        Target("median latency of a put, one client", "p50_ms", "ms", ("put-1",), ("put-1",), 0.6, False),
        Target("processor time per put over all server processes, 256 clients", "server_cpu_us", "µs",
               ("put-256",), ("put-256",), 0.3, False),
        Target(f"resident memory of the leader with {settings['memory_keys']:,} keys of 256 bytes", "leader_mib",
               "MiB", ("memory",), ("memory",), 0.5, False),
        Target("longest gap after the leader was killed, clients with a 1 s time-out", "gap_ms", "ms",
               ("failover",), ("failover",), 0.25, False),
        Target(f"ready again after SIGKILL of all with {settings['restart_entries']:,} entries", "ready_s", "s",
               ("restart",), ("restart",), 0.2, False),
    )


# ---- text -------------------------------------------------------------------------------------------


def number(value):
    """Three digits that matter, thousands set apart."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def with_range(values):
    if values is None:
        return "–"
    if values.rounds == 1:
        return number(values.median)
    return f"{number(values.median)} ({number(values.low)} to {number(values.high)})"


def table(header, rows):
    """A Markdown table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(header) + " |",
             "|---|" + "---:|" * (len(header) - 1)]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)


def verdict(met):
    return {None: "not measured", True: "met", False: "**not met**"}[met]


def target_table(rounds, settings):
    rows = []
    for target in targets(settings):
        row = target.row(rounds)
        sign = "≥" if row["at_least"] else "≤"
        unit = row["unit"]
        rows.append([f"{row['workload']} ({unit})", with_range(row["etcd"]), with_range(row["flotilla"]),
                     with_range(row["ratio"]), f"{sign} {row['target']:g} ×", verdict(row["met"])])
    return table(["workload", "etcd", "Flotilla", "ratio", "target", ""], rows)


# ---- beside other load --------------------------------------------------------------------------------


@dataclass
class Pair:
    """A row, alone and beside the load."""

    workload: str
    quiet: Spread
    beside: Spread
    share: float  # of the quiet ratio that is left; 1 and more is good, whatever the row counts
    kept: bool


def pairs(rounds, settings):
    """Rows that have both ratios."""
    found = []
    for target in targets(settings):
        quiet, beside = target.row(rounds)["ratio"], target.row(background.only_beside(rounds))["ratio"]
        if not quiet or not beside:
            continue
        share = beside.median / quiet.median if target.at_least else quiet.median / beside.median
        found.append(Pair(target.text, quiet, beside, share, share >= BESIDE_SHARE_MIN))
    return found


def fallen_rows(rounds, settings):
    return [pair.workload for pair in pairs(rounds, settings) if not pair.kept]


def beside_table(rounds, settings):
    rows = [[pair.workload, with_range(pair.quiet), with_range(pair.beside), number(pair.share),
             "kept" if pair.kept else "**fallen**"] for pair in pairs(rounds, settings)]
    return table(["workload", "ratio alone", "ratio beside the load", "share kept", ""], rows)


# ---- beside PostgreSQL --------------------------------------------------------------------------------

POSTGRESQL_ROWS = (
    ("reservations, one issuer, 1 client", "hot-one-1"), ("reservations, one issuer, 4 clients", "hot-one-4"),
    ("reservations, one issuer, 16 clients", "hot-one-16"), ("reservations, one issuer, 64 clients", "hot-one-64"),
    ("reservations, 256 issuers uniform, 64 clients", "hot-uniform-64"),
    ("reservations, 256 issuers Zipf, 64 clients", "hot-zipf-64"),
    *((f"puts, {n} clients", f"put-{n}") for n in (1, 16, 64, 256, 1000)),
    *((f"gets, {n} clients", f"get-{n}") for n in (1, 64, 256)),
)


def postgresql_table(rounds):
    """Rates and medians of both; the ratio is of rates, made within each round."""
    rows = []
    for title, name in POSTGRESQL_ROWS:
        both = [[r.get(system, {}).get(name) for r in rounds] for system in ("postgresql", "flotilla")]
        if not all(any(values) for values in both):
            continue
        rates = [spread([figures and figures["per_s"] for figures in values]) for values in both]
        waits = [spread([figures and figures["p50_ms"] for figures in values]) for values in both]
        ratios = spread([ratio(ours and ours["per_s"], theirs and theirs["per_s"]) for theirs, ours in zip(*both)])
        rows.append([title, with_range(rates[0]), with_range(rates[1]), with_range(ratios),
                     *(with_range(wait) for wait in waits)])
    return rows and table(["workload", "PostgreSQL /s", "Flotilla /s", "ratio", "PostgreSQL p50 ms", "Flotilla p50 ms"], rows)


def measurement_names(rounds):
    """In the order in which they were first made."""
    names = {}
    for one_round in rounds:
        for system in SYSTEM_NAMES:
            names.update(dict.fromkeys(one_round.get(system, {})))
    return list(names)


COLUMNS = (("per_s", "per second"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"),
           ("server_cpu_us", "server CPU µs each"), ("generator_cpu_us", "client CPU µs each"),
           ("written_bytes", "bytes written each"))


def detail_table(rounds):
    """Medians of everything that was measured."""
    rows = []
    for name in measurement_names(rounds):
        for system in SYSTEM_NAMES:
            values = [r.get(system, {}).get(name) for r in rounds]
            values = [figures for figures in values if figures]
            if not values:
                continue
            cells = [spread([figures.get(what) for figures in values]) for what, _ in COLUMNS]
            if any(cells):
                rows.append([name, system] + [number(cell.median) if cell else "–" for cell in cells])
    return table(["workload", "system"] + [title for _, title in COLUMNS], rows)


SINGLE = (("gap_ms", "longest gap, ms"), ("ready_s", "ready again, s"), ("leader_mib", "resident, leader, MiB"),
          ("follower_mib", "resident, larger follower, MiB"), ("all_mib", "resident, all processes, MiB"),
          ("disk_mib", "on disk, all members, MiB"))


def single_table(rounds):
    """Measurements that are no load: a row for each of their figures."""
    rows = []
    for name in measurement_names(rounds):
        for what, title in SINGLE:
            both = [spread([r.get(system, {}).get(name, {}).get(what) for r in rounds])
                    for system in ("etcd", "flotilla")]
            if any(both):
                rows.append([name, title] + [with_range(values) for values in both])
    return table(["measurement", "figure", "etcd", "Flotilla"], rows)


def process_table(rounds, name):
    """Processor time per operation of each process, and its memory, in one measurement."""
    rows = []
    for system in SYSTEM_NAMES:
        found = [r.get(system, {}).get(name, {}).get("processes") for r in rounds]
        found = [processes for processes in found if processes]
        for role in found[0] if found else []:
            cpu = spread([processes[role]["cpu_s_per_1000"] for processes in found])
            memory = spread([processes[role]["resident_bytes"] for processes in found])
            rows.append([system, role, number(cpu.median) if cpu else "–",
                         number(memory.median / 2**20)])
    return table(["system", "process", "CPU s per 1000 operations", "resident MiB"], rows)


def beside_parts(rounds, settings):
    """Nothing unless it was measured."""
    if not pairs(rounds, settings):
        return []
    return ["## Beside other load",
            f"The same beside one nice-{background.NICE} compute loop per processor, for both systems, in turns with the "
            f"quiet runs. A row keeps at least {BESIDE_SHARE_MIN:g} of its quiet ratio.",
            beside_table(rounds, settings),
            "### Every load, beside it", detail_table(background.only_beside(rounds))]


def postgresql_parts(rounds):
    quiet = postgresql_table(rounds)
    if not quiet:
        return []
    parts = ["## Beside PostgreSQL",
             "A primary and two standbys, `synchronous_standby_names = 'ANY 1 (s2, s3)'`, loaded by pgbench with two threads. "
             "A reservation is one call of a function that adds within the limit and inserts the row; a put is an upsert.",
             quiet]
    busy = postgresql_table(background.only_beside(rounds))
    return [*parts, "Beside the load:", busy] if busy else parts


def text(rounds, machine, settings, charts=()):
    """The whole page."""
    shown = {"rounds": len(rounds), "seconds per measurement": settings["seconds"],
             "gRPC connections": settings["connections"], "Flotilla's ranges": settings["ranges"],
             "keys": settings["keys"]}
    parts = [
        "# Flotilla and etcd, side by side",
        "Written by `./dev bench compare`; do not edit. Medians over the rounds (lowest to highest), ratios made within each "
        "round; a ratio is Flotilla's figure over etcd's.",
        table(["", ""], [[key, str(value)] for key, value in {**machine, **shown}.items()]),
        "## Targets",
        "\"At its best\": the best of any number of clients and of both ways to reserve on etcd.",
        target_table(rounds, settings),
        *[f"![{title}]({name})" for name, title in charts],
        *beside_parts(rounds, settings),
        *postgresql_parts(rounds),
        "## Every load", detail_table(rounds),
        "## Fail-over, restart, memory", single_table(rounds),
    ]
    if any("put-256" in r.get(system, {}) for r in rounds for system in SYSTEM_NAMES):
        parts += ["## Each process, puts of 256 clients", process_table(rounds, "put-256")]
    return "\n\n".join(parts) + "\n"


def summary(rounds, settings):
    """The last line: one row per target."""
    rows = {}
    for target in targets(settings):
        row = target.row(rounds)
        if row["ratio"]:
            rows[row["workload"]] = {"ratio": round(row["ratio"].median, 3), "target": row["target"],
                                     "met": row["met"]}
    beside = pairs(rounds, settings)
    if beside:
        rows_beside = {pair.workload: {"ratio": round(pair.beside.median, 3), "share": round(pair.share, 3)} for pair in beside}
        rows = {name: {**row, "beside": rows_beside.get(name)} for name, row in rows.items()}
    return {"targets_met": sum(row["met"] for row in rows.values()), "targets_measured": len(rows),
            "targets": len(targets(settings)), "fallen_beside": fallen_rows(rounds, settings),
            "rows": rows}
