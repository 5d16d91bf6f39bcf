"""Renders the report for people, a self-contained page and a model card, from the report's document."""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from signs_builder.charts import curves_svg, reliability_svg, roc_svg
from signs_export.confidence.unsure import Unsure
from signs_export.gate.trace import Stage
from signs_export.gate.verdict import LabelFigures
from signs_export.report.document import Confused, Document, KerasFigures, Share, TestFigures

MOST_LABELS = 20  # tables with more labels are shortened
MOST_ROWS = 12  # of shortened tables, the worst first
THUMBNAIL = 96  # pixels of the longer side
_QUALITY = 85  # of JPEG: 3 kB for a picture and 12 kB for noise, so that 80 pictures stay below 1 MB


def report_page(document: Document, images: NDArray[np.uint8], stages: Mapping[str, Sequence[Stage]]) -> str:
    """Render the page. `images` are the proof's pictures, uint8 (n, h, w, c); `stages` are each variant's."""
    training = document.training
    curves = "" if training is None else curves_svg(training.history, training.kept_epoch)
    return _PAGES.get_template("report.html").render(
        vars(document),
        tests=_tests(document),
        curves=Markup(curves),
        diagrams=list(map(Markup, _diagrams(document.keras))),
        roc=Markup("" if (unsure := document.keras.unsure) is None else _roc(unsure)),
        thumbnail=lambda place: _thumbnail(document.model.input.in_rgb(images[place])),
        differing_labels=_differing_labels,
        thresholds=dict(zip(document.model.labels, document.model.thresholds, strict=False)),
        differing={name: _differing_pictures(walk) for name, walk in stages.items()},
    )


def _diagrams(keras: KerasFigures) -> list[str]:
    """The reliability diagrams: before the temperature, if there is one, and now."""
    calibrated, now = keras.calibrated, keras.reliability
    before = calibrated.before if calibrated is not None and calibrated.is_kept else None
    return [reliability_svg(each) for each in (before, now) if each is not None]


def _roc(unsure: Unsure) -> str:
    points = [(each.lost, each.passing) for each in unsure.curve]
    return roc_svg(points, (unsure.lost.share, unsure.passing.share))


def model_card(document: Document) -> str:
    """Render the model card, in Markdown."""
    return _CARDS.get_template("MODEL_CARD.md").render(vars(document), tests=_tests(document))


def _tests(document: Document) -> dict[str, TestFigures]:
    """The test figures of Keras and of each variant."""
    return {"Keras": document.keras.test, **{each.name: each.test for each in document.variants}}


def matrix(labels: Sequence[str], confusion: Sequence[Confused]) -> list[list[int]]:
    """The confusion as a table of counts: rows are the labels that pictures show, columns those that they got."""
    counts = {(pair.shows, pair.said): pair.pictures for pair in confusion}
    return [[counts.get((shows, said), 0) for said in labels] for shows in labels]


def confused(confusion: Sequence[Confused]) -> list[Confused]:
    """The pairs of labels that are confused, the most frequent first."""
    wrong = [pair for pair in confusion if pair.shows != pair.said]
    return sorted(wrong, key=lambda pair: -pair.pictures)[:MOST_ROWS]


def weakest(per_label: dict[str, Share]) -> dict[str, Share]:
    """The labels to show: all if they are few, else those with the lowest accuracy."""
    if len(per_label) <= MOST_LABELS:
        return per_label
    return dict(sorted(per_label.items(), key=lambda item: item[1].accuracy)[:MOST_ROWS])


def _differing_labels(by_label: Mapping[str, LabelFigures]) -> list[tuple[str, LabelFigures]]:
    """The labels to show: all if they are few, else those on which a variant agrees least with Keras."""
    if len(by_label) <= MOST_LABELS:
        return list(by_label.items())
    return sorted(by_label.items(), key=lambda item: item[1].agreement)[:MOST_ROWS]


def _differing_pictures(stages: Sequence[Stage]) -> list[dict[str, Any]]:  # Any: what the template reads
    """The picture at each stage of its reading: in training, in the runtime, and their difference."""
    rows = []
    for stage in stages:
        if stage.expected is None or stage.given is None:
            continue
        pictures = {"training": stage.expected, "the runtime": stage.given}
        if stage.expected.shape == stage.given.shape:
            # int64, because pictures may be bool or 16-bit; times 8, to show differences of a few levels
            difference = np.abs(stage.expected.astype(np.int64) - stage.given.astype(np.int64))
            pictures["difference, times 8"] = np.minimum(8 * difference, 255)
        shown = {name: _thumbnail(_as_bytes(picture)) for name, picture in pictures.items()}
        rows.append({"stage": stage.name, "passed": stage.passed, "says": stage.says, "pictures": shown})
    return rows


def _as_bytes(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert a picture of any depth and of 1 to 4 channels to 8 bits, grey or RGB."""
    levels = picture.astype(np.int64)
    levels = levels >> 8 if levels.max() > 255 else levels
    return levels[..., :3].astype(np.uint8) if levels.ndim == 3 and levels.shape[2] > 1 else levels.astype(np.uint8)


def _thumbnail(image: NDArray[np.uint8]) -> str:
    """A small copy of the picture (h, w, c) as a data URI."""
    picture = Image.fromarray(image.squeeze())
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{share:.{digits}%}"


def _small(value: float | None) -> str:
    """A small number, such as a difference of probabilities."""
    return "not a number" if value is None else f"{value:.1e}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _markdown(value: object) -> object:
    """Escape what Markdown, HTML or a table would interpret in a text; see `_CARDS`."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return re.sub(r"([\\`*_\[\]<>&|#~$])", r"\\\1", value)
    return value


def _environment(*, autoescape: bool, finalize: Callable[[object], object] | None = None) -> Environment:
    environment = Environment(
        loader=PackageLoader("signs_export.report"),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": _percent,
        "small": _small,
        "megabytes": _megabytes,
        "verbatim": Markup,  # for code blocks, in which nothing is Markdown
    }
    environment.globals |= {
        "matrix": matrix,
        "confused": confused,
        "weakest": weakest,
        "MOST_LABELS": MOST_LABELS,
        "MOST_ROWS": MOST_ROWS,
    }
    return environment


_PAGES = _environment(autoescape=True)
_CARDS = _environment(autoescape=False, finalize=_markdown)
