"""The zoo's results as a page of Markdown."""

import re
from collections.abc import Iterable
from typing import Any

from signs_export.config import FILES

Record = dict[str, Any]  # JSON

_TITLES = {
    "families": "Keras's own families, the smallest of each, 96x96, three epochs on 300 drawn hands",
    "layers": "Small networks, one for each kind of layer and joint, 32x32, twenty epochs on 900 drawn hands",
    "trained": "Networks trained properly, 64x64, thirty epochs on 4,800 drawn hands",
    "real": "Models that other people trained",
}
_INTRO = """# The zoo

These classifiers of every make were exported in float32, int8 and float16. Each went through the whole gate on 500
pictures (Keras's families: 200). Exports of the small networks were then broken in every way that applies to them.

`make zoo` trains and measures the classifiers that have no record in `zoo.json`, and writes this page. A record stays
until `python -m tests.zoo --again`, so it can be older than the code.

- *right*: Keras's accuracy on the pictures.
- *closest*, *of limit*: the check that came closest to a refusal, and how much of its limit it used.
- *Keras's label*: the share of pictures with the same label as in Keras.
- *speed*: times float32's, measured side by side. Where there are two numbers, with all threads and with one.
- *bytes*: the file's size, over float32's.
- *in float*: the layers that int8 left in float.
- *seconds*: the whole export, all variants.
"""
_COLUMNS = (
    "network",
    "right",
    "variant",
    "",
    "closest",
    "of limit",
    "Keras's label",
    "speed",
    "bytes",
    "in float",
    "seconds",
)


def page(found: dict[str, Record]) -> str:
    """Markdown of all records, by group."""
    parts = [_INTRO]
    exports = [record for key, record in found.items() if not key.endswith("/faults")]
    scored = [record for key, record in found.items() if key.endswith("/faults") and "faults" in record]
    refused = [each for each in exports if any(not one["passed"] for one in each.get("variants", {}).values())]
    parts.append(f"**{len(refused)} of {len(exports)} honest exports refused.** {_score(scored)}\n")
    for group, title in _TITLES.items():
        own = [record for record in exports if record["group"] == group]
        if own:
            parts += [f"## {title}\n", *_table(_COLUMNS, (row for record in own for row in _rows(record)))]
    missed = [row for record in scored for row in _missed(record)]
    if missed:
        parts += ["## Faults that were missed, or found at another stage\n"]
        parts += _table(("network", "fault", "", "stage named", "failed checks"), missed)
    return "\n".join(parts)


def score(scored: list[Record]) -> tuple[int, int, int]:
    """Faults that were tried, caught, and found at the right stage."""
    faults = [fault for record in scored for fault in record.get("faults", [])]
    caught = [fault for fault in faults if fault["caught"]]
    return len(faults), len(caught), sum(fault["right_stage"] for fault in caught)


def _score(scored: list[Record]) -> str:
    tried, caught, right = score(scored)
    if not tried:
        return ""
    return (
        f"Of {tried:,} faults in {len(scored)} networks {caught:,} are caught ({caught / tried:.1%}), {right:,} at the "
        f"right stage ({right / tried:.1%})."
    )


def _rows(record: Record) -> Iterable[tuple[str, ...]]:
    name = record["name"] + (f", seed {record['seed']}" if record["seed"] else "")
    if why := record.get("not_opened") or record.get("not_exported"):
        yield (name, "", "", f"not exported: {why.splitlines()[0][:100]}", *[""] * 7)
        return
    for variant in (name for name in FILES if name in record["variants"]):
        each, first = record["variants"][variant], variant == "fp32"
        yield (
            name if first else "",
            f"{each['keras_accuracy']:.0%}" if first else "",
            variant,
            "" if each["passed"] else "**refused**",
            each["closest"],
            f"{each['share_of_limit']:.2g}",
            f"{each['agreement']:.2%}",
            "" if first else " / ".join(f"{each[key]:.2f}" for key in ("speed", "speed_one_thread") if key in each),
            f"{each['size']:.0%}" if "size" in each and not first else "",
            f"{each['in_float']} of {each['layers']}" if "in_float" in each else "",
            f"{record['total_seconds']:.0f}" if first else "",
        )
    for why in record["warnings"]:
        if found := re.match(r"There is no (\w+) variant: (.*)\.", why):
            yield ("", "", found[1], "left out", found[2], *[""] * 6)


def _missed(record: Record) -> Iterable[tuple[str, ...]]:
    for fault in record["faults"]:
        if not fault["right_stage"]:
            verdict = "elsewhere" if fault["caught"] else "**missed**"
            yield (record["name"], fault["fault"], verdict, fault["stage"] or "", ", ".join(fault["checks"]))


def _table(header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    header = tuple(header)
    lines = [header, tuple("---" for _ in header), *rows]
    return ["\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines), ""]
