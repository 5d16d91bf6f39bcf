"""What is doubtful about a proof: an accuracy that chance explains, labels in another order, stages not compared."""

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_export.gate.evidence import Evidence
from signs_export.inspection.order import Order, find_order
from signs_export.source.layers import layers_of
from signs_export.source.reference import Reference
from signs_runtime.figures import Accuracy
from signs_runtime.pictures.input_spec import InputSpec

_MOST_NAMED = 12  # labels


def doubts_about_stages(reference: Reference) -> tuple[str, ...]:
    """What the proof of a model without Keras's layers cannot tell."""
    if not any(isinstance(layer, keras.layers.TFSMLayer) for layer in layers_of(reference.model)):
        return ()
    return (
        "The model is a graph of TensorFlow's, not one of Keras's layers: its stages were not compared, its answers "
        "were.",
    )


def doubts_about_answers(evidence: Evidence) -> tuple[str, ...]:
    """Sentences about what Keras itself gets right on the test pictures; none where nothing is doubtful."""
    truth = evidence.truth[evidence.is_test]
    accuracy = evidence.accuracy(evidence.expected)
    if evidence.thresholds:
        _, shown = np.unique(truth, axis=0, return_inverse=True)  # each set of labels as a class of its own
        return _near_chance(accuracy, shown.reshape(-1), 2 ** len(evidence.labels))
    truth = truth.argmax(axis=1)
    order = find_order(truth, evidence.expected[evidence.is_test], evidence.labels)
    return (*_near_chance(accuracy, truth, len(evidence.labels)), *_other_order(order, evidence.labels))


def doubts_about_turned(dataset: Dataset, spec: InputSpec) -> tuple[str, ...]:
    """A sentence about pictures that their EXIF orientation turns, for a model that was trained by other code."""
    turned, among = dataset.turned() if spec.exif == "turned" else (0, 0)
    if not turned:
        return ()
    return (
        f"{turned:,} of {among:,} pictures are turned by their EXIF orientation, as cameras mean it. Keras's own "
        "loaders do not turn them: a model that was trained through those saw them lying on their side and may answer "
        "worse here. Say --exif ignored for such a model; or turn the pictures themselves, and train on them.",
    )


def _near_chance(accuracy: Accuracy, truth: NDArray[np.int64], classes: int) -> tuple[str, ...]:
    """Always the same answer, or any, would get `chance` right."""
    chance = max(1 / classes, float(np.bincount(truth).max()) / len(truth))
    if accuracy.interval[0] > chance:
        return ()
    return (
        f"Keras itself gets {accuracy} of the test pictures right, which chance ({chance:.1%}) may explain. Look at "
        "the scaling (--scaling), at the order of the labels, at the colours (RGB or BGR) and at what the pictures "
        "show; or give more test pictures.",
    )


def _other_order(order: Order, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Another order of the labels that gets more right; where that is beyond doubt, nothing is sealed: see `sense`."""
    if not order.is_proved or order.other.interval[0] <= order.own.interval[1]:
        return ()
    named = ", ".join(labels[i] for i in order.meant[:_MOST_NAMED])
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return (
        f"The labels seem to be in another order than the model's outputs: as they are, Keras gets {order.own} of the "
        f"test pictures right, and in another order {order.other}. The order that fits is {named}{more}. signs inspect "
        "looks closer; give the labels by --labels FILE.",
    )
