"""Traces pictures through Keras and an exported model, stage by stage, to name the first stage that differs.

The stages are those of `Classifier.stages`, "scaled" if the export scales pixels for the model, each Keras layer,
"logits" and "probabilities".
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_node

from signs_export.config import COARSE_MULTIPLE
from signs_export.convert.graph_names import LOGITS, SCALED
from signs_export.gate.missing_pixels import pixels_made
from signs_export.gate.rounding import output_ranges, rounded
from signs_export.onnx_graph import inner_values
from signs_export.source.layers import last_operation, layer_outputs, layers_of, readers_of
from signs_export.source.reading import strides_of_readers
from signs_export.source.reference import Reference, softmax
from signs_runtime import Classifier
from signs_runtime.bundle.manifest import Precision
from signs_runtime.bundle.onnx_metadata import OUTPUT
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import stages as read_in_stages

PICTURES = 8  # on which every layer is compared
_AT_ONCE = 16  # pictures a batch when ranges are measured
FLOOR_MULTIPLE = 16  # times what float32 loses in Keras at a stage; measured on SIGNS: at most 1.4 times
LEAST_FLOOR = 2.0**-18  # of a channel's size: gelu's tail lost 2e-6 in onnxruntime and nothing in Keras
QUIET = 0.03  # of the whole tensor's size, added to a channel's: anything smaller is rounding noise of the others
STEADY = 0.25  # of a stage's RMS, added to its standard deviation: some stages hardly vary over a few pictures
# A stage in int8 or float16 may be off by COARSE_MULTIPLE times what rounding every layer costs in Keras, and at least
# by this share of its size. For comparison: weights from another training run, equally accurate, give 0.7 to 1.
LEAST_COARSE: Mapping[Precision, float] = {"int8": 0.4, "float16": 0.05}

_PASSING = ("QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten", "Squeeze", "Transpose", "Relu", "Clip")
_EQUALIZED = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")  # their outputs may be equalized

_QUANTIZED = "signs/quantized/"  # prefix of the name of a tensor's value after quantization


@dataclass(frozen=True)
class Stage:
    """The difference at one stage: in levels of 255 for pixels, otherwise relative to the stage's size."""

    name: str
    error: float  # infinite if the shapes differ or a number is not finite
    limit: float
    expected: NDArray[np.generic] | None = None  # both images, if the stage is one
    given: NDArray[np.generic] | None = None

    @property
    def passed(self) -> bool:
        return self.error <= self.limit

    @property
    def says(self) -> str:
        if self.expected is not None and self.given is not None and self.expected.shape != self.given.shape:
            return f"the shape is {self.given.shape} instead of {self.expected.shape}"
        unit = "levels of 255" if self.expected is not None else "of its size"
        return f"off by {self.error:.2g} {unit}, allowed {self.limit:.2g}"


@dataclass(frozen=True)
class KerasStages:
    """What Keras computes at each stage for some pictures, and what each precision loses there."""

    images: NDArray[np.uint8]  # (k, h, w, c)
    values: dict[str, NDArray[Any]]  # by stage, (k, ...), in call order
    noise: dict[Precision, dict[str, float]]  # what each precision alone costs, by stage
    float16_noise: float  # mean difference of probabilities in float16
    floors: dict[str, NDArray[Any]]  # by stage; values below this have no effect, because a rectifier cuts them off
    sums: dict[str, NDArray[Any]]  # by stage that only an addition reads: the sum
    read_at: dict[str, tuple[int, int]]  # by stage whose pixels are not all read: the strides of what is

    def limit(self, stage: str, precision: Precision) -> float:
        """The largest error that an export may have at a stage; measured by `_worst_channel` (float32) or `_off`."""
        noise = self.noise[precision].get(stage, 0.0)
        if precision == "float32":
            return FLOOR_MULTIPLE * max(noise, LEAST_FLOOR)
        return max(COARSE_MULTIPLE * noise, LEAST_COARSE[precision])


def keras_stages(
    reference: Reference,
    double: Reference | None,
    images: NDArray[np.uint8],
    calibration: NDArray[np.uint8] | None = None,
) -> KerasStages:
    """Compute Keras's stages for pixels uint8 (k, h, w, c); `double` is the reference in float64, if there is one.

    int8's ranges are those of `calibration` (n, h, w, c): pictures with large activations coarsen the levels for all.
    """
    ranges = None
    if calibration is not None:  # in batches, because large pictures at once would take gigabytes
        starts = range(0, len(calibration), _AT_ONCE)
        batches = (reference.scaled(calibration[start : start + _AT_ONCE]) for start in starts)
        ranges = output_ranges(reference.model, batches)
    values = _stages(reference, images)
    exact = values if double is None else _stages(double, images)
    floors, sums = _floors(reference.model, exact), _sums(reference.model, exact)
    noise: dict[Precision, dict[str, float]] = {}
    float16_noise = 0.0
    for precision in get_args(Precision):
        with rounded((double or reference).model, precision, ranges):
            moved = _stages(double or reference, images)
        if precision == "float16" and OUTPUT in exact:
            float16_noise = float(np.nan_to_num(np.abs(moved[OUTPUT] - exact[OUTPUT])).mean())
        noise[precision] = {
            name: _worst_channel(exact[name], moved[name])
            if precision == "float32"
            else _off(exact[name], moved[name], floors.get(name), sums.get(name))
            for name in exact
        }
    for name, given in values.items():
        lost = _worst_channel(exact[name], given) if name in exact else 0.0
        noise["float32"][name] = max(noise["float32"].get(name, 0.0), lost)
    return KerasStages(images, exact, noise, float16_noise, floors, sums, strides_of_readers(reference.model))


def walk_layers(keras_side: KerasStages, model: onnx.ModelProto, precision: Precision) -> tuple[Stage, ...]:
    """Compare an exported model's stages with Keras's; in float32 also for the first picture in a batch of one.

    Stages that the graph no longer names, because they were fused, are left out. A stage may lack pixels that nothing
    in the Keras model reads; see `convert.unread_pixels`.
    """
    model = _dequantized(model)
    tensors = _tensors(model, keras_side.values)
    together = _values(model, tensors, keras_side.images)
    alone = _values(model, tensors, keras_side.images[:1])
    made_by = {name: node for node in model.graph.node for name in node.output}
    stages = []
    for name, tensor in tensors.items():
        limit = keras_side.limit(name, precision)
        every = keras_side.values[name]
        made = pixels_made(every, together[name], keras_side.read_at.get(name, (1, 1)))
        expected = made(every)
        if precision == "float32":
            error = max(
                _worst_channel(expected, together[name], among=every),
                _worst_channel(expected[:1], alone[name], among=every),
            )
        else:
            floor, whole = made(keras_side.floors.get(name)), made(keras_side.sums.get(name))
            error = _off(expected, together[name], floor, whole)
            if error < limit and _numbers_per_channel(every) == 1 and not _may_be_equalized(tensor, made_by):
                error = _off(expected, together[name], floor, whole, multiplied=False)
        stages.append(Stage(name, error, limit))
    return tuple(stages)


def walk_pixels(classifier: Classifier, file: Path, spec: InputSpec) -> tuple[Stage, ...]:
    """Compare how the runtime reads a picture file with how training read it (`spec`), stage by stage."""
    given = classifier.stages(file)
    stages = []
    for name, picture in read_in_stages(file, spec):
        expected = np.asarray(picture)
        same_shape = expected.shape == given[name].shape
        error = float(np.abs(expected.astype(np.int64) - given[name].astype(np.int64)).max()) if same_shape else np.inf
        stages.append(Stage(name, error, 0, expected, given[name]))
    return tuple(stages)


def first_difference(stages: Sequence[Stage]) -> Stage | None:
    """The first stage whose error exceeds its limit, or None."""
    return next((stage for stage in stages if not stage.passed), None)


def _stages(reference: Reference, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    pixels = reference.scaled(images)
    last = last_operation(reference.model)
    ends_in_softmax = getattr(last, "activation", None) is keras.activations.softmax
    if ends_in_softmax:
        last.activation = keras.activations.linear  # to get its logits
    try:
        layers = layer_outputs(reference.model, pixels)
    finally:
        if ends_in_softmax:
            last.activation = keras.activations.softmax
    stages = {name: values for name, values in layers.items() if name not in (SCALED, LOGITS, OUTPUT)}
    if reference.scaling != "none":
        stages = {SCALED: pixels, **stages}
    stages.pop(last.name, None)
    if last.name in layers:
        stages[OUTPUT] = layers[last.name].reshape(len(images), -1)
        if ends_in_softmax or reference.gives_logits:
            stages[LOGITS] = stages.pop(OUTPUT)
            stages[OUTPUT] = softmax(stages[LOGITS])
    return stages


def _floors(model: keras.Model, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The values below which a layer's outputs have no effect: int8 has no levels for what rectifiers cut off.

    Zero before a rectifier; minus the other summands before a rectified sum.
    """
    floors = {}
    for layer in layers_of(model):
        readers = readers_of(layer)
        if _all_rectify(readers):
            floors[layer.name] = np.zeros(())
        elif len(readers) == 1 and type(readers[0]).__name__ == "Add" and _all_rectify(readers_of(readers[0])):
            summed = [tensor._keras_history.operation for tensor in readers[0]._inbound_nodes[0].input_tensors]
            others = [operation for operation in summed if operation is not layer]
            if others and len(others) == len(summed) - 1 and all(_fits(other, layer, values) for other in others):
                floors[layer.name] = -np.sum([values[other.name] for other in others], axis=0)
    return floors


def _sums(model: keras.Model, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The sum that each summand is part of: its error is relative to the sum, so a small branch has little effect."""
    sums = {}
    for layer in layers_of(model):
        readers = readers_of(layer)
        if len(readers) == 1 and isinstance(readers[0], keras.layers.Add) and readers[0].name in values:
            added = values[readers[0].name]
            sums[layer.name] = np.maximum(added, 0) if _all_rectify(readers_of(readers[0])) else added
    return sums


def _fits(operation: keras.Operation, layer: keras.layers.Layer, values: Mapping[str, NDArray[Any]]) -> bool:
    """Whether both values are known and have the same shape."""
    names = (operation.name, layer.name)
    return all(name in values for name in names) and len({values[name].shape for name in names}) == 1


def _all_rectify(readers: Sequence[keras.Operation]) -> bool:
    return bool(readers) and all(map(_is_rectifier, readers))


def _is_rectifier(operation: keras.Operation) -> bool:
    if isinstance(operation, keras.layers.ReLU):
        return not operation.negative_slope and not operation.threshold
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    return isinstance(operation, keras.layers.Activation) and name in ("relu", "relu6")


def _dequantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that names each tensor's value after quantization, which may rectify it; see `_tensors`."""
    shown = copy.deepcopy(model)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            levels = [node.output[0], *node.input[1:]]
            shown.graph.node.append(make_node("DequantizeLinear", levels, [f"{_QUANTIZED}{node.input[0]}"]))
    return shown


def _tensors(model: onnx.ModelProto, stages: Mapping[str, object]) -> dict[str, str]:
    """The name of the graph's tensor for each stage; the value after quantization, if it is quantized."""
    made = {name for node in model.graph.node for name in node.output}
    tensors = {}
    for name in stages:
        if found := next((tensor for tensor in (f"{_QUANTIZED}{name}", name) if tensor in made), None):
            tensors[name] = found
    return tensors


def _values(model: onnx.ModelProto, tensors: Mapping[str, str], images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    batches = list(inner_values(model, sorted(set(tensors.values())), images))
    return {name: np.concatenate([batch[tensor] for batch in batches]) for name, tensor in tensors.items()}


def _worst_channel(expected: NDArray[Any], given: NDArray[Any], *, among: NDArray[Any] | None = None) -> float:
    """The largest RMS difference of a channel, relative to its RMS over `among`; arrays (n, ..., channels)."""
    whole = expected if among is None else among

    def error(aligned: NDArray[np.float64]) -> float:
        sizes = _rms(whole) + QUIET * float(np.sqrt(np.square(whole, dtype=np.float64).mean()))
        return float((_rms(aligned - expected) / np.maximum(sizes, np.finfo(np.float32).tiny)).max())

    return _least(error, expected, given)


def _may_be_equalized(tensor: str, made_by: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether equalization may have scaled a tensor's channels, judged by its operator; see `int8.equalize`."""
    node = made_by.get(tensor)
    while node is not None and node.op_type in _PASSING:
        node = made_by.get(node.input[0])
    if node is not None and node.op_type == "Gemm":  # in int8 it was a convolution; see `int8.products`
        weights = made_by.get(node.input[1])
        return weights is not None and weights.op_type == "DequantizeLinear"
    return node is not None and node.op_type in _EQUALIZED


def _numbers_per_channel(values: NDArray[Any]) -> int:
    return int(values.size // max(values.shape[-1], 1))


def _off(
    expected: NDArray[Any],
    given: NDArray[Any],
    floor: NDArray[Any] | None = None,
    whole: NDArray[Any] | None = None,
    *,
    multiplied: bool = True,
) -> float:
    """The RMS difference relative to the stage's size, up to a factor for each channel, as equalization scales them.

    Values below `floor` count as `floor`. The size is that of `whole`, the sum that the stage is part of, if that is
    larger. The factor weighs mean and deviation as the size does.
    """
    lowest = np.full((), -np.inf) if floor is None else floor.astype(np.float64)
    reaches = expected > lowest
    exact = np.maximum(expected.astype(np.float64), lowest)
    axes = tuple(range(exact.ndim - 1))
    size = max(_size(exact), 0.0 if whole is None else _size(whole.astype(np.float64)))

    def around_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        means = np.sum(values, axis=axes, where=reaches) / np.maximum(reaches.sum(axis=axes), 1)
        varying: NDArray[np.float64] = values - means
        return varying

    def factor_of(aligned: NDArray[np.float64]) -> NDArray[np.float64]:
        varying, wanted = around_mean(aligned), around_mean(exact)
        power = np.sum(np.square(varying) + STEADY**2 * np.square(aligned), axis=axes, where=reaches)
        common = np.sum(varying * wanted + STEADY**2 * aligned * exact, axis=axes, where=reaches)
        factor: NDArray[np.float64] = np.divide(common, power, out=np.ones_like(power), where=power > 0)
        return factor

    def power_off(reaching: NDArray[np.float64]) -> NDArray[np.float64]:
        power: NDArray[np.float64] = np.square(np.maximum(reaching, lowest) - exact).mean(axis=axes)
        return power

    def error(aligned: NDArray[np.float64]) -> float:
        power = power_off(aligned)
        if multiplied:  # a factor fitted to few numbers just above the floor is arbitrary, so 1 is tried as well
            power = np.minimum(power, power_off(aligned * factor_of(aligned)))
        return float(np.sqrt(power.mean())) / (size or 1.0)

    return _least(error, expected, given)


def _size(values: NDArray[np.float64]) -> float:
    """The standard deviation plus a part of the RMS (some stages hardly vary); the RMS if a channel has one number."""
    power = float(np.square(values).mean())
    varying = float(np.square(values - values.mean(axis=tuple(range(values.ndim - 1)))).mean())
    return float(np.sqrt(power if _numbers_per_channel(values) == 1 else varying + STEADY**2 * power))


def _least(error: Any, expected: NDArray[Any], given: NDArray[Any]) -> float:  # Any: a function of an array
    """The smaller error of both layouts, channels last and first; infinite if neither fits."""
    layouts = (given, np.moveaxis(given, 1, -1)) if given.ndim > 2 else (given,)
    fitting = [each.astype(np.float64).reshape(expected.shape) for each in layouts if each.size == expected.size]
    errors = [error(each) for each in fitting if np.isfinite(each).all()]
    return min(errors, default=np.inf)


def _rms(values: NDArray[Any]) -> NDArray[np.float64]:
    """The RMS of each channel of (n, ..., channels)."""
    rms: NDArray[np.float64] = np.sqrt(np.square(values, dtype=np.float64).mean(axis=tuple(range(values.ndim - 1))))
    return rms
