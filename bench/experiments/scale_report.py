"""From the figures of `scale` to its page, charts and last line."""

from charts import Chart, draw_one, points
from report import number, spread, table, with_range

RANGES = (1, 4, 16, 64, 256, 1024)
RANGE_KINDS = ("ranges", "deep", "full")  # by how much is in flight
VALUES = (16, 64, 256, 1024, 4096, 16384, 65536)
OFFERED = (1000, 5000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000)
IDLE_RANGES = (1, 64, 1024)
SYSTEM = "flotilla"
FALL_MAX = 0.15  # of throughput, from one range to any other number


def figures_of(rounds, name):
    """What each round has of a measurement."""
    return [r[SYSTEM][name] for r in rounds if name in r.get(SYSTEM, {})]


def column(rounds, name, what):
    return spread([figures.get(what) for figures in figures_of(rounds, name)])


def relative(rounds, name, base):
    """Throughput over that of another measurement, within each round."""
    both = [(r.get(SYSTEM, {}).get(name), r.get(SYSTEM, {}).get(base)) for r in rounds]
    return spread([ours["per_s"] / theirs["per_s"] for ours, theirs in both if ours and theirs])


# ---- tables -------------------------------------------------------------------------------------------


def load_table(rounds, header, rows, further=()):
    """`rows`: [(text, measurement)]; `further`: [(title, function of the measurement's name to a Spread)]."""
    lines = []
    for text, name in rows:
        if not figures_of(rounds, name):
            continue
        lines.append([text, with_range(column(rounds, name, "per_s")), *(with_range(cell(name)) for _, cell in further),
                      *(number(column(rounds, name, what).median) for what in ("p50_ms", "p99_ms", "server_cpu_us", "written_bytes"))])
    return table([header, "puts/s", *(title for title, _ in further), "p50 ms", "p99 ms", "server CPU µs each",
                  "bytes written each"], lines) if lines else ""


def ranges_table(rounds, kind):
    return load_table(rounds, "ranges", [(f"{n:,}", f"{kind}-{n}") for n in RANGES],
                      [("of one range's", lambda name: relative(rounds, name, f"{kind}-1"))])


def values_table(rounds):
    return load_table(rounds, "bytes per value", [(f"{n:,}", f"values-{n}") for n in VALUES],
                      [("MiB/s", lambda name: column(rounds, name, "mib_per_s"))])


def offered_table(rounds):
    return load_table(rounds, "due each second", [(f"{n:,}", f"offered-{n}") for n in OFFERED])


def idle_table(rounds):
    rows = []
    for ranges in IDLE_RANGES:
        for kind, text in (("quiet", "go quiet (default)"), ("awake", "beat for ever (`--quiesce-ms 0`)")):
            name = f"idle-{ranges}-{kind}"
            if figures_of(rounds, name):
                rows.append([f"{ranges:,}", text, *(with_range(column(rounds, name, what))
                                                    for what in ("node_percent", "all_percent", "node_mib"))])
    return table(["ranges", "idle ranges", "% of a processor, per node", "% of a processor, all five processes",
                  "resident MiB of a node"], rows) if rows else ""


# ---- charts -------------------------------------------------------------------------------------------

BY_RANGES = {kind: {SYSTEM: {n: f"{kind}-{n}" for n in RANGES}} for kind in RANGE_KINDS}
BY_VALUES = {SYSTEM: {n: f"values-{n}" for n in VALUES}}
BY_OFFERED = {n: f"offered-{n}" for n in OFFERED}

CHARTS = (
    Chart("scale-ranges.svg", "Puts of 256 bytes, pipelined", "puts/s", BY_RANGES["ranges"], "per_s", across="ranges"),
    Chart("scale-deep.svg", "Puts of 256 bytes, pipelined deeply", "puts/s", BY_RANGES["deep"], "per_s", across="ranges"),
    Chart("scale-full.svg", "Puts of 256 bytes, as many as the ranges can use", "puts/s", BY_RANGES["full"], "per_s", across="ranges"),
    Chart("scale-values.svg", "Puts, pipelined", "puts/s", BY_VALUES, "per_s", True, across="bytes per value"),
    Chart("scale-values-bytes.svg", "Puts, pipelined", "MiB/s of values", BY_VALUES, "mib_per_s", True, across="bytes per value"),
)
OFFERED_CHART = Chart("scale-offered.svg", "Puts of 256 bytes, open loop, latency from when due", "ms", {}, "", True,
                      across="puts due each second")


def draw(rounds, out):
    """[(file, title)] of what there are figures for."""
    done = []
    for chart in CHARTS:
        series = {system: points(rounds, system, names, chart.what) for system, names in chart.measurements.items()}
        if all(len(values) > 1 for values in series.values()):
            done.append(draw_one(chart, series, out))
    series = {what: points(rounds, SYSTEM, BY_OFFERED, f"{what}_ms") for what in ("p50", "p99")}
    if len(series["p50"]) > 1:
        done.append(draw_one(OFFERED_CHART, series, out))
    return done


# ---- text ---------------------------------------------------------------------------------------------


def knee(rounds):
    """The highest offered load that was met within 2% with a 99th percentile under 50 ms; None without figures."""
    met = [n for n, name in BY_OFFERED.items() if figures_of(rounds, name)
           and column(rounds, name, "per_s").median >= 0.98 * n and column(rounds, name, "p99_ms").median < 50]
    return max(met, default=None)


def summary(rounds):
    """The last line."""
    found = {"rounds": len(rounds)}
    for kind in RANGE_KINDS:
        falls = {n: relative(rounds, f"{kind}-{n}", f"{kind}-1") for n in RANGES}
        falls = {n: round(ratio.median, 3) for n, ratio in falls.items() if ratio}
        if len(falls) > 1:
            found[kind] = {"of_one_range": falls, "at_least": 1 - FALL_MAX, "met": min(falls.values()) >= 1 - FALL_MAX}
    for what, name in (("values", "values-{}"), ("offered", "offered-{}")):
        sizes = {n: column(rounds, name.format(n), "per_s") for n in (VALUES if what == "values" else OFFERED)}
        sizes = {n: round(rate.median) for n, rate in sizes.items() if rate}
        if sizes:
            found[what] = {"per_s": sizes}
    if "offered" in found:
        found["offered"]["knee_per_s"] = knee(rounds)
    idle = {f"{n}-{kind}": column(rounds, f"idle-{n}-{kind}", "node_percent") for n in IDLE_RANGES for kind in ("quiet", "awake")}
    idle = {name: round(share.median, 2) for name, share in idle.items() if share}
    if idle:
        found["idle_node_percent"] = idle
    return found


def text(rounds, machine, settings, drawn):
    """The whole page."""
    shown = {"rounds": len(rounds), "seconds per measurement": settings["seconds"], "keys": settings["keys"]}
    pictures = dict(drawn)
    limit = f"requests in flight each, and never more than {settings['outstanding_bytes'] >> 20} MiB of values at a time"
    load = f"{settings['clients']} clients with {settings['in_flight']} {limit}"
    deep = f"{settings['clients']} clients with {settings['deep_in_flight']} {limit}"
    full = f"{settings['clients']} clients with {settings['full_in_flight']} {limit}"
    parts = [
        "# How Flotilla scales",
        "Written by `./dev bench scale`; do not edit. Placement, three nodes, router and load generator on one machine; medians over the "
        "rounds (lowest to highest), ratios made within each round; a fresh cluster for each row, the rows in turns.",
        table(["", ""], [[key, str(value)] for key, value in {**machine, **shown}.items() if key != "etcd"]),
    ]
    sections = (("Number of ranges", f"Uniform keys; {load}.", lambda rounds: ranges_table(rounds, "ranges"), ("scale-ranges.svg",)),
                ("Number of ranges, more in flight", f"The same with {deep}: each of many ranges has several requests at a time.",
                 lambda rounds: ranges_table(rounds, "deep"), ("scale-deep.svg",)),
                ("Number of ranges, as much in flight as they can use", f"The same with {full}: 32 for each of 1,024 ranges.",
                 lambda rounds: ranges_table(rounds, "full"), ("scale-full.svg",)),
                ("Size of values", f"One range; {load}.", values_table, ("scale-values.svg", "scale-values-bytes.svg")),
                ("Offered load", "One range, 64 clients on three connections, open loop: what falls due is sent, and latency counts from when it was due.",
                 offered_table, ("scale-offered.svg",)),
                ("Idle", "Nobody uses the cluster.", idle_table, ()))
    for title, about, make, charts in sections:
        made = make(rounds)
        if made:
            parts += [f"## {title}", about, made, *[f"![{pictures[name]}]({name})" for name in charts if name in pictures]]
    return "\n\n".join(parts) + "\n"
