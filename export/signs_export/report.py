"""The page about a bundle's variants: what each costs and is worth, where it differs from Keras, and why."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

from signs_export.evidence import Evidence
from signs_export.int8 import Int8
from signs_export.parity import ParityReport
from signs_export.saturation import LARGEST
from signs_export.variants import FP32, Made, Price
from signs_runtime.manifest import Paired, Speed

_NOTHING = "This model has no convolution: all of it stays in float."
_SHOWN = 24  # flipped pictures
_CLOSEST = 6  # pictures that differ most, where none is flipped
_BARS = 12  # layers in the chart before it is opened
_THUMBNAIL = 96  # pixels a side at most

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b7dd8; --kept: #d9822b; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --bar: #58a6ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; } h3 { margin-bottom: .3rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top; }
th { font-weight: 600; } td { min-width: 4.5rem; } tr { border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; }
.good { color: var(--good); } .bad { color: var(--bad); } .quiet { opacity: .75; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 9.5rem; font-size: .85rem; }
figure img { width: 6rem; image-rendering: pixelated; border-radius: 4px; display: block; }
figcaption { overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr max-content; gap: .15rem .6rem; }
.bars { align-items: center; font-size: .9rem; } .bar { background: var(--bar); height: .8rem; border-radius: 2px; }
.kept { background: var(--kept); } @media print { details > * { display: block; } body { font-size: 12px; } }
"""


def report_page(made: Sequence[Made], evidence: Evidence, data: str) -> str:
    """One self-contained HTML page, for variants that passed their gate or did not."""
    failed = [each.name for each in made if not each.report.passed]
    verdict = (
        f'<p class="bad"><strong>{", ".join(failed)} does not answer as Keras does: nothing was sealed.</strong></p>'
        if failed
        else '<p class="good"><strong>Every variant answers as Keras does, within its budget.</strong></p>'
    )
    sections = [_table(made), _certainty(made, evidence)]
    for each in made:
        sections.append(_pictures(each.report))
    for each in made:
        if each.int8 is not None:
            sections.append(_layers(each.int8, each.price, each))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(data)}: the variants</title><style>{_STYLE}</style>"
        f"<h1>{escape(data)}: the variants</h1>"
        f'<p class="quiet">{len(evidence.files):,} pictures, from their files through the runtime, beside Keras.</p>'
        f"{verdict}{''.join(sections)}</html>\n"
    )


def _table(made: Sequence[Made]) -> str:
    float32 = made[0].file.bytes
    rows = [
        (
            f"<strong>{each.name}</strong>",
            f"{each.file.bytes / 1e6:.1f} MB" + ("" if each.name == FP32 else f" ({each.file.bytes / float32:.2f})"),
            _speed(each.name, each.speed),
            f"{each.report.same_label:,} of {each.report.pictures:,} "
            f"({each.report.same_label / each.report.pictures:.2%})",
            f"{each.report.mean_difference:.1e} / {each.report.max_difference:.1e}",
            str(each.report.accuracy),
            f'<span class="{"good" if each.report.passed else "bad"}">'
            f"{'passed' if each.report.passed else '<br>'.join(escape(each.says) for each in each.report.misses)}</span>",
        )
        for each in made
    ]
    header = ("", "size", "speed", "Keras's label", "difference, mean / max", "test pictures right", "gate")
    return f'<h2>At a glance</h2><div class="wide">{_html_table(header, rows)}</div>'


def _speed(name: str, speed: Speed | None) -> str:
    if speed is None or name == FP32:
        return "1" if speed is not None else "not compared"
    mark = '<br><span class="bad">size only: too slow to be chosen for speed</span>' if speed.size_only else ""
    return f"{speed.speedup:.2f} times fp32's, {speed.threads} threads{mark}"


def _certainty(made: Sequence[Made], evidence: Evidence) -> str:
    others = [each for each in made if each.name != FP32]
    if not others:
        return ""
    items = "".join(f"<li>{_drop(each.name, each.report.paired)}</li>" for each in others)
    return (
        f"<h2>How sure is the accuracy?</h2><p>Keras itself gets {evidence.accuracy(evidence.expected)} of the test "
        f"pictures right.</p><ul>{items}</ul>"
    )


def _drop(name: str, paired: Paired) -> str:
    low, high = paired.drop_interval
    return (
        f"{name}: {paired.only_keras} right in Keras alone, {paired.only_variant} in {name} alone (McNemar's exact "
        f"test: p = {paired.p_value:.2g}). The accuracy drops by {paired.drop:.1%} (95%: {low:+.1%} to {high:+.1%}): "
        f"{paired.total} test pictures cannot rule out a drop of up to {high:.1%}."
    )


def _pictures(report: ParityReport) -> str:
    flips = report.pictures - report.same_label
    if report.variant == FP32 and not flips:
        return ""
    if flips:
        title = f"{report.variant}: {flips} flipped picture{'s' if flips > 1 else ''}"
        shown = [i for i, _ in report.worst(min(flips, _SHOWN))]
        note = f"<p>The {len(shown)} that differ most.</p>" if flips > len(shown) else ""
    else:
        title, note = f"{report.variant}: no picture is flipped", "<p>These differ most.</p>"
        shown = [i for i, _ in report.worst(_CLOSEST)]
    return f'<h2>{title}</h2>{note}<div class="pictures">{"".join(_figure(report, i) for i in shown)}</div>'


def _figure(report: ParityReport, i: int) -> str:
    evidence = report.evidence
    top = np.sort(evidence.expected[i])
    picture = Image.fromarray(evidence.images[i].squeeze())
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    source = base64.b64encode(stream.getvalue()).decode()
    file = evidence.files[i]
    return (
        f'<figure><img alt="{escape(file.name)}" src="data:image/png;base64,{source}"><figcaption>'
        f"Keras: {escape(report.label(evidence.expected[i]))}<br>"
        f"{report.variant}: {escape(report.label(report.given[i]))}<br>"
        f"shows {escape(evidence.labels[evidence.truth[i]])}; Keras's margin {top[-1] - top[-2]:.3f}<br>"
        f'<span class="quiet">{escape(file.parent.name)}/{escape(file.name)}</span></figcaption></figure>'
    )


def _layers(int8: Int8, price: Price | None, made: Made) -> str:
    kept = int8.in_float
    parts = ["<h2>int8, layer by layer</h2>"]
    if kept:
        names = escape(", ".join(kept))
        parts.append(f"<p>In float, since int8 there, or on the way there, broke the budget: <strong>{names}</strong>.")
        if price is not None and made.speed is not None:
            parts.append(
                f" All in int8, the file would have {price.bytes / 1e6:.1f} MB instead of {made.file.bytes / 1e6:.1f}, "
                f"and {price.speedup:.2f} times fp32's speed instead of {made.speed.speedup:.2f}."
            )
        parts.append("</p>")
    else:
        parts.append(f"<p>{'Every convolution computes in int8.' if int8.noise else _NOTHING}</p>")
    parts.append(_noise(int8))
    parts.append(_saturation(int8))
    return "".join(parts)


def _noise(int8: Int8) -> str:
    ranked = sorted(int8.noise.items(), key=lambda item: -item[1])
    if not ranked:
        return ""
    rest = ranked[_BARS:]
    most = ranked[0][1] or 1.0
    more = f"<details><summary>{len(rest)} more layers</summary>{_bars(rest, most, int8)}</details>" if rest else ""
    colour = "; those in orange stayed in float" if int8.in_float else ""
    return (
        "<h3>What each layer alone costs</h3><p>The noise that it brings into the answers when it alone is in int8, "
        f"and its signal-to-noise ratio{colour}.</p>{_bars(ranked[:_BARS], most, int8)}{more}"
    )


def _bars(layers: Iterable[tuple[str, float]], most: float, int8: Int8) -> str:
    rows = []
    for layer, noise in layers:
        kind = "bar kept" if layer in int8.in_float else "bar"
        ratio = f"{-10 * math.log10(noise):.0f} dB" if noise else "no noise"
        width = f'style="width:{100 * noise / most:.1f}%"'
        rows.append(f'<span>{escape(layer)}</span><div><div class="{kind}" {width}></div></div><span>{ratio}</span>')
    return f'<div class="bars">{"".join(rows)}</div>'


def _saturation(int8: Int8) -> str:
    risky = [layer for layer in int8.saturation if layer.at_risk]
    title = "<h3>The same on every CPU?</h3>"
    if not int8.saturation:
        return f"{title}<p>No layer adds products in pairs.</p>"
    largest = max(layer.bound for layer in int8.saturation)
    if not risky:
        return (
            f"{title}<p>Yes: no layer can overflow the 16 bits in which x86 without VNNI adds two products; the "
            f"largest sum that the weights allow is {largest:,} of {LARGEST:,}.</p>"
        )
    rows = [
        (escape(layer.layer), f"{layer.bound:,}", f"{layer.measured:,}", "saturates" if layer.saturates else "could")
        for layer in risky
    ]
    table = _html_table(("layer", "largest sum the weights allow", "reached on calibration pictures", ""), rows)
    return (
        f"{title}<p>No: x86 without VNNI adds two products in 16 bits, at most {LARGEST:,}, which "
        f"{len(risky)} layers can overflow.</p>{table}"
    )


def _html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
