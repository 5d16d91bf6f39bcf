"""The Keras model as the reference: examined once, so that its input, outputs and scaling are known."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.network.keras2 import answers_of, first_difference
from signs_builder.network.model_file import Opened, weights_sha256
from signs_builder.progress import ignore_progress
from signs_export.config import Scaling
from signs_export.errors import ExportError
from signs_export.source.fitting import Fitted, both_labels, fit_input, input_of, with_both_labels, with_sigmoid
from signs_export.source.layers import convolving_by_group
from signs_export.source.scaling import choose_scaling, scale
from signs_runtime.labels import Thresholds
from signs_runtime.pictures.input_spec import InputSpec, Reading

BATCH = 32  # pictures at once through Keras
_LOGIT_LAYERS = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.GlobalAveragePooling2D)
_BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")  # losses for several labels a picture
_PASSING_LAYERS = (keras.layers.Activation, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)
MOST_LOST = 1e-3  # of a probability; a float64 copy that differs by more computes something else
SUM_ATOL = 1e-3  # how far from 1 the sum of a row of probabilities may be; half precision gives 5e-4


Kind = Literal["softmax", "logits", "sigmoid", "logit", "sigmoids", "many logits"]  # of a model's outputs


@dataclass(frozen=True)
class Original:
    """The classifier in Keras 2, from which the model was rebuilt in Keras 3; its answers are the reference."""

    opened: Opened
    fitted: Fitted
    kind: "Kind"

    def values(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Its outputs for scaled pixels (n, h, w, c), in the form that the reference gives."""
        model = self.opened.original
        given = answers_of(model, self.fitted.before(pixels), model.inputs[0].shape[0])
        if self.kind in ("logit", "many logits"):
            given = 1 / (1 + np.exp(-given))
        return both_labels(given) if self.kind in ("sigmoid", "logit") else given

    def first_difference(self, pixels: NDArray[Any]) -> str:
        """The first layer whose output differs in Keras 3."""
        return first_difference(self.opened.original, self.opened.model, self.fitted.before(pixels))


@dataclass(frozen=True)
class Reference:
    """A Keras image classifier with its input, its scaling, and whether it gives logits."""

    model: keras.Model
    input: InputSpec
    scaling: Scaling
    gives_logits: bool
    classes: int
    precision: Literal["float32", "float64"] = "float32"
    original: Original | None = field(default=None, repr=False)
    takes_alpha: bool = False  # a fourth channel, which is added after the colours, scaled like them
    has_sigmoids: bool = False  # each output is an independent probability
    thresholds: Thresholds = ()  # of a multi-label classifier: one for each label
    temperature: float = 1.0  # `model` divides its logits by it
    untempered: "Reference | None" = field(default=None, repr=False)  # before `model` got its temperature
    unsure_below: float = 0.0  # the probability below which a picture counts as none of the labels

    @cached_property
    def weights_sha256(self) -> str:
        """The digest that identifies the weights in the bundle, its models and its proof; computed on first use."""
        return weights_sha256(self.model)

    def probabilities(
        self, images: NDArray[np.uint8], on_done: Callable[[int], None] = ignore_progress
    ) -> NDArray[Any]:
        """Keras's probabilities (n, classes) in `precision`, from images uint8 (n, *input.shape), BATCH at a time."""
        outputs = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            filled = np.zeros((BATCH, *batch.shape[1:]), np.uint8)  # Keras compiles again for each batch size
            filled[: len(batch)] = batch
            with convolving_by_group() if self.precision == "float64" else nullcontext():
                given = self.model.predict_on_batch(self.scaled(filled))
            outputs.append(keras.tree.flatten(given)[0][: len(batch)])  # one output, perhaps in a dict or a list
            on_done(len(batch))
        return self._finished(outputs)

    def original_probabilities(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """The probabilities from the Keras that saved the model; the same as `probabilities` if it was not rebuilt."""
        if self.original is None:
            return self.probabilities(images)
        starts = range(0, len(images), BATCH)
        return self._finished([self.original.values(self.scaled(images[start : start + BATCH])) for start in starts])

    def uncompiled_probabilities(self, images: NDArray[np.uint8], batch_size: int = BATCH) -> NDArray[Any]:
        """Keras's probabilities, computed uncompiled, layer by layer: sums in other orders, other rounding errors."""
        outputs = []
        for start in range(0, len(images), batch_size):
            pixels = keras.ops.convert_to_tensor(self.scaled(images[start : start + batch_size]))
            with convolving_by_group():
                outputs.append(keras.ops.convert_to_numpy(keras.tree.flatten(self.model(pixels, training=False))[0]))
        return self._finished(outputs)

    def _finished(self, outputs: list[NDArray[Any]]) -> NDArray[Any]:
        """Probabilities (n, classes) from the model's outputs, a list of batches."""
        values = np.concatenate(outputs).astype(self.precision).reshape(-1, self.classes)
        return softmax(values) if self.gives_logits else values

    def scaled(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """The Keras model's input: pixels uint8 (n, *input.shape), scaled, in `precision`."""
        values: NDArray[Any] = scale(images.astype(self.precision), self.scaling)
        return values

    def in_float64(self) -> "Reference":
        """The same classifier, computing in float64. Raises ExportError if a layer cannot, or if the answers differ."""

        def doubled(operation: keras.Operation) -> keras.Operation:  # not all operations are layers, such as x + y
            own = {"dtype": "float64"} if isinstance(operation, keras.layers.Layer) else {}
            return type(operation).from_config({**operation.get_config(), **own})

        try:
            model = keras.models.clone_model(self.model, clone_function=doubled, recursive=True)
            model.set_weights(self.model.get_weights())
            for layer in model._flatten_layers():
                if isinstance(layer, keras.layers.Normalization):
                    layer.finalize_state()  # takes its mean and variance from the weights
            double = replace(self, model=model, precision="float64")
            images = noise(self.input)
            difference = float(np.abs(double.probabilities(images) - self.probabilities(images)).max())
        except Exception as error:  # custom layers may raise anything
            raise ExportError(f"The model cannot be computed in float64: {error}") from error
        if not difference <= MOST_LOST:
            raise ExportError(f"The model's answers change in float64: probabilities differ by {difference:.1e}.")
        return double


def examine(
    model: keras.Model | Opened,
    *,
    scaling: Scaling | None = None,
    image_size: tuple[int, int] | None = None,
    reading: Reading = Reading(),  # noqa: B008  # frozen
    logits: bool = False,
    multi_label: bool = False,
) -> Reference:
    """Examine a Keras model: its input, its outputs and its scaling.

    `image_size` (height, width) is for a model that takes any size; `reading` is how its training read pictures.
    `logits`: its outputs are logits; `multi_label`: pictures may have several labels. Raises ExportError for a model
    that is not an image classifier with one input and one output of probabilities or logits, that has weights that are
    not finite, or that needs `scaling`.
    """
    opened = model if isinstance(model, Opened) else Opened(model, None)
    model = opened.model
    spec = input_of(model, image_size, reading)
    _check_outputs(model)
    chosen = choose_scaling(model, scaling, spec.shape[2])
    fitted = fit_input(model, spec, chosen)
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ExportError(f"The weight {weight.path} is not finite (NaN or infinite). Train the model again.")
    _refuse_half_precision(model)
    kind = _kind_of(fitted.model, spec, chosen, logits=logits, loss=_loss_for_logits(opened), multi_label=multi_label)
    whole = fitted.model
    if kind in ("logit", "many logits"):
        whole = with_sigmoid(whole)
    if kind in ("logit", "sigmoid"):
        whole = with_both_labels(whole)
    original = None if opened.original is None else Original(opened, fitted, kind)
    return Reference(
        whole,
        spec,
        chosen,
        kind == "logits",
        int(whole.outputs[0].shape[1]),
        original=original,
        takes_alpha=len(model.inputs[0].shape) == 4 and model.inputs[0].shape[3] == 4,
        has_sigmoids=kind in ("sigmoids", "many logits"),
    )


def _check_outputs(model: keras.Model) -> None:
    if len(model.outputs) != 1:
        raise ExportError(
            f"The model has {len(model.outputs)} outputs; a classifier has one. Save it with that output only."
        )
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 1:
        raise ExportError(
            f"The model's output is {shape}; a classifier's is (batch, classes): a softmax, logits, several "
            "sigmoids, or one sigmoid for two classes."
        )


def _loss_for_logits(opened: Opened) -> str:
    """The class of the loss that a model was compiled with, if that takes logits; otherwise ""."""
    loss = opened.configuration.loss if opened.configuration is not None else getattr(opened.model, "loss", None)
    if isinstance(loss, keras.losses.Loss):
        loss = {"class_name": type(loss).__name__, "config": loss.get_config()}
    config = loss.get("config") if isinstance(loss, dict) else None
    is_for_logits = isinstance(config, dict) and config.get("from_logits") is True
    return str(loss.get("class_name", "")) if is_for_logits and isinstance(loss, dict) else ""


def _kind_of(
    model: keras.Model, spec: InputSpec, scaling: Scaling, *, logits: bool, loss: str, multi_label: bool
) -> Kind:
    """Find out what a model's outputs are. They are logits only if `logits` is set or `loss` names one for logits.

    `multi_label`: several logits belong to independent labels. Raises ExportError if the outputs are not a
    classifier's.
    """
    classes = int(model.outputs[0].shape[1])
    raw = Reference(model, spec, scaling, gives_logits=False, classes=classes)
    try:
        outputs = raw.probabilities(noise(spec))
    except Exception as error:  # layers raise various errors for a size that does not fit
        raise ExportError(f"The model cannot take pictures of {spec.height}x{spec.width}: {error}") from error
    if not np.isfinite(outputs).all():
        raise ExportError("The model answers pictures with NaN or infinite numbers. Check its weights.")
    last, activation = last_activation(model.outputs[0])
    sums_to_1 = classes > 1 and (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=SUM_ATOL)
    if sums_to_1 and activation != "sigmoid":
        return "softmax"
    what = f"The model ends in {last.name} ({type(last).__name__}, activation {activation})"
    if activation == "sigmoid":
        return "sigmoid" if classes == 1 else "sigmoids"
    if isinstance(last, keras.layers.TFSMLayer) and not logits and (outputs >= 0).all() and (outputs <= 1).all():
        return "sigmoid" if classes == 1 else "sigmoids"  # a graph has no layers to look at
    if activation == "linear" and isinstance(last, _LOGIT_LAYERS):
        if logits or loss:
            if classes == 1:
                return "logit"
            return "many logits" if multi_label or loss in _BINARY else "logits"
        raise ExportError(
            f"{what} and was not compiled with a loss for logits (from_logits=True). Its outputs may be logits or "
            "something else, such as a regression's. If they are logits, pass --logits."
        )
    raise ExportError(
        f"{what}, so its outputs are not a classifier's. End it in a softmax, in sigmoids, or in a layer without an "
        "activation (logits)."
    )


def last_activation(tensor: keras.KerasTensor) -> tuple[keras.Operation, str]:
    """The last operation that does more than pass values on to this output, and its activation."""
    while True:
        operation = tensor._keras_history.operation
        activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
        if type(operation).__name__ == "Sigmoid":  # Keras's operation, which is not a layer
            activation = "sigmoid"
        if isinstance(operation, keras.Model):
            tensor = operation.outputs[0]
        elif isinstance(operation, _PASSING_LAYERS) and activation == "linear":
            tensor = keras.tree.flatten(operation.input)[0]
        else:
            return operation, activation


def _refuse_half_precision(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if layer.compute_dtype != "float32" and layer.weights:
            raise ExportError(
                f"The layer {layer.name} computes in {layer.compute_dtype}, which onnxruntime rounds differently from "
                "Keras. Build the model under the policy float32, copy this model's weights to it, and save that."
            )


def noise(spec: InputSpec) -> NDArray[np.uint8]:
    """Eight images of random noise, uint8 (8, *spec.shape), to see what a model gives."""
    return np.random.default_rng(0).integers(0, 256, (8, *spec.shape), np.uint8)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities (n, classes) from logits of the same shape and precision."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
    return result
