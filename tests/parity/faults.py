"""Real mistakes of exporters and serving code, made on purpose: what the parity gate must catch, and where.

Each takes an honest export and gives a broken one. Extend the list with what reviews and users find.
"""

import copy
import dataclasses
import json
import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import get_attribute_value, make_attribute, make_node
from onnx.numpy_helper import from_array, to_array

from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.convert.graph_names import LOGITS, SCALED
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.int8.saturation import predict_saturation
from signs_export.onnx_graph import weights_of
from signs_export.source.layers import layers_of
from signs_export.source.reference import Reference
from signs_export.source.scaling import scaling_layer
from signs_runtime import Classifier
from signs_runtime import classifier as classifier_module
from signs_runtime.bundle.onnx_metadata import LABELS_KEY, OUTPUT
from signs_runtime.pictures import read as image_module
from signs_runtime.pictures.orientation import turned
from signs_runtime.pictures.resize import resize


@dataclass(frozen=True)
class Export:
    """An honest export: the Keras model, its float32 graph, and what int8 would be calibrated on."""

    reference: Reference
    labels: tuple[str, ...]
    float32: onnx.ModelProto
    calibration: Calibration
    other: Reference  # of the same architecture, from another training


@dataclass(frozen=True)
class Fault:
    """A mistake: `make` gives the broken model and the runtime to run it, `stage` the names that may be given to it."""

    name: str
    make: Callable[[Export], tuple[onnx.ModelProto, type[Classifier]]]
    stage: Callable[[Export], set[str]]


class NotApplicableError(Exception):
    """The export has nothing of the kind that this fault breaks."""


FAULTS: list[Fault] = []
Graph = Callable[[Export], onnx.ModelProto]


def in_graph(name: str, stage: str | Callable[[Export], set[str]]) -> Callable[[Graph], Graph]:
    """Register a function that gives a broken model."""

    def register(make: Graph) -> Graph:
        where = stage if callable(stage) else (lambda export: {stage})
        FAULTS.append(Fault(name, lambda export: (make(export), Classifier), where))
        return make

    return register


def in_runtime(name: str, stage: str, module: ModuleType, old: str, new: str) -> None:
    """Register an edit of the runtime's source, under an honest model."""

    def make(export: Export) -> tuple[onnx.ModelProto, type[Classifier]]:
        if name == "BGR for RGB" and export.reference.input.colour != "RGB":
            raise NotApplicableError("it is for three colours")
        changed = edited(module, old, new)
        if module is image_module:
            changed = edited(classifier_module, read_image=changed.read_image, stages=changed.stages)
        return export.float32, changed.Classifier

    FAULTS.append(Fault(name, make, lambda export: {stage}))


def in_step(name: str, stage: str, step: Callable[..., object], old: str, new: str) -> None:
    """Register an edit of the module of a step that reading a picture takes, under an honest model."""

    def make(export: Export) -> tuple[onnx.ModelProto, type[Classifier]]:
        changed = edited(sys.modules[step.__module__], old, new)
        image = edited(image_module, **{step.__name__: getattr(changed, step.__name__)})
        return export.float32, edited(classifier_module, read_image=image.read_image, stages=image.stages).Classifier

    FAULTS.append(Fault(name, make, lambda export: {stage}))


def edited(module: ModuleType, old: str = "", new: str = "", **replaced: object) -> ModuleType:
    """A module as it would be with one passage of its source changed, and with other imports."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert not old or source.count(old) == 1, f"{module.__name__} holds {old!r} {source.count(old)} times"
    text = source.replace(old, new) if old else source
    name = f"<{module.__name__} with {new!r}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # TensorFlow reads sources again
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(text, name, "exec"), changed.__dict__)
    changed.__dict__.update(replaced)
    return changed


in_runtime(
    "BGR for RGB",
    "colour",
    image_module,
    "return image if image.mode == mode else image.convert(mode)",
    "return Image.merge(mode, image.convert(mode).split()[::-1])",
)
in_step(
    "another resize filter",
    "resized",
    resize,
    "Image.Resampling[spec.resize.upper()]",
    "Image.Resampling.BICUBIC",
)
in_step(
    "a corner cut out instead of a resize",
    "resized",
    resize,
    "image.resize(size, Image.Resampling[spec.resize.upper()], box)",
    "image.crop((0, 0, *size))",
)
in_step("the camera's turn left out", "turned", turned, "else image.transpose(_TURNS[orientation])", "else image")
in_runtime("transparency on black", "colour", image_module, '"white")', '"black")')
in_runtime("16 bits wrapped to 8", "colour", image_module, "np.asarray(image) >> 8", "np.asarray(image) * 3")
in_runtime(
    "a JPEG decoded in an eighth of its size",
    "decoded",
    image_module,
    "    width, height = image.size\n",
    "    image.draft(None, (8, 8))\n    width, height = image.size\n",
)
in_runtime(
    "labels in another order than outputs",
    "labels",
    classifier_module,
    "else (self.labels[index],)",
    "else (self.labels[index - 1],)",
)
in_runtime(
    "the batch's first answer for all",
    "batch",
    classifier_module,
    "for row in self.probabilities(np.stack(images))",
    "for row in np.broadcast_to(self.probabilities(np.stack(images))[:1], (len(images), len(self.labels)))",
)


@in_graph("scaled twice", lambda export: {_scaled(export)})
def _(export: Export) -> onnx.ModelProto:
    def divide(name: str, out: str) -> list[onnx.NodeProto]:
        return [make_node("Div", [name, "twice"], [out])]

    return _with_nodes(_changed(export), _scaled(export), divide, {"twice": np.array(255, np.float32)})


@in_graph("ImageNet's caffe preprocessing", lambda export: {_scaled(export)})
def _(export: Export) -> onnx.ModelProto:
    if export.reference.input.colour != "RGB":
        raise NotApplicableError("it is for three colours")
    return convert(dataclasses.replace(export.reference, scaling="caffe"), export.labels, ExportConfig())


@in_graph("height and width exchanged", lambda export: {_scaled(export)})
def _(export: Export) -> onnx.ModelProto:
    if export.reference.input.height != export.reference.input.width:
        raise NotApplicableError("the pictures are not square")

    def exchange(name: str, out: str) -> list[onnx.NodeProto]:
        return [make_node("Transpose", [name], [out], perm=(0, 2, 1, 3))]

    return _with_nodes(_changed(export), _scaled(export), exchange)


@in_graph("labels permuted", "labels")
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    for each in model.metadata_props:
        if each.key == LABELS_KEY:
            each.value = json.dumps([*export.labels[1:], export.labels[0]])
    return model


@in_graph("batch norms in training mode", lambda export: {_named_norms(export)[0].name})
def _(export: Export) -> onnx.ModelProto:
    """A folded norm's tensor is what the norm took, but for each channel's factor and offset: it is normalized."""
    model = _changed(export)
    for norm in _named_norms(export):
        gamma, beta = (keras.ops.convert_to_numpy(each).reshape(-1, 1, 1) for each in (norm.gamma, norm.beta))
        constants = {
            f"{norm.name}_gamma": np.abs(gamma),
            f"{norm.name}_beta": beta,
            f"{norm.name}_epsilon": np.array(norm.epsilon, np.float32),
        }
        model = _with_nodes(model, norm.name, _normalized_by_batch(norm.name), constants)
    return model


def _normalized_by_batch(norm: str) -> Callable[[str, str], list[onnx.NodeProto]]:
    def make(name: str, out: str) -> list[onnx.NodeProto]:
        steps = [f"training/{norm}/{i}" for i in range(8)]
        return [
            make_node("ReduceMean", [name], [steps[0]], axes=[0, 2, 3]),
            make_node("Sub", [name, steps[0]], [steps[1]]),
            make_node("Mul", [steps[1], steps[1]], [steps[2]]),
            make_node("ReduceMean", [steps[2]], [steps[3]], axes=[0, 2, 3]),
            make_node("Add", [steps[3], f"{norm}_epsilon"], [steps[4]]),
            make_node("Sqrt", [steps[4]], [steps[5]]),
            make_node("Div", [steps[1], steps[5]], [steps[6]]),
            make_node("Mul", [steps[6], f"{norm}_gamma"], [steps[7]]),
            make_node("Add", [steps[7], f"{norm}_beta"], [out]),
        ]

    return make


@in_graph("another epsilon in a batch norm", lambda export: {_named_norms(export, folded=False)[-1].name})
def _(export: Export) -> onnx.ModelProto:
    norm = _named_norms(export, folded=False)[-1]
    before, norm.epsilon = norm.epsilon, 1e-5 if norm.epsilon > 1e-4 else 1e-3
    try:
        return convert(export.reference, export.labels, ExportConfig())
    finally:
        norm.epsilon = before


@in_graph("one weight off by 1%", lambda export: _seen_at(export, _convolutions(export.float32)[-1]))
def _(export: Export) -> onnx.ModelProto:
    def change(kernel: NDArray[np.float32]) -> None:
        kernel[np.unravel_index(np.abs(kernel).argmax(), kernel.shape)] *= 1.01

    model = _changed(export)
    return _with_kernel(model, _convolutions(model)[-1], change)


@in_graph(
    "two layers' weights swapped",
    lambda export: {name for each in _alike(export.float32) for name in _seen_at(export, each)},
)
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    one, other = _alike(model)
    one.input[1], other.input[1] = other.input[1], one.input[1]
    return model


@in_graph("weights rounded to float16", lambda export: _seen_first(export))
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(from_array(to_array(tensor).astype(np.float16).astype(np.float32), tensor.name))
    return model


@in_graph("'same' for 'valid' padding in the pool", lambda export: _seen_at(export, _first(export.float32, "MaxPool")))
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    pool = _first(model, "MaxPool")
    kept = [each for each in pool.attribute if each.name not in ("pads", "auto_pad")]
    del pool.attribute[:]
    pool.attribute.extend([*kept, make_attribute("auto_pad", "SAME_UPPER")])
    return model


@in_graph("a rectifier forgotten", lambda export: _seen_at(export, _first(export.float32, "Relu")))
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    _first(model, "Relu").op_type = "Identity"
    return model


@in_graph("the softmax dropped", OUTPUT)
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    softmax = _last_softmax(model)
    softmax.op_type = "Identity"
    del softmax.attribute[:]
    return model


@in_graph("the softmax over the batch", lambda export: {OUTPUT, "batch"})
def _(export: Export) -> onnx.ModelProto:
    model = _changed(export)
    softmax = _last_softmax(model)
    del softmax.attribute[:]
    softmax.attribute.append(make_attribute("axis", 0))
    return model


@in_graph("an opset that resizes otherwise", lambda export: _seen_at(export, _first(export.float32, "Resize")))
def _(export: Export) -> onnx.ModelProto:
    """Resize had no coordinate_transformation_mode before opset 11: "asymmetric" is what it did."""
    model = _changed(export)
    resize = _first(model, "Resize")
    kept = [each for each in resize.attribute if each.name != "coordinate_transformation_mode"]
    mode = [get_attribute_value(each) for each in resize.attribute if each not in kept]
    if mode != [b"half_pixel"]:
        raise NotApplicableError(f"the model resizes by {mode}")
    del resize.attribute[:]
    resize.attribute.extend([*kept, make_attribute("coordinate_transformation_mode", "asymmetric")])
    return model


@in_graph("NaN in one channel", lambda export: _seen_at(export, _convolutions(export.float32)[:2][-1]))
def _(export: Export) -> onnx.ModelProto:
    def change(kernel: NDArray[np.float32]) -> None:
        kernel[0] = np.nan

    model = _changed(export)
    return _with_kernel(model, _convolutions(model)[:2][-1], change)


@in_graph(
    "every picture takes the features of the batch's first",
    lambda export: _seen_at(export, _convolutions(export.float32)[-1]),
)
def _(export: Export) -> onnx.ModelProto:
    def spread(name: str, out: str) -> list[onnx.NodeProto]:
        return [
            make_node("Mul", [name, "nothing"], ["shape"]),
            make_node("Slice", [name, "zero", "one", "zero"], ["first"]),
            make_node("Add", ["shape", "first"], [out]),
        ]

    model = _changed(export)
    constants: dict[str, NDArray[Any]] = {
        "nothing": np.array(0, np.float32),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
    }
    return _with_nodes(model, _convolutions(model)[-1].output[0], spread, constants)


@in_graph("int8 that saturates without VNNI", lambda export: {each.name for each in _convolutions(export.float32)})
def _(export: Export) -> onnx.ModelProto:
    model = quantize(prepare(export.float32, export.calibration, Int8Config(exact_everywhere=False)))
    if not any(layer.at_risk for layer in predict_saturation(model, export.calibration.images[:20])):
        raise NotApplicableError("no layer has pairs of weights that are large enough")
    return model


@in_graph("int8 calibrated on noise", lambda export: {each.output[0] for each in export.float32.graph.node})
def _(export: Export) -> onnx.ModelProto:
    # What tutorials feed, numpy's random numbers of 0 to 1, where pixels are 0 to 255.
    noise = np.random.default_rng(0).integers(0, 2, export.calibration.images.shape, np.uint8)
    return quantize(prepare(export.float32, Calibration(noise, ()), Int8Config()))


@in_graph(
    "int8 of a former training", lambda export: {"weights", *(each.output[0] for each in export.float32.graph.node)}
)
def _(export: Export) -> onnx.ModelProto:
    former = convert(export.other, export.labels, ExportConfig())
    return quantize(prepare(former, export.calibration, Int8Config()))


@in_graph(
    "int8 of another training that claims to be of this one",
    lambda export: {each.output[0] for each in export.float32.graph.node},
)
def _(export: Export) -> onnx.ModelProto:
    former = convert(export.other, export.labels, ExportConfig())
    int8 = quantize(prepare(former, export.calibration, Int8Config()))
    del int8.metadata_props[:]
    int8.metadata_props.extend(export.float32.metadata_props)
    return int8


@in_graph("int8 with two layers' scales swapped", lambda export: {each.output[0] for each in export.float32.graph.node})
def _(export: Export) -> onnx.ModelProto:
    model = quantize(prepare(export.float32, export.calibration, Int8Config()))
    made_by = {node.output[0]: node for node in model.graph.node}
    one, other = (made_by[node.input[1]] for node in _alike(model, quantized=True))
    one.input[1], other.input[1] = other.input[1], one.input[1]
    return model


def _scaled(export: Export) -> str:
    """The tensor of the scaled pixels."""
    name = scaling_layer(export.reference.model) or SCALED
    if name not in _tensors(export):
        raise NotApplicableError("no tensor holds the scaled pixels alone")
    return name


def _seen_first(export: Export) -> set[str]:
    """The stages in which rounded weights can show first: the scaled pixels and the first convolution."""
    names = {scaling_layer(export.reference.model) or SCALED} & _tensors(export)
    return names | _seen_at(export, _convolutions(export.float32)[0])


def _changed(export: Export) -> onnx.ModelProto:
    return copy.deepcopy(export.float32)


def _tensors(export: Export) -> set[str]:
    return {name for node in export.float32.graph.node for name in node.output}


def _convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    weights = weights_of(model)
    made_by = {name: node for node in model.graph.node for name in node.output}
    found = [node for node in model.graph.node if node.op_type == "Conv"]
    found = [node for node in found if node.input[1] in weights or made_by[node.input[1]].input[0] in weights]
    if not found:
        raise NotApplicableError("the model has no convolution")
    return found


def _alike(model: onnx.ModelProto, *, quantized: bool = False) -> list[onnx.NodeProto]:
    """The first two convolutions whose kernels have one shape."""
    weights, made_by = weights_of(model), {name: node for node in model.graph.node for name in node.output}
    by_shape: dict[tuple[int, ...], list[onnx.NodeProto]] = {}
    for node in _convolutions(model):
        if quantized != (node.input[1] in made_by):
            continue
        kernel = made_by[node.input[1]].input[0] if quantized else node.input[1]
        same = by_shape.setdefault(tuple(weights[kernel].dims), [])
        if all(node.input[1] != other.input[1] for other in same):
            same.append(node)
        if len(same) == 2:
            return same
    raise NotApplicableError("no two convolutions have kernels of one shape")


def _first(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    found: onnx.NodeProto | None = next((node for node in model.graph.node if node.op_type == operator), None)
    if found is None:
        raise NotApplicableError(f"the model has no {operator}")
    return found


def _last_softmax(model: onnx.ModelProto) -> onnx.NodeProto:
    last: onnx.NodeProto = next(node for node in model.graph.node if OUTPUT in node.output)
    if last.op_type != "Softmax":
        raise NotApplicableError("the model ends in no Softmax")
    return last


def _seen_at(export: Export, node: onnx.NodeProto) -> set[str]:
    """The next tensors, from this node on, that are stages: what a Keras layer gives, or the answers."""
    stages = {layer.name for layer in layers_of(export.reference.model)} | {LOGITS, OUTPUT}
    waiting, seen, met = [node.output[0]], set(), set()
    while waiting:
        name = waiting.pop()
        if name in stages:
            met.add(name)
        elif name not in seen:
            waiting += [out for other in export.float32.graph.node if name in other.input for out in other.output]
        seen.add(name)
    return met


def _named_norms(export: Export, *, folded: bool = True) -> list[keras.layers.BatchNormalization]:
    """The batch norms whose outputs are tensors of the graph, in its order; `folded`: those of convolutions."""
    norms = {
        layer.name: layer
        for layer in layers_of(export.reference.model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.center and layer.scale
    }
    found = [
        norms[node.output[0]]
        for node in export.float32.graph.node
        if node.output[0] in norms and (not folded or node.op_type == "Conv")
    ]
    if not found:
        raise NotApplicableError("the model has no batch norm whose output is a stage")
    return found


def _with_kernel(
    model: onnx.ModelProto, node: onnx.NodeProto, change: Callable[[NDArray[np.float32]], None]
) -> onnx.ModelProto:
    tensor = weights_of(model)[node.input[1]]
    kernel = to_array(tensor).copy()
    change(kernel)
    tensor.CopyFrom(from_array(kernel, tensor.name))
    return model


def _with_nodes(
    model: onnx.ModelProto,
    tensor: str,
    make: Callable[[str, str], list[onnx.NodeProto]],
    constants: dict[str, NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """Insert nodes that make what bears this tensor's name of what did."""
    maker = next(node for node in model.graph.node if tensor in node.output)
    place = list(model.graph.node).index(maker)
    maker.output[0] = f"{tensor}_before"
    model.graph.initializer.extend(from_array(values, name) for name, values in (constants or {}).items())
    for i, node in enumerate(make(maker.output[0], tensor), place + 1):
        model.graph.node.insert(i, node)
    return model
