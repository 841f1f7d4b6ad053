"""Charts as SVG, drawn by gnuplot from the medians of the rounds."""

import os
import subprocess
from dataclasses import dataclass

from report import SYSTEM_NAMES, spread

COLORS = {"etcd": "#7f7f7f", "flotilla": "#1f77b4"}
OTHER_COLORS = ("#1f77b4", "#d95f02", "#7570b3")


@dataclass
class Chart:
    """Figures against the number of clients (or what `across` says), a line for each system."""

    name: str
    title: str
    axis: str
    measurements: dict  # {system: {clients: measurement}}
    what: str
    logarithmic: bool = False
    across: str = "clients"


def over_clients(pattern, clients):
    return {n: pattern.format(n) for n in clients}


CLIENTS = (1, 4, 16, 64, 256, 1000)
BOTH_PUTS = {system: over_clients("put-{}", CLIENTS) for system in SYSTEM_NAMES}
BOTH_GETS = {system: over_clients("get-{}", CLIENTS) for system in SYSTEM_NAMES}
HOT = {"etcd": over_clients("hot-one-{}-known", CLIENTS), "flotilla": over_clients("hot-one-{}", CLIENTS)}

CHARTS = (
    Chart("put-throughput.svg", "Puts of 256 bytes, one request per call", "puts/s", BOTH_PUTS, "per_s"),
    Chart("put-latency.svg", "Median latency of a put, one request per call", "ms", BOTH_PUTS, "p50_ms", True),
    Chart("put-latency-p99.svg", "99th percentile of a put, one request per call", "ms", BOTH_PUTS, "p99_ms", True),
    Chart("put-processor.svg", "Processor time of all servers per put", "µs", BOTH_PUTS, "server_cpu_us", True),
    Chart("get-throughput.svg", "Linearizable gets, one request per call", "gets/s", BOTH_GETS, "per_s"),
    Chart("hot-issuer-throughput.svg", "Reservations on one issuer, one request per call", "reservations/s", HOT,
          "per_s", True),
)


def points(rounds, system, measurements, what):
    """[(clients, median, lowest, highest)] of what was measured."""
    found = []
    for clients, name in measurements.items():
        values = spread([r.get(system, {}).get(name, {}).get(what) for r in rounds])
        if values:
            found.append((clients, values.median, values.low, values.high))
    return found


def script(chart, series, path):
    """What gnuplot is told. `series`: {system: points}."""
    lines = [
        "set terminal svg size 640,400 font 'sans-serif,12' background '#ffffff'",
        f"set output '{path}'",
        f"set title '{chart.title}'",
        f"set xlabel '{chart.across}'", f"set ylabel '{chart.axis}'", "set logscale x 4",
        "set logscale y" if chart.logarithmic else "set yrange [0:*]",
        "set xtics (" + ", ".join(f"'{n}' {n}" for n in sorted({p[0] for s in series.values() for p in s})) + ")",
        "set grid", "set key left top", "set format y '%.10g'",
    ]
    for system, values in series.items():
        lines += [f"${system} << END", *(" ".join(str(v) for v in point) for point in values), "END"]
    drawn = [f"${system} using 1:2:3:4 with yerrorlines linewidth 2 pointtype 7 pointsize 0.5 "
             f"linecolor '{COLORS.get(system, OTHER_COLORS[i % len(OTHER_COLORS)])}' title '{system}'"
             for i, system in enumerate(series)]
    return "\n".join(lines + ["plot " + ", ".join(drawn)]) + "\n"


def draw(rounds, out):
    """Draws what there are figures for; returns [(file, title)]."""
    done = []
    for chart in CHARTS:
        series = {system: points(rounds, system, names, chart.what)
                  for system, names in chart.measurements.items()}
        series = {system: values for system, values in series.items() if len(values) > 1}
        if len(series) < len(SYSTEM_NAMES):
            continue
        done.append(draw_one(chart, series, out))
    return done


def draw_one(chart, series, out):
    """(file, title) of one chart, with its lines by name."""
    told = script(chart, series, os.path.join(out, chart.name))
    subprocess.run(["gnuplot"], input=told, text=True, check=True)
    return chart.name, chart.title
