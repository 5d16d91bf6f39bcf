"""Measures what a precision alone costs: Keras computes again, with each layer rounded to that precision.

How far this moves a stage or the answers is the least that a correct export in this precision must be allowed: a
network that amplifies rounding errors gets wide limits, and one that does not gets narrow ones.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_export.source.layers import convolving_by_group, innermost_layers, readers_of, wrapped_calls
from signs_runtime.bundle.manifest import Precision

Values = NDArray[Any]  # of float32 or float64

# The error of float32's operators, relative to a number plus its channel's size. Kernels sum and divide in different
# orders, and approximate exp, tanh and erf to about 4 units in the last place.
STEP = 2.0**-21
LEVELS = 255  # steps of an activation in int8
WIDER = 2  # times the range seen here: int8 is calibrated on more pictures, some altered as other cameras would
WEIGHT_LEVELS = 63  # largest int8 weight, so that no sum of two products overflows 16 bits


def output_ranges(model: keras.Model, batches: Iterable[Values]) -> dict[int, float]:
    """The range (highest minus lowest) of each layer's outputs, by the layer's index, on the calibration batches."""
    lowest: dict[int, float] = {}
    highest: dict[int, float] = {}

    def look(place: int, call: Callable[[], Any]) -> Any:  # Any: what layers give
        output = call()
        if _is_real(output):
            values = keras.ops.convert_to_numpy(output)
            lowest[place] = min(lowest.get(place, 0.0), float(values.min(initial=0)))
            highest[place] = max(highest.get(place, 0.0), float(values.max(initial=0)))
        return output

    with wrapped_calls(innermost_layers(model), look), convolving_by_group():
        for pixels in batches:
            model(keras.ops.convert_to_tensor(pixels), training=False)
    return {place: high - lowest[place] for place, high in highest.items()}


@contextmanager
def rounded(model: keras.Model, precision: Precision, ranges: Mapping[int, float] | None = None) -> Iterator[None]:
    """Within this context, the uncompiled model computes with each layer's weights and outputs in this precision.

    int8's levels span `ranges`, or the range of the outputs seen here, whichever is wider.
    """
    round_output = _OUTPUTS[precision](np.random.default_rng(0))
    layers = innermost_layers(model)
    spared = {i for i, layer in enumerate(layers) if precision == "int8" and _is_folded(layer)}

    def round_call(place: int, call: Callable[[], Any]) -> Any:  # Any: what layers give
        output = call()
        if place in spared or not _is_real(output):
            return output
        values = keras.ops.convert_to_numpy(output)
        moved = round_output(values, _is_sigmoid(layers[place]), (ranges or {}).get(place, 0.0))
        return keras.ops.convert_to_tensor(moved.astype(values.dtype))

    with ExitStack() as stack:
        if precision != "float32":
            stack.enter_context(_rounded_weights(layers, precision))
        stack.enter_context(wrapped_calls(layers, round_call))
        yield


def _is_real(output: Any) -> bool:  # Any: what layers give
    is_value = keras.ops.is_tensor(output) and hasattr(output, "numpy")  # no values inside a TensorFlow graph
    return bool(is_value) and "float" in keras.backend.standardize_dtype(output.dtype)


def _is_folded(layer: keras.layers.Layer) -> bool:
    """Whether a layer has a kernel and only batch norms read its outputs: those are folded into it."""
    readers = readers_of(layer) if hasattr(layer, "kernel") else []
    return bool(readers) and all(isinstance(reader, keras.layers.BatchNormalization) for reader in readers)


def _is_sigmoid(layer: keras.layers.Layer) -> bool:
    return getattr(layer, "activation", None) is keras.activations.sigmoid


Rounding = Callable[
    [Values, bool, float], Values
]  # arguments: a layer's outputs, whether it is a sigmoid, and its range


def _to_float32(rng: np.random.Generator) -> Rounding:
    def moved(values: Values, is_sigmoid: bool, reach: float) -> Values:
        sizes = np.abs(values) + np.sqrt(np.square(values).mean(axis=tuple(range(values.ndim - 1))))
        if is_sigmoid:  # its error is relative to 1, however small the value: onnxruntime never gives less than 1.5e-8
            sizes = sizes + 1
        return np.asarray(values + STEP * rng.uniform(-1, 1, values.shape) * sizes)

    return moved


def _to_float16(rng: np.random.Generator) -> Rounding:
    return lambda values, is_sigmoid, reach: _as_float16(values)


def _as_float16(values: Values) -> Values:
    """Rounded to float16; larger numbers become its largest one, because limits must be finite."""
    largest = float(np.finfo(np.float16).max)
    return np.asarray(np.clip(values, -largest, largest).astype(np.float16))


def _to_int8(rng: np.random.Generator) -> Rounding:
    def on_levels(values: Values, is_sigmoid: bool, reach: float) -> Values:
        here = max(0.0, float(values.max())) - min(0.0, float(values.min()))
        step = max(WIDER * here, reach) / LEVELS or 1.0
        return np.asarray(np.rint(values / step) * step)

    return on_levels


_OUTPUTS: dict[Precision, Callable[[np.random.Generator], Rounding]] = {
    "float32": _to_float32,
    "float16": _to_float16,
    "int8": _to_int8,
}


@contextmanager
def _rounded_weights(layers: Sequence[keras.layers.Layer], precision: Precision) -> Iterator[None]:
    """Round kernels (in float16 all weights, except those of batch norms, which are folded), and restore them after."""
    layers = [each for each in layers if each.weights and not isinstance(each, keras.layers.BatchNormalization)]
    before = [layer.get_weights() for layer in layers]
    try:
        for layer, weights in zip(layers, before, strict=True):
            if precision == "float16":
                layer.set_weights(
                    [_as_float16(each).astype(each.dtype) if _is_float(each) else each for each in weights]
                )
            else:
                layer.set_weights(
                    [_filter_levels(each, layer) if each.ndim > 1 and _is_float(each) else each for each in weights]
                )
        yield
    finally:
        for layer, weights in zip(layers, before, strict=True):
            layer.set_weights(weights)


def _is_float(values: Values) -> bool:
    return values.dtype.kind == "f"


def _filter_levels(kernel: Values, layer: keras.layers.Layer) -> Values:
    """A kernel rounded to int8's levels, with a step for each filter."""
    axes = (0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else tuple(range(kernel.ndim - 1))
    step = np.abs(kernel).max(axis=axes, keepdims=True) / WEIGHT_LEVELS
    step = np.where(step > 0, step, 1.0)
    return np.asarray(np.rint(kernel / step) * step, kernel.dtype)
