"""Finds what is doubtful about a proof: accuracy near chance, labels in another order, stages not compared."""

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
    """What the proof of a model without Keras layers does not cover."""
    if not any(isinstance(layer, keras.layers.TFSMLayer) for layer in layers_of(reference.model)):
        return ()
    return (
        "The model is a TensorFlow graph without Keras layers: only its answers were compared; its stages were not "
        "compared.",
    )


def doubts_about_answers(evidence: Evidence) -> tuple[str, ...]:
    """Doubts about Keras's own answers to the test pictures; empty if there are none."""
    truth = evidence.truth[evidence.is_test]
    accuracy = evidence.accuracy(evidence.expected)
    if evidence.thresholds:
        _, shown = np.unique(truth, axis=0, return_inverse=True)  # each set of labels as a class of its own
        return _near_chance(accuracy, shown.reshape(-1), 2 ** len(evidence.labels))
    truth = truth.argmax(axis=1)
    order = find_order(truth, evidence.expected[evidence.is_test], evidence.labels)
    return (*_near_chance(accuracy, truth, len(evidence.labels)), *_other_order(order, evidence.labels))


def doubts_about_turned(dataset: Dataset, spec: InputSpec) -> tuple[str, ...]:
    """A doubt about pictures with an EXIF orientation, for a model that other code trained."""
    turned, among = dataset.turned() if spec.exif == "turned" else (0, 0)
    if not turned:
        return ()
    return (
        f"{turned:,} of {among:,} pictures are turned by their EXIF orientation. Keras's own loaders do not turn them, "
        "so a model trained with those loaders saw them on their side and may answer worse here. Pass --exif ignored "
        "for such a model, or turn the picture files and train again.",
    )


def _near_chance(accuracy: Accuracy, truth: NDArray[np.int64], classes: int) -> tuple[str, ...]:
    """A doubt if the accuracy is near chance: that of guessing, or of always giving the most frequent label."""
    chance = max(1 / classes, float(np.bincount(truth).max()) / len(truth))
    if accuracy.interval[0] > chance:
        return ()
    return (
        f"Keras itself gets {accuracy} of the test pictures right, which chance ({chance:.1%}) may explain. Check "
        "--scaling, the order of the labels, the colours (--channels), and whether the model was trained for such "
        "pictures; or use more test pictures.",
    )


def _other_order(order: Order, labels: tuple[str, ...]) -> tuple[str, ...]:
    """A doubt if another order of the labels gets more right; if that is beyond doubt, `sense` stops the export."""
    if not order.is_proved or order.other.interval[0] <= order.own.interval[1]:
        return ()
    named = ", ".join(labels[i] for i in order.meant[:_MOST_NAMED])
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return (
        f"The labels may be in the wrong order: Keras gets {order.own} of the test pictures right in this order, but "
        f"{order.other} in another. The order that fits is {named}{more}. Check with signs inspect, and pass the right "
        "order with --labels FILE.",
    )
