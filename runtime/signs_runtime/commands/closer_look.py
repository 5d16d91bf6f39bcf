"""Looks at parts of pictures that a classifier is unsure about: what they show may be too small for it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_runtime.classifier import Classifier, Prediction
from signs_runtime.errors import SignsError

UNSURE_BELOW, SURE_FROM = 0.9, 0.95  # probabilities: of the whole picture, and of a part
SHARES = (2 / 3, 1 / 2)  # of the picture's sides
PLACES = 3  # parts across, and as many down
LARGER = 2  # a picture must have this many times the model's pixels in each direction


def advise(classifier: Classifier, picture: Path, prediction: Prediction) -> str:
    """What to do about a picture if the classifier is surer of a part of it; otherwise "".

    A classifier sees the whole picture in its own few pixels. A hand that is small in the picture has few of them.
    """
    if classifier.thresholds or prediction.probability >= UNSURE_BELOW:
        return ""
    try:
        image = np.asarray(classifier.stages(picture)["colour"])
        answers = classifier.predict_batch(_parts(image, classifier))
    except (SignsError, MemoryError):
        return ""  # the picture has its label; only the advice is lost
    best = max((answer.probability for answer in answers), default=0.0)
    if best < SURE_FROM:
        return ""
    return (
        f"{picture}: the model is surer of a part of this picture (up to {best:.0%}) than of all of it "
        f"({prediction.probability:.0%}). What it shows may be too small: crop the picture around it."
    )


def _parts(image: NDArray[np.uint8], classifier: Classifier) -> list[NDArray[np.uint8]]:
    """Overlapping parts of a picture (h, w) or (h, w, channels); none if its pixels are few."""
    image = image if image.ndim == 3 else image[:, :, None]
    height, width = image.shape[:2]
    if height < LARGER * classifier.input.height or width < LARGER * classifier.input.width:
        return []
    parts = []
    for share in SHARES:
        rows, columns = int(share * height), int(share * width)
        for top in np.linspace(0, height - rows, PLACES).astype(int):
            for left in np.linspace(0, width - columns, PLACES).astype(int):
                parts.append(image[top : top + rows, left : left + columns])
    return parts
