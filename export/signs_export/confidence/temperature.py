"""Fits one temperature for all logits, so that probabilities match the accuracy. No label changes.

Guo et al., 2017, https://arxiv.org/abs/1706.04599.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from signs_builder.data.dataset import Split
from signs_builder.evaluation.reliability import Reliability, reliability
from signs_builder.progress import ignore_progress
from signs_export.confidence.asking import ask
from signs_export.errors import ExportError
from signs_export.job import Job
from signs_export.source.fitting import has_both_labels, probability_of, with_both_labels
from signs_export.source.reference import MOST_LOST, Reference, last_activation, noise, softmax
from signs_runtime.bundle.onnx_metadata import TEMPERATURE_KEY

MOST_PICTURES = 1000  # on which it is fitted
LARGEST = 20.0  # temperature; 1 / LARGEST is the smallest
# Layers whose activation can be split off.
_ACTIVATED = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.Activation, keras.layers.Softmax)
_Z = 1.644854  # the normal distribution's 95% point


@dataclass(frozen=True)
class Calibrated:
    """A temperature, and its effect on the test pictures, on which it was not fitted."""

    temperature: float
    pictures: int  # on which it was fitted
    may_be_trained_on: bool  # the model may have been trained on these pictures
    before: Reliability
    after: Reliability
    loss_before: float  # the mean of -log of the true label's probability
    loss_after: float
    is_kept: bool  # False: it makes the test pictures worse, and is left out

    def describe(self) -> str:
        """Describe it for people, in one line."""
        left_out = "" if self.is_kept else " (left out)"
        return (
            f"Temperature {self.temperature:.3g}{left_out}, fitted on {self.pictures:,} pictures. On the test "
            f"pictures, the expected calibration error goes from {self.before.error:.1%} to {self.after.error:.1%}, "
            f"and the log loss from {self.loss_before:.4g} to {self.loss_after:.4g}."
        )


def calibrate(job: Job) -> tuple[Job, Calibrated]:
    """Fit a temperature on pictures that are not test pictures, and return the job with the model that divides by it.

    If it makes the test pictures worse, the job stays as it was and warns. This must be significant, unless it was
    fitted on pictures that the model may have been trained on. Raises ExportError for a multi-label model, and for one
    whose logits cannot be divided.
    """
    reference, dataset = job.reference, job.dataset
    if reference.thresholds or reference.has_sigmoids:
        raise ExportError("--calibrate needs a softmax or one sigmoid; this model has a sigmoid for each label.")
    pictures = job.held_out or dataset.all_but_test
    fitted, test = pictures.part(pictures.mixed()[:MOST_PICTURES]), dataset.test.thin(job.config.parity_pictures)
    with job.progress("Fitting a temperature", len(fitted) + len(test)) as on_done:
        found = _logits(reference)
        given, asked = (_scores(reference, found, each, on_done) for each in (fitted, test))
    temperature = fit_temperature(given, fitted.labels)
    before, after = softmax(asked), softmax(asked / temperature)
    worse = _losses(after, test.labels) - _losses(before, test.labels)
    known = job.held_out is None
    calibrated = Calibrated(
        temperature,
        pictures=len(fitted),
        may_be_trained_on=known,
        before=_reliability(before, test.labels),
        after=_reliability(after, test.labels),
        loss_before=float(_losses(before, test.labels).mean()),
        loss_after=float(_losses(after, test.labels).mean()),
        is_kept=not (worse.mean() > 0 if known else _is_above_0(worse)),
    )
    if not calibrated.is_kept:
        advice = " Add validation pictures that the model was not trained on." if known else ""
        job.warn(
            f"The probabilities stay as they are, without a temperature. A temperature of {temperature:.3g}, fitted on "
            f"{len(fitted):,} pictures, makes the test pictures worse: the log loss goes from "
            f"{calibrated.loss_before:.3g} to {calibrated.loss_after:.3g}.{advice}"
        )
        return job, calibrated
    return replace(job, reference=tempered(reference, temperature)), calibrated


def fit_temperature(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature at which the softmax of scores (n, classes) makes the labels (n,) most likely.

    If every picture is right, a lower temperature would always score better. So each label counts as right n + 1 times
    in n + 2: this is Laplace's rule of succession, which Platt uses.
    """
    count, classes = scores.shape
    doubt = 1 / (count + 2)
    aim = np.full(scores.shape, doubt / (classes - 1))
    aim[np.arange(count), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        return float(-(aim * (scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))).sum())

    most = float(np.log(LARGEST))
    found = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def tempered(reference: Reference, temperature: float) -> Reference:
    """The classifier with its logits divided by a temperature in Keras, so that it is exported and proved with it.

    It only adds layers without weights, so the weights' digest stays the same. Raises ExportError if its answers do not
    follow from the original model's.
    """
    model = reference.model
    found = _logits(reference)
    if found is None:
        given = _cooled_behind(model, 1 / temperature)
    else:
        logits, activation = found
        given = keras.layers.Rescaling(1 / temperature, name="signs_temperature")(logits.outputs[0])
        if not reference.gives_logits:
            given = keras.layers.Activation(activation, name="signs_probabilities")(given)
        model = logits
    cooled = keras.Model(model.inputs[0], given, name=reference.model.name)
    if has_both_labels(reference.model) and found is not None:
        both = with_both_labels(cooled)
        cooled = keras.Model(both.inputs[0], both.outputs[0], name=reference.model.name)
    changed = replace(reference, model=cooled, original=None, temperature=temperature, untempered=reference)
    images = noise(reference.input)
    wanted = softmax(_scores(reference, found, images) / temperature)
    if not np.abs(changed.probabilities(images) - wanted).max() <= MOST_LOST:
        raise ExportError("--calibrate: this model's logits cannot be divided by a temperature. Leave out --calibrate.")
    return changed


def temperature_of(file: Path) -> float:
    """The temperature in an exported .onnx file's metadata; 1 if there is none. Raises ExportError."""
    said = {each.key: each.value for each in onnx.load(file, load_external_data=False).metadata_props}
    try:
        temperature = float(said.get(TEMPERATURE_KEY, 1))
    except ValueError:
        temperature = 0.0
    if not 0 < temperature < float("inf"):
        raise ExportError(
            f"{file}: its metadata has the temperature {said[TEMPERATURE_KEY]!r:.80}, which is not valid. "
            "Export the model again."
        )
    return temperature


def _logits(reference: Reference) -> tuple[keras.Model, str] | None:
    """A copy of the model that outputs its logits, (n, classes) or (n, 1), and the activation after them.

    None if no layer separates the two, or if that layer does something else as well.
    """
    model = reference.model
    if reference.gives_logits:
        return model, "softmax"
    last, activation = last_activation(probability_of(model))
    activation = "softmax" if type(last) is keras.layers.Softmax else activation
    if type(last) not in _ACTIVATED or activation not in ("softmax", "sigmoid"):
        return None

    def cloned(operation: Any) -> Any:  # Any: a Keras operation; not all are layers
        config = operation.get_config()
        if operation is not last:
            return type(operation).from_config(config)
        if isinstance(last, keras.layers.Softmax):
            return keras.layers.Activation("linear", name=last.name)
        return type(operation).from_config({**config, "activation": "linear"})

    try:
        copy = keras.models.clone_model(model, clone_function=cloned, recursive=True)
        copy.set_weights(model.get_weights())
        for layer in copy._flatten_layers():
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # takes its mean and variance from the weights
        logits = keras.Model(copy.inputs[0], probability_of(copy))
        images = noise(reference.input)
        given = softmax(_scores(reference, (logits, activation), images))
        is_same = np.abs(given - reference.probabilities(images)).max() <= MOST_LOST
    except Exception:  # custom layers can raise anything
        return None
    return (logits, activation) if is_same else None


def _cooled_behind(model: keras.Model, cooling: float) -> keras.KerasTensor:
    """A second softmax after the model, of the scaled logarithms of its probabilities."""
    least = _least(model)
    logs = keras.ops.log(keras.ops.clip(model.outputs[0], least, 1 - least))
    scaled = keras.layers.Rescaling(cooling, name="signs_temperature")(logs)
    return keras.layers.Activation("softmax", name="signs_probabilities")(scaled)


def _scores(
    reference: Reference,
    found: tuple[keras.Model, str] | None,
    pictures: NDArray[np.uint8] | Split,
    on_done: Callable[[int], None] = ignore_progress,
) -> NDArray[np.float64]:
    """The numbers (n, classes) whose softmax gives the model's probabilities."""
    asked = reference
    if found is not None:
        asked = replace(reference, model=found[0], gives_logits=False, classes=int(found[0].outputs[0].shape[1]))
    given = ask(asked, pictures, on_done) if isinstance(pictures, Split) else asked.probabilities(pictures)
    if found is None:
        least = _least(reference.model)
        return np.asarray(np.log(np.clip(given.astype(np.float64), least, 1 - least)))
    scores = given.astype(np.float64)
    return np.concatenate([np.zeros_like(scores), scores], axis=1) if found[1] == "sigmoid" else scores


def _least(model: keras.Model) -> float:
    """The least probability with a meaningful logarithm: 1 - p, of one sigmoid, has only 24 binary digits."""
    return 2.0**-24 if has_both_labels(model) else 1e-30


def _reliability(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> Reliability:
    return reliability(rows.max(axis=1), rows.argmax(axis=1) == labels)


def _losses(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = -np.log(np.maximum(rows[np.arange(len(rows)), labels], 1e-30))
    return losses


def _is_above_0(values: NDArray[np.float64]) -> bool:
    """Whether the mean is significantly above 0: by more than chance shows in 19 of 20 such samples."""
    return bool(values.mean() > _Z * values.std() / np.sqrt(len(values)))
