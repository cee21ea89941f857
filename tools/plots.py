# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""Pictures of what tools/bench has measured: an SVG file for each benchmark that has something to draw. gnuplot draws them."""

import collections
import json
import math
import os
import re
import subprocess

from harness import Failure
from palette import COLOURS, FAINT, INK, PAPER

# Of ratios against the size of messages.
RATIOS = {"pingpong": "time of a round trip over the baseline's: less is better",
          "throughput": "throughput over the baseline's: more is better",
          "cost": "speed of a virtual socket over that of a plain one: more is better"}
NAMES = {"mpi": "MPI, over stock MPICH", "sock": "sockets, over plain TCP", "throughput": "throughput", "pingpong": "round trips",
         "plain_throughput": "one plain connection over another"}
MIB = {"MiB": 1, "GiB": 1024}


def recorded(path):
    """The rows of a file of lines as tools/bench prints them."""
    rows = []
    try:
        with open(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                    rows.append({key: row[key] for key in ("bench", "metric", "value", "unit")})
                    value = row["value"]
                    if not all(isinstance(row[key], str) for key in ("bench", "metric")):
                        raise ValueError
                    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
                        raise ValueError
                except (ValueError, KeyError, TypeError):
                    raise Failure(f"{path}, line {number}: not a line of results: {line.strip()[:60]}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {getattr(error, 'strerror', None) or 'not a text'}") from None
    return rows


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def panel(title, x_label, y_label, series, logarithmic):
    """`series`: name -> {x: y}. `logarithmic`: the axis y, too."""
    data, plots = [], []
    for number, (name, points) in enumerate(series.items()):
        lines = "\n".join(f"{x} {y}" for x, y in sorted(points.items()))
        data.append(f"$points{number} << END\n{lines}\nEND\n")
        plots.append(f"$points{number} with linespoints linewidth 2 pointtype 7 pointsize 0.5 "
                     f"linecolor {quoted(COLOURS[number % len(COLOURS)])} title {quoted(name)}")
    y_axis = "set logscale y 10\nset format y '%g'" if logarithmic else "unset logscale y\nset format y '%.2f'\nset offsets 0, 0, 0.02, 0.02"
    one = "" if logarithmic else f", 1 with lines linecolor {quoted(INK)} dashtype 2 notitle"
    return (f"{''.join(data)}set title {quoted(title)}\nset xlabel {quoted(x_label)}\nset ylabel {quoted(y_label)}\nset logscale x 2\n{y_axis}\n"
            f"plot {', '.join(plots)}{one}\n")


def draw_panels(path, panels, x_format):
    """Beside each other."""
    width = 460 * len(panels) if len(panels) > 1 else 760
    script = (f"set terminal svg size {width},440 enhanced font 'DejaVu Sans,12' background '{PAPER}'\nset output {quoted(path)}\n"
              f"set border 3 linecolor '{INK}'\nset tics nomirror textcolor '{INK}'\nset grid linecolor '{FAINT}' linetype 1\n"
              f"set key top left reverse Left samplen 2\nset rmargin 5\nset format x '{x_format}'\n"
              f"set multiplot layout 1,{len(panels)}\n{''.join(panels)}unset multiplot\n")
    try:
        done = subprocess.run(["gnuplot"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except FileNotFoundError:
        raise Failure("pictures are drawn by gnuplot, which is not here: tools/setup installs it (gnuplot-nox)") from None
    if done.returncode != 0 or not os.path.exists(path):
        raise Failure(f"gnuplot: {' / '.join(done.stdout.split(chr(10))[-4:]).strip()}")
    return path


def by_size(rows, bench):
    """{series: {bytes: ratio}}"""
    found = collections.defaultdict(dict)
    for row in rows:
        match = re.fullmatch(r"(\w+)_(\d+)B_ratio", row["metric"])
        if row["bench"] == bench and match and row["value"] is not None:
            found[NAMES.get(match[1], match[1].replace("_", " "))][int(match[2])] = row["value"]
    return found


def by_memory(rows, what, dirty):
    """{series: {MiB: ms}}; with `dirty` a series for each percentage."""
    found = collections.defaultdict(dict)
    for row in rows:
        match = re.fullmatch(rf"{what}_ms_(\d+)(MiB|GiB)" + (r"_dirty(\d+)" if dirty else ""), row["metric"])
        if row["bench"] == "downtime" and match and row["value"] is not None:
            name = f"{match[3]} % a second written" if dirty else "plain TCP copy"
            found[name][int(match[1]) * MIB[match[2]]] = row["value"]
    return found


def make(folder):
    """Throws Failure."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}") from None


def draw(rows, folder):
    """Returns the paths of the files. Throws Failure."""
    make(folder)
    paths = []
    for bench, title in RATIOS.items():
        if series := by_size(rows, bench):
            paths.append(draw_panels(os.path.join(folder, f"{bench}.svg"),
                                     [panel(f"{bench}: {title}", "bytes a message", "ratio", series, False)], "%.0b%B"))
    pauses, totals, copies = by_memory(rows, "pause", True), by_memory(rows, "total", True), by_memory(rows, "copy", False)
    if pauses and totals:
        paths.append(draw_panels(os.path.join(folder, "downtime.svg"),
                                 [panel("it stands still: less is better", "MiB resident", "ms", pauses, True),
                                  panel("the move in all: less is better", "MiB resident", "ms", {**totals, **copies}, True)], "%.0f"))
    if not paths:
        raise Failure("no results of which there is a picture: pingpong, throughput, cost and downtime have one")
    return paths
