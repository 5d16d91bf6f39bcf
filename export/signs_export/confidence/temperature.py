"""One temperature for all logits, so that probabilities are as often right as they say, and no label changes.

Guo et al., 2017, https://arxiv.org/abs/1706.04599.
"""

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
from signs_export.errors import ExportError
from signs_export.job import Job
from signs_export.source.fitting import probability_of
from signs_export.source.reference import Reference, last_activation
from signs_runtime.bundle.onnx_metadata import TEMPERATURE_KEY

MOST_PICTURES = 1000  # that it is fitted on
LARGEST = 20.0  # and 1 / LARGEST the smallest
_ACTIVATED = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.Activation)  # whose activation can be put apart
_Z = 1.644854  # the normal distribution's 95% point
_TINY = 1e-30  # of a probability, whose logarithm is asked for


@dataclass(frozen=True)
class Calibrated:
    """A temperature, and what it does to the test pictures, on which it was not fitted."""

    temperature: float
    pictures: int  # that it was fitted on
    may_be_trained_on: bool  # the network may have learnt these pictures
    before: Reliability
    after: Reliability
    loss_before: float  # the mean of -log of the true label's probability
    loss_after: float
    is_kept: bool  # the test pictures' loss is not surely larger for it

    def describe(self) -> str:
        """For people, on a line."""
        left_out = "" if self.is_kept else " (left out)"
        return (
            f"Temperature {self.temperature:.3g}{left_out}, fitted on {self.pictures:,} pictures: on the test pictures "
            f"the expected calibration error goes from {self.before.error:.1%} to {self.after.error:.1%}, the log loss "
            f"from {self.loss_before:.4g} to {self.loss_after:.4g}."
        )


def calibrate(job: Job) -> tuple[Job, Calibrated]:
    """Fit a temperature on pictures that are not the test's, and give the job with the model that divides by it.

    Where the test pictures' loss would surely grow (the network knew the pictures of the fit), the job is as it was and
    hears of it. Raises ExportError for a multi-label classifier.
    """
    reference, dataset = job.reference, job.dataset
    if reference.thresholds:
        raise ExportError("--calibrate is for classifiers that give each picture one label.")
    pictures = job.held_out or dataset.all_but_test
    fitted = pictures.part(pictures.mixed()[:MOST_PICTURES])
    test = dataset.test.part(dataset.test.mixed()[: job.config.parity_pictures])
    with job.progress("Fitting a temperature", len(fitted) + len(test)) as on_done:
        given, asked = (
            reference.probabilities(split.images(reference.input), on_done).astype(np.float64)
            for split in (fitted, test)
        )
    temperature = fit_temperature(given, fitted.labels)
    cooled = tempered_rows(asked, temperature)
    before, after = (_losses(rows, test.labels) for rows in (asked, cooled))
    found = Calibrated(
        temperature,
        pictures=len(fitted),
        may_be_trained_on=job.held_out is None,
        before=_reliability(asked, test),
        after=_reliability(cooled, test),
        loss_before=float(before.mean()),
        loss_after=float(after.mean()),
        is_kept=not _is_larger(after - before),
    )
    if not found.is_kept:
        job.warn(
            f"The probabilities are as the model has them, without a temperature: the one of {temperature:.3g}, fitted "
            f"on {found.pictures:,} pictures, makes them worse on the test pictures (log loss {found.loss_before:.3g}, "
            f"with it {found.loss_after:.3g}). Give pictures in a validation split that the model was not trained on."
        )
        return job, found
    return replace(job, reference=tempered(reference, temperature)), found


def fit_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature under which the probabilities (n, classes) make the labels (n,) most likely.

    Where every picture is right, any lower one would do better: each label counts as right n + 1 times in n + 2, as
    Laplace's rule of succession and Platt have it.
    """
    scores = np.log(np.maximum(probabilities, _TINY))
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


def tempered_rows(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """What probabilities (n, classes) are once the logits behind them are divided by a temperature."""
    powers = np.maximum(probabilities.astype(np.float64), _TINY) ** (1 / temperature)
    rows: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return rows


def tempered(reference: Reference, temperature: float) -> Reference:
    """The classifier with its logits divided by a temperature, in Keras, so that it is exported and proved with that.

    What it adds are layers without weights, so that the weights' digest is the model's own.
    """
    model = reference.model
    cooling = 1 / temperature
    if reference.gives_logits:
        scaled = keras.layers.Rescaling(cooling, name="signs_temperature")(model.outputs[0])
        cooled = keras.Model(model.inputs[0], scaled, name=model.name)
    else:
        cooled = _with_cooled_activation(model, cooling) or _cooled_behind(model, cooling)
    return replace(reference, model=cooled, original=None, temperature=temperature, untempered=reference)


def _with_cooled_activation(model: keras.Model, cooling: float) -> keras.Model | None:
    """The model with its logits scaled before their activation; None: it has no layer where the two meet."""
    last, activation = last_activation(probability_of(model))
    if activation not in ("softmax", "sigmoid") or type(last) not in _ACTIVATED:
        return None

    def cloned(operation: Any) -> Any:  # Any: a Keras operation; not all are layers
        config = operation.get_config()
        if operation is not last:
            return type(operation).from_config(config)
        return keras.Sequential(
            [
                type(operation).from_config({**config, "activation": "linear"}),
                keras.layers.Rescaling(cooling, name="signs_temperature"),
                keras.layers.Activation(activation, name="signs_probabilities"),
            ],
            name=f"{operation.name}_tempered",
        )

    copy = keras.models.clone_model(model, clone_function=cloned, recursive=True)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return copy


def _cooled_behind(model: keras.Model, cooling: float) -> keras.Model:
    """The model with a second softmax, of the scaled logarithms of its probabilities."""
    logs = keras.ops.log(keras.ops.maximum(model.outputs[0], _TINY))
    scaled = keras.layers.Rescaling(cooling, name="signs_temperature")(logs)
    given = keras.layers.Activation("softmax", name="signs_probabilities")(scaled)
    return keras.Model(model.inputs[0], given, name=model.name)


def temperature_of(file: Path) -> float:
    """The temperature that an exported .onnx file says it has in its graph; 1 where it says none."""
    said = {each.key: each.value for each in onnx.load(file, load_external_data=False).metadata_props}
    return float(said.get(TEMPERATURE_KEY, 1))


def _reliability(rows: NDArray[np.float64], split: Split) -> Reliability:
    return reliability(rows.max(axis=1), rows.argmax(axis=1) == split.labels)


def _losses(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = -np.log(np.maximum(rows[np.arange(len(rows)), labels], _TINY))
    return losses


def _is_larger(differences: NDArray[np.float64]) -> bool:
    """Whether differences are above 0 on average, by more than 19 of 20 such samples would show by chance."""
    return bool(differences.mean() > _Z * differences.std() / np.sqrt(len(differences)))
