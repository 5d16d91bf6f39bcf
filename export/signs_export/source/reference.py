"""The Keras model as the reference: examined once, so that everything that follows knows what goes in and comes out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.network.model_file import weights_sha256
from signs_builder.progress import ignore_progress
from signs_export.config import Scaling
from signs_export.errors import ExportError
from signs_export.source.scaling import choose_scaling, scale
from signs_runtime.pictures.input_spec import MAX_SIDE, InputSpec, ResizeFilter

BATCH = 32  # pictures at once through Keras
_LOGIT_LAYERS = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.GlobalAveragePooling2D)
_PASSING_LAYERS = (keras.layers.Activation, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)
MOST_LOST = 1e-3  # of a probability, by float32; a copy in float64 that differs by more is another model
SUM_ATOL = 1e-3  # how far from 1 a row of probabilities may sum: half precision gives 5e-4


@dataclass(frozen=True)
class Reference:
    """A Keras image classifier, with what it wants to see (`input`, `scaling`) and whether it gives logits."""

    model: keras.Model
    input: InputSpec
    scaling: Scaling
    gives_logits: bool
    classes: int
    precision: Literal["float32", "float64"] = "float32"

    @cached_property
    def weights_sha256(self) -> str:
        """What the bundle, its models and its proof call the weights; hashed once, the first time it is asked."""
        return weights_sha256(self.model)

    def probabilities(
        self, images: NDArray[np.uint8], on_done: Callable[[int], None] = ignore_progress
    ) -> NDArray[Any]:
        """What Keras says: uint8 (n, *input.shape) in, (n, classes) in `precision` out, in batches of BATCH."""
        outputs = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            filled = np.zeros((BATCH, *batch.shape[1:]), np.uint8)  # Keras compiles anew for each size of a batch
            filled[: len(batch)] = batch
            given = self.model.predict_on_batch(self.scaled(filled))
            outputs.append(keras.tree.flatten(given)[0][: len(batch)])  # one output, perhaps in a dict or a list
            on_done(len(batch))
        return self._finished(outputs)

    def uncompiled_probabilities(self, images: NDArray[np.uint8], batch_size: int = BATCH) -> NDArray[Any]:
        """What Keras says uncompiled, layer by layer: the same sums in other orders, which lose other digits."""
        outputs = []
        for start in range(0, len(images), batch_size):
            pixels = keras.ops.convert_to_tensor(self.scaled(images[start : start + batch_size]))
            outputs.append(keras.ops.convert_to_numpy(keras.tree.flatten(self.model(pixels, training=False))[0]))
        return self._finished(outputs)

    def _finished(self, outputs: list[NDArray[Any]]) -> NDArray[Any]:
        """Probabilities (n, classes) of what the model gave, batch by batch."""
        values = np.concatenate(outputs).astype(self.precision).reshape(-1, self.classes)
        return softmax(values) if self.gives_logits else values

    def scaled(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """What the Keras model takes: pixels uint8 (n, *input.shape), scaled, in `precision`."""
        values: NDArray[Any] = scale(images.astype(self.precision), self.scaling)
        return values

    def in_float64(self) -> "Reference":
        """The same classifier, computing in float64. Raises ExportError where a layer cannot, or answers otherwise."""

        def doubled(operation: keras.Operation) -> keras.Operation:  # not all are layers: x + y is none
            own = {"dtype": "float64"} if isinstance(operation, keras.layers.Layer) else {}
            return type(operation).from_config({**operation.get_config(), **own})

        try:
            model = keras.models.clone_model(self.model, clone_function=doubled, recursive=True)
            model.set_weights(self.model.get_weights())
            for layer in model._flatten_layers():
                if isinstance(layer, keras.layers.Normalization):
                    layer.finalize_state()  # takes its mean and variance from the weights
            double = replace(self, model=model, precision="float64")
            noise = _noise(self.input)
            difference = float(np.abs(double.probabilities(noise) - self.probabilities(noise)).max())
        except Exception as error:  # layers of other people's raise whatever they like
            raise ExportError(f"The model cannot be computed in float64: {error}") from error
        if not difference <= MOST_LOST:
            raise ExportError(f"The model answers otherwise in float64: probabilities differ by {difference:.1e}.")
        return double


def examine(
    model: keras.Model,
    *,
    scaling: Scaling | None = None,
    image_size: tuple[int, int] | None = None,
    resize: ResizeFilter = "bilinear",
) -> Reference:
    """Find out what a Keras model takes and gives.

    `image_size` (height, width) is for a model that takes any size. Raises ExportError for a model that is no image
    classifier with one input and one softmax or logit output, has weights that are not finite, or needs `scaling`.
    """
    spec = _input_of(model, image_size, resize)
    classes = _classes_of(model)
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ExportError(f"The weight {weight.path} is not finite (NaN or infinite); train the model again.")
    _refuse_half_precision(model)
    raw = Reference(model, spec, choose_scaling(model, scaling), gives_logits=False, classes=classes)
    try:
        outputs = raw.probabilities(_noise(spec))
    except Exception as error:  # Keras raises whatever its layers make of a size that does not fit
        raise ExportError(f"The model cannot take pictures of {spec.height}x{spec.width}: {error}") from error
    return replace(raw, gives_logits=_gives_logits(model, outputs))


def _input_of(model: keras.Model, image_size: tuple[int, int] | None, resize: ResizeFilter) -> InputSpec:
    if not model.built or not getattr(model, "inputs", None):
        raise ExportError("The model does not say what it takes; build it with a keras.Input and save it again.")
    if len(model.inputs) != 1:
        names = ", ".join(each.name for each in model.inputs)
        raise ExportError(f"The model has {len(model.inputs)} inputs ({names}); an image classifier has one.")
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        hint = " Pictures must be channels-last." if len(shape) == 4 and shape[1] in (1, 3) else ""
        raise ExportError(f"The model takes {shape}; an image classifier takes (batch, height, width, 1 or 3).{hint}")
    height, width = shape[1] or (image_size or (None, None))[0], shape[2] or (image_size or (None, None))[1]
    if height is None or width is None:
        raise ExportError(f"The model takes pictures of any size, {shape}; say which with --image-size HEIGHTxWIDTH.")
    if max(height, width) > MAX_SIDE:
        raise ExportError(f"An input of {height}x{width} pixels is more than the {MAX_SIDE} a side that bundles hold.")
    if image_size not in (None, (height, width)):
        raise ExportError(f"The model takes {height}x{width} pixels; --image-size cannot change that.")
    return InputSpec(height, width, "RGB" if shape[3] == 3 else "L", resize)


def _classes_of(model: keras.Model) -> int:
    if len(model.outputs) != 1:
        raise ExportError(f"The model has {len(model.outputs)} outputs; a classifier has one.")
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 2:
        raise ExportError(
            f"The model gives {shape}; a classifier gives (batch, classes) with a softmax or logits for two classes or "
            "more. One sigmoid is not exported: train with a softmax over two classes."
        )
    return shape[1]


def _gives_logits(model: keras.Model, outputs: NDArray[np.float32]) -> bool:
    """Probabilities are told by what they are; anything else must come from a layer without an activation."""
    if not np.isfinite(outputs).all():
        raise ExportError("The model answers pictures with NaN or infinite numbers; look at its weights.")
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=SUM_ATOL):
        return False
    last, activation = _last_activation(model)
    if activation == "linear" and isinstance(last, _LOGIT_LAYERS):
        return True
    raise ExportError(
        f"The model ends in {last.name} ({type(last).__name__}, activation {activation}): neither a softmax nor the "
        "logits of a layer without an activation. End it in one of these."
    )


def _last_activation(model: keras.Model) -> tuple[keras.Operation, str]:
    """What gives the outputs their values: the last operation that does more than pass them on."""
    tensor = model.outputs[0]
    while True:
        operation = tensor._keras_history.operation
        activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
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
                f"The layer {layer.name} computes in {layer.compute_dtype}, which onnxruntime does not round as Keras "
                "does. Build the model under the policy float32, set its weights from this one, and save that."
            )


def _noise(spec: InputSpec) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (8, *spec.shape), np.uint8)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities (n, classes) from logits of the same shape and precision."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
    return result
