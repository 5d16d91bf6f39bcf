"""Learning curves as coordinates for an SVG: the page draws them in its own colours, light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 440, 250  # of the SVG, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 432, 12, 212  # of the area between the axes


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, at `place` in SVG units."""

    place: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One panel: `lines` are points (x, y) by the line's name; `kept` is the x of the epoch that was kept."""

    title: str
    lines: dict[str, list[tuple[float, float]]]
    epochs: tuple[Tick, ...]
    values: tuple[Tick, ...]
    kept: float


def learning_curves(history: Sequence[dict[str, Any]], kept_epoch: int) -> tuple[Chart, ...]:  # Any: JSON
    """Loss and accuracy over the epochs of a training, as `Run.as_json` lists them."""
    return tuple(_chart(history, name, kept_epoch) for name in ("loss", "accuracy"))


def _chart(history: Sequence[dict[str, Any]], name: str, kept_epoch: int) -> Chart:  # Any: JSON
    numbers: list[int] = [epoch["number"] for epoch in history]
    series = {
        "training": [epoch[name] for epoch in history],
        "validation": [epoch[f"validation_{name}"] for epoch in history],
    }
    drawn = {line: values for line, values in series.items() if None not in values}
    largest: float = 1.0 if name == "accuracy" else max(max(values) for values in drawn.values()) or 1.0
    steps = max(numbers[-1] - numbers[0], 1)

    def x(epoch: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (epoch - numbers[0]) / steps, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * value / largest, 1)

    return Chart(
        title=name,
        lines={
            line: [(x(epoch), y(value)) for epoch, value in zip(numbers, values, strict=True)]
            for line, values in drawn.items()
        },
        epochs=tuple(
            Tick(x(epoch), f"{epoch:.0f}")
            for epoch in MaxNLocator(7, integer=True).tick_values(numbers[0], numbers[-1])
            if numbers[0] <= epoch <= numbers[-1]
        ),
        values=tuple(
            Tick(y(value), f"{value:.0%}" if name == "accuracy" else f"{value:g}")
            for value in MaxNLocator(5).tick_values(0, largest)
            if value <= largest
        ),
        kept=x(kept_epoch),
    )
