"""Looks at parts of pictures that a classifier is unsure about: what they show may be too small for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_runtime.classifier import Classifier, Prediction
from signs_runtime.errors import SignsError
from signs_runtime.pictures.read import stages

UNSURE_BELOW, SURE_FROM = 0.9, 0.95  # probabilities: of the whole picture, and of a part
SHARES = (2 / 3, 1 / 2)  # of the picture's sides
PLACES = ("left", "middle", "right")
ROWS = ("upper", "middle", "lower")
LARGER = 2  # a picture must have this many times the model's pixels in each direction
LARGEST = 2**24  # pixels of a picture, which is read a second time
AGREEING = 2  # parts must be sure of the same label, and none of another

Part = tuple[str, NDArray[np.uint8]]  # its place and its pixels


def is_unsure(classifier: Classifier, prediction: Prediction) -> bool:
    """Whether a closer look at the picture may help."""
    return not classifier.thresholds and prediction.probability < max(UNSURE_BELOW, classifier.threshold)


def advise(classifier: Classifier, picture: Path, prediction: Prediction) -> str:
    """What to do about a picture if the classifier is surer of parts of it; otherwise "".

    A classifier sees the whole picture in its own few pixels. A hand that is small in the picture has few of them. The
    closer look takes 18 predictions.
    """
    try:
        sure = _sure_parts(classifier, picture)
    except (SignsError, MemoryError):
        return ""  # the picture has its label; only the advice is lost
    if len(sure) < AGREEING or len({answer.label for _, answer in sure}) > 1:
        return ""
    place, best = max(sure, key=lambda each: each[1].probability)
    return (
        f"{picture}: the model is surer of parts of this picture ({place}: {best.label}, {best.probability:.0%}) than "
        f"of all of it ({prediction.probability:.0%}). What it shows may be too small: crop the picture around it."
    )


def _sure_parts(classifier: Classifier, picture: Path) -> list[tuple[str, Prediction]]:
    if not picture.is_file():  # a pipe can be read only once
        return []
    image = np.zeros((0, 0, 3), np.uint8)
    for name, stage in stages(picture, classifier.input):
        if stage.size and name == "decoded" and np.prod(stage.size) > LARGEST:
            return []
        if name == "colour":
            image = np.asarray(stage)
            break
    parts = list(_parts(image, classifier))
    step = classifier.batch if classifier.placement.device == "cpu" else len(parts) or 1
    answers: list[Prediction] = []
    for start in range(0, len(parts), step):
        answers += classifier.predict_batch([pixels for _, pixels in parts[start : start + step]])
    places = [place for place, _ in parts]
    return [each for each in zip(places, answers, strict=True) if _is_sure(each[1], classifier)]


def _is_sure(answer: Prediction, classifier: Classifier) -> bool:
    return answer.probability >= max(SURE_FROM, classifier.threshold)


def _parts(image: NDArray[np.uint8], classifier: Classifier) -> Iterator[Part]:
    """Overlapping parts of a picture (h, w) or (h, w, channels); none if its pixels are few."""
    image = image if image.ndim == 3 else image[:, :, None]
    height, width = image.shape[:2]
    if height < LARGER * classifier.input.height or width < LARGER * classifier.input.width:
        return
    for share in SHARES:
        rows, columns = int(share * height), int(share * width)
        for row, top in zip(ROWS, np.linspace(0, height - rows, len(ROWS)).astype(int), strict=True):
            for place, left in zip(PLACES, np.linspace(0, width - columns, len(PLACES)).astype(int), strict=True):
                yield f"{row} {place}", image[top : top + rows, left : left + columns]
