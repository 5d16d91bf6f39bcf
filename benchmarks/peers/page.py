"""Writes the results page: the measurements and the machine, as JSON, a table and a chart."""

import json
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from signs_builder.charts import BLUE, GREY, STYLE
from signs_runtime.engine.device import this_cpu

OURS = "signs-edge"
_SHARED = ("keras", "tensorflow", "onnxruntime", "tf2onnx")


def write_page(measured: dict[str, Any], folder: Path) -> None:  # Any: JSON
    """Write peers.json, peers.md and peers.svg."""
    found = measured["candidates"]
    document = {
        "machine": f"{this_cpu()[0]}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in _SHARED},
        **measured,
    }
    (folder / "peers.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    cells = list(found[0]["median"])
    lines = [
        "# Other runtimes",
        "",
        "This table compares the runtimes that we know of, on the same weights. It shows milliseconds a picture, for",
        f"batches of 1 and 16 pictures of {measured['size']}, on one and two threads: medians of interleaved rounds,",
        "each candidate in a process of its own. *Start* is the time from the process's start to its first answer.",
        "*Labels* is the share with Keras's label, *off* how far a probability is from Keras's on average.",
        "The fastest of each precision is bold; a candidate with less than 99% of Keras's labels does not count.",
        "`make peers` writes this page. On another machine, the numbers and their order differ.",
        "",
        f"Measured on {document['machine']}, {document['date']}: "
        + ", ".join(f"{name} {own}" for name, own in document["versions"].items())
        + ".",
        "",
        f"| candidate | weights | {' | '.join(map(_named, cells))} | start, s | peak, MB | file, MB | labels | off |",
        "|---|---|" + "---|" * (len(cells) + 5),
    ]
    for one in found:
        best = {
            cell: min((other["median"][cell] for other in found if _rivals(one, other)), default=0.0) for cell in cells
        }
        shown = [
            f"**{one['median'][cell]:.2f}**" if one["median"][cell] == best[cell] else f"{one['median'][cell]:.2f}"
            for cell in cells
        ]
        name = f"**{one['name']}**" if _is_ours(one) else one["name"]
        others = [
            f"{one['start']:.2f}",
            f"{one['peak_memory'] / 1e6:.0f}",
            f"{one['bytes'] / 1e6:.1f}",
            f"{one['same_label'] / one['pictures']:.2%}",
            f"{one['mean_difference']:.0e}",
        ]
        lines.append(f"| {' | '.join([name, one['precision'], *shown, *others])} |")
    for name, limit in measured["limits"].items():
        shown = [f"{limit[cell]:.2f}" for cell in cells]
        lines.append(f"| *the machine's limit* | {' | '.join([name, *shown, '', '', '', '', ''])} |")
    lines += [
        "",
        "*The machine's limit* is the longer of two times: a picture's multiply-adds at this machine's rate in large",
        "matrix products (without those whose results nothing reads), and one read of the weights at its rate of",
        "repeated reads of as many bytes.",
    ]
    lines += ["", "![Milliseconds a picture](peers.svg)", ""]
    (folder / "peers.md").write_text("\n".join(lines), encoding="utf-8")
    names = [f"{one['name']}, {one['precision']}" for one in found]
    times = [one["median"]["2 x 1"] for one in found]
    _draw(names, times, [_is_ours(one) for one in found], _named("2 x 1"), folder / "peers.svg")


def _draw(names: list[str], times: list[float], are_ours: list[bool], cell: str, path: Path) -> None:
    with mpl.rc_context({**STYLE, "svg.hashsalt": "peers", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 0.3 * len(names) + 1))
        panel = figure.subplots()
        order = sorted(range(len(names)), key=lambda i: -times[i])
        colours = [BLUE if are_ours[i] else GREY for i in order]
        bars = panel.barh([names[i] for i in order], [times[i] for i in order], color=colours)
        panel.bar_label(bars, fmt="%.2f", padding=3)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"Milliseconds a picture, {cell}")
        figure.savefig(path, metadata={"Date": None})


def _is_ours(one: dict[str, Any]) -> bool:  # Any: JSON
    return str(one["name"]).startswith(OURS)


def _rivals(one: dict[str, Any], other: dict[str, Any]) -> bool:  # Any: JSON
    """Whether both have the same precision and `other` has Keras's label on at least 99% of the pictures."""
    return bool(one["precision"] == other["precision"] and other["same_label"] >= 0.99 * other["pictures"])


def _named(cell: str) -> str:
    threads, batch = cell.split(" x ")
    return f"{threads} thread{'s' if threads != '1' else ''}, batch {batch}"
