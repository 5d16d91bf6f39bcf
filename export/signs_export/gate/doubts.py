"""What is doubtful about a proof: an accuracy that chance explains, labels in another order, stages not compared."""

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.evaluation.evaluate import count_confusion
from signs_export.gate.evidence import Evidence
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
    truth, said = truth.argmax(axis=1), evidence.expected[evidence.is_test].argmax(axis=1)
    return (*_near_chance(accuracy, truth, len(evidence.labels)), *_other_order(accuracy, truth, said, evidence.labels))


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


def _other_order(
    accuracy: Accuracy, truth: NDArray[np.int64], said: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[str, ...]:
    """Another order of the labels that gets far more right: found on half of the pictures, tried on the others."""
    in_order = np.argsort(truth, kind="stable")
    ranks = np.empty(len(truth), np.int64)
    ranks[in_order] = np.arange(len(truth))
    right = 0
    for half in (0, 1):
        found, tried = ranks % 2 == half, ranks % 2 != half
        meant = _best_order(truth[found], said[found], len(labels))
        right += int((meant[said[tried]] == truth[tried]).sum())
    reordered = Accuracy(right, accuracy.total)
    if reordered.interval[0] <= accuracy.interval[1]:
        return ()
    meant = _best_order(truth, said, len(labels))
    named = ", ".join(labels[i] for i in meant[:_MOST_NAMED])
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return (
        f"The labels seem to be in another order than the model's outputs: as they are, Keras gets {accuracy} of the "
        f"test pictures right, and in another order {reordered}. The order that fits is {named}{more}. Name the "
        "folders of the classes so that they sort as in the training (01_..., 02_...).",
    )


def _best_order(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """For each output the label that it means, each label once: the pairs that occur most often come first."""
    counts = count_confusion(truth, said, classes)
    shown, given = np.nonzero(counts)
    meant = np.full(classes, -1)
    free = np.ones(classes, np.bool_)
    for pair in np.argsort(-counts[shown, given], kind="stable"):
        if meant[given[pair]] < 0 and free[shown[pair]]:
            meant[given[pair]], free[shown[pair]] = shown[pair], False
    meant[meant < 0] = np.flatnonzero(free)
    return meant
