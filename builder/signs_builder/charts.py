"""Charts of a training, as PNG files or SVG: learning curves, confusion, wrong pictures, gradients, thresholds."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from signs_builder.data.dataset import Split
from signs_builder.disk import written_whole
from signs_builder.evaluation.evaluate import Figures
from signs_builder.evaluation.reliability import Reliability
from signs_builder.training.state import Epoch, Training
from signs_runtime.pictures.input_spec import InputSpec

BLUE, ORANGE, GREY = "#1f5fa8", "#d9661f", "#8a8f98"
LIGHT, INK = "#dde1e6", "#1c2127"
SHEET_COLUMNS, SHEET_ROWS = 6, 4  # of wrong pictures, the most confident first
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.parse_math": False,  # labels are never formulas
    "figure.constrained_layout.use": True,
}


CURVES = {"loss": 1, "accuracy": 100}  # value of an epoch -> its factor in the chart
SVG_STYLE = {
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "grid.color": LIGHT,
    "grid.alpha": 1,
    "xtick.bottom": False,
    "ytick.left": False,
    "xtick.labelcolor": GREY,
    "ytick.labelcolor": GREY,
}
PAGE_COLOURS = {BLUE: "--blue", ORANGE: "--orange", GREY: "--quiet", LIGHT: "--line", INK: "--ink"}


def draw_curves(training: Training, path: Path) -> None:
    """Draw loss and accuracy by epoch, and mark the epoch that was kept."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6))
        panels = figure.subplots(1, 2)
        for panel, name in zip(panels, CURVES, strict=True):
            _curve(panel, name, training.history, training.kept_epoch)
        panels[0].legend(frameon=False)
        _save(figure, path)


def curves_svg(history: Sequence[Epoch], kept_epoch: int) -> str:
    """The same curves for an HTML page: one inline SVG for loss, one for accuracy.

    Font and colours are the page's own (PAGE_COLOURS: its CSS variables), so the curves fit its light and dark modes.
    The same history gives the same text.
    """
    return "\n".join(_curve_svg(name, history, kept_epoch) for name in CURVES)


def _curve_svg(name: str, history: Sequence[Epoch], kept_epoch: int) -> str:
    with mpl.rc_context({**STYLE, **SVG_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(4.2, 2.8))
        panel = figure.subplots()
        _curve(panel, name, history, kept_epoch)
        panel.legend(frameon=False)
        return _inline(figure, f"{name} by epoch")


def reliability_svg(found: Reliability) -> str:
    """Accuracy by the probability of the label: an inline SVG like those of `curves_svg`."""
    with mpl.rc_context({**STYLE, **SVG_STYLE, "svg.hashsalt": "reliability"}):
        figure = Figure(figsize=(4.2, 2.8))
        panel = figure.subplots()
        panel.plot([0, 100], [0, 100], color=GREY, linestyle=":", label="perfect probabilities")
        most = max(each.pictures for each in found.bins)
        said, right = ([100 * getattr(each, name) for each in found.bins] for name in ("probability", "accuracy"))
        sizes = [10 + 90 * each.pictures / most for each in found.bins]
        panel.plot(said, right, color=BLUE, linewidth=1)
        panel.scatter(said, right, sizes, color=BLUE, label="measured; larger dots hold more pictures")
        panel.set_title("Accuracy in %, by probability in %")
        panel.set_xlim(0, 103)
        panel.set_ylim(0, 103)
        panel.legend(frameon=False)
        return _inline(figure, "accuracy by probability")


def roc_svg(points: Sequence[tuple[float, float]], chosen: tuple[float, float]) -> str:
    """Good pictures lost and strangers let pass (0..1, 0..1) by threshold: an inline SVG like those of `curves_svg`."""
    with mpl.rc_context({**STYLE, **SVG_STYLE, "svg.hashsalt": "roc"}):
        figure = Figure(figsize=(4.2, 2.8))
        panel = figure.subplots()
        lost, passing = ([100 * point[i] for point in points] for i in (0, 1))
        panel.plot(lost, passing, color=BLUE, linewidth=1.5, label="possible thresholds")
        panel.scatter([100 * chosen[0]], [100 * chosen[1]], 60, color=ORANGE, label="chosen threshold", zorder=3)
        panel.set_title("Strangers that pass in %")
        panel.set_xlabel("good pictures lost in %")
        panel.set_xlim(-2, 103)
        panel.set_ylim(-2, 103)
        panel.legend(frameon=False)
        return _inline(figure, "strangers that pass by good pictures lost")


def _inline(figure: Figure, title: str) -> str:
    """Reduce matplotlib's SVG to what an HTML page needs: no prolog, group names or fonts, and the page's colours."""
    figure.draw_without_rendering()  # creates the grid's lines
    for artist in figure.findobj():
        artist.set_clip_on(False)  # nothing needs clipping, and url() is not allowed in a page that loads nothing
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True)
    svg = file.getvalue()
    view = re.search(r'viewBox="[^"]+"', svg)
    assert view is not None, "matplotlib writes a viewBox"
    drawing = re.sub(
        r".*?</defs>", "", svg, count=1, flags=re.DOTALL
    )  # drops metadata and a style that would apply to the whole page
    for pattern, replacement in (
        (r"\s+", " "),
        (r"> <", "><"),
        (r'<g id="[^"]*">', "<g>"),
        (r" transform=\"rotate\(-0 [^\"]*\"", ""),
        (r" font-family: [^;\"]*;", ""),
        (r"xlink:href", "href"),
        *((colour, f"var({variable})") for colour, variable in PAGE_COLOURS.items()),
    ):
        drawing = re.sub(pattern, replacement, drawing)
    return f'<svg {view[0]} role="img" aria-label="{title}">{drawing.strip()}'


def _curve(panel: Axes, name: str, history: Sequence[Epoch], kept_epoch: int) -> None:
    """Draw `loss` or `accuracy` by epoch; also on the validation pictures, if all epochs were validated."""
    share = CURVES[name]
    epochs = [each.number for each in history]
    marker = "o" if len(epochs) < 4 else None
    own = [share * getattr(each, name) for each in history]
    panel.plot(epochs, own, color=BLUE, marker=marker, label="training")
    validation = [getattr(each, f"validation_{name}") for each in history]
    if None not in validation:
        values = [share * each for each in validation]
        panel.plot(epochs, values, color=ORANGE, marker=marker, label="validation")
        panel.axvline(kept_epoch, color=GREY, linestyle=":", label=f"kept: epoch {kept_epoch}")
    panel.set_title(name.capitalize() + (" in %" if share == 100 else ""))
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_confusion(figures: Figures, path: Path) -> None:
    """Draw how often each true label got each predicted label."""
    counts = np.array(figures.confusion)
    n = len(figures.labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(16.0, 2.2 + 0.55 * n)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(side, side))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(counts) if n <= 40 else ():  # with more, the numbers are unreadable
            colour = "white" if shares[row, column] > 0.5 else ORANGE if row != column else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
        axes.set_xticks(range(n), figures.labels, rotation=90 if max(map(len, figures.labels)) > 3 else 0)
        axes.set_yticks(range(n), figures.labels)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"{figures.accuracy.correct:,} of {figures.accuracy.total:,} right")
        _save(figure, path)


def draw_wrong(figures: Figures, split: Split, spec: InputSpec, path: Path) -> None:
    """Draw the wrong pictures as the model saw them, the most confident first, with predicted label and probability."""
    shown = figures.wrong[: SHEET_COLUMNS * SHEET_ROWS]
    columns = min(SHEET_COLUMNS, max(len(shown), 3))
    rows = max(1, -(-len(shown) // columns))
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.7 * columns, 2.1 * rows + 0.5))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.axis("off")
        for panel, each in zip(panels, shown, strict=False):
            panel.imshow(spec.in_rgb(split.image(each.place, spec)).squeeze(), cmap="gray")
            panel.set_title(f"{_short(each.said)}, {each.probability:.0%}", color=ORANGE, fontsize=10)
            panel.text(0.5, -0.06, f"true: {_short(each.label)}", transform=panel.transAxes, ha="center", va="top")
        more = f", the surest {len(shown)} shown" if len(shown) < len(figures.wrong) else ""
        figure.suptitle(f"{len(figures.wrong):,} of {figures.accuracy.total:,} wrong{more}")
        _save(figure, path)


def draw_gradients(norms: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Draw the gradient norms by step: one panel for each network, one line for each stage (training/gradients.py)."""
    with mpl.rc_context({**STYLE, "text.parse_math": True}):  # for the powers of ten on the axis
        figure = Figure(figsize=(9.5, 4))
        panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
        for panel, (network, stages) in zip(panels, norms.items(), strict=True):
            colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(stages)))
            for (stage, values), colour in zip(stages.items(), colours, strict=True):
                panel.plot(range(1, len(values) + 1), values, color=colour, label=stage)
            panel.set_yscale("log")
            panel.set_title(network)
            panel.set_xlabel("step")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylabel("norm of the gradient")
        panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title="from the input down")
        _save(figure, path)


def _short(label: str) -> str:
    return label if len(label) <= 12 else f"{label[:11]}…"


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=160)
