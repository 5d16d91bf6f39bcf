"""The charts of a training: learning curves, confusion, a sheet of what went wrong, gradients. PNG files, and SVG."""

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
SHEET_COLUMNS, SHEET_ROWS = 6, 4  # of wrong pictures, the surest first
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.parse_math": False,  # labels are text, whatever they hold
    "figure.constrained_layout.use": True,
}


CURVES = {"loss": 1, "accuracy": 100}  # what is drawn of each epoch, and times how much
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
    """Loss and accuracy, epoch by epoch, with the epoch that was kept."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6))
        panels = figure.subplots(1, 2)
        for panel, name in zip(panels, CURVES, strict=True):
            _curve(panel, name, training.history, training.kept_epoch)
        panels[0].legend(frameon=False)
        _save(figure, path)


def curves_svg(history: Sequence[Epoch], kept_epoch: int) -> str:
    """The same curves for an HTML page: an inline SVG for each, to stand side by side or one below the other.

    Font and colours are the page's own (PAGE_COLOURS: its CSS variables), so that it shows in light and in dark. The
    same history gives the same text.
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
    """How often pictures are labelled right, by the probability of their label: an inline SVG as `curves_svg`'s."""
    with mpl.rc_context({**STYLE, **SVG_STYLE, "svg.hashsalt": "reliability"}):
        figure = Figure(figsize=(4.2, 2.8))
        panel = figure.subplots()
        panel.plot([0, 100], [0, 100], color=GREY, linestyle=":", label="as often right as said")
        most = max(each.pictures for each in found.bins)
        said, right = ([100 * getattr(each, name) for each in found.bins] for name in ("probability", "accuracy"))
        sizes = [10 + 90 * each.pictures / most for each in found.bins]
        panel.plot(said, right, color=BLUE, linewidth=1)
        panel.scatter(said, right, sizes, color=BLUE, label="pictures, more in a larger dot")
        panel.set_title("Right in %, by the probability in %")
        panel.set_xlim(0, 103)
        panel.set_ylim(0, 103)
        panel.legend(frameon=False)
        return _inline(figure, "accuracy by probability")


def roc_svg(points: Sequence[tuple[float, float]], chosen: tuple[float, float]) -> str:
    """What thresholds lose and let pass, (0..1, 0..1), and the chosen one of them: an inline SVG as `curves_svg`'s."""
    with mpl.rc_context({**STYLE, **SVG_STYLE, "svg.hashsalt": "roc"}):
        figure = Figure(figsize=(4.2, 2.8))
        panel = figure.subplots()
        lost, passing = ([100 * point[i] for point in points] for i in (0, 1))
        panel.plot(lost, passing, color=BLUE, linewidth=1.5, label="any threshold")
        panel.scatter([100 * chosen[0]], [100 * chosen[1]], 60, color=ORANGE, label="the chosen one", zorder=3)
        panel.set_title("Strangers that pass in %")
        panel.set_xlabel("good pictures lost in %")
        panel.set_xlim(-2, 103)
        panel.set_ylim(-2, 103)
        panel.legend(frameon=False)
        return _inline(figure, "strangers that pass by good pictures lost")


def _inline(figure: Figure, title: str) -> str:
    """What of matplotlib's SVG file an HTML page needs: no prolog, names of groups or fonts; the page's colours."""
    figure.draw_without_rendering()  # makes the grid's lines
    for artist in figure.findobj():
        artist.set_clip_on(False)  # nothing sticks out, and a page that loads nothing holds no url()
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True)
    svg = file.getvalue()
    view = re.search(r'viewBox="[^"]+"', svg)
    assert view is not None, "matplotlib writes a viewBox"
    drawing = re.sub(r".*?</defs>", "", svg, count=1, flags=re.DOTALL)  # with metadata and a style for the whole page
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
    """Draw `loss` or `accuracy` over the epochs, on the validation pictures too where all epochs were validated."""
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
    """How often each label was called which."""
    counts = np.array(figures.confusion)
    n = len(figures.labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(16.0, 2.2 + 0.55 * n)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(side, side))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(counts) if n <= 40 else ():  # more numbers cannot be read
            colour = "white" if shares[row, column] > 0.5 else ORANGE if row != column else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
        axes.set_xticks(range(n), figures.labels, rotation=90 if max(map(len, figures.labels)) > 3 else 0)
        axes.set_yticks(range(n), figures.labels)
        axes.set_xlabel("said")
        axes.set_ylabel("shown")
        axes.set_title(f"{figures.accuracy.correct:,} of {figures.accuracy.total:,} right")
        _save(figure, path)


def draw_wrong(figures: Figures, split: Split, spec: InputSpec, path: Path) -> None:
    """The wrong pictures as the model saw them, the surest mistakes first, with what was said and how sure."""
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
            panel.set_title(f"said {_short(each.said)}, {each.probability:.0%}", color=ORANGE, fontsize=10)
            panel.text(0.5, -0.06, f"is {_short(each.label)}", transform=panel.transAxes, ha="center", va="top")
        more = f", the surest {len(shown)} here" if len(shown) < len(figures.wrong) else ""
        figure.suptitle(f"{len(figures.wrong):,} of {figures.accuracy.total:,} wrong{more}")
        _save(figure, path)


def draw_gradients(norms: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Gradient norms of each stage over the steps: one panel a network, one line a stage (training/gradients.py)."""
    with mpl.rc_context({**STYLE, "text.parse_math": True}):  # powers of ten on its axis
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
