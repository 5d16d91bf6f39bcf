"""Names a converted graph after the Keras layers, and orders it, so that the same weights give the same bytes.

tf2onnx numbers its tensors with a running counter, and TensorFlow adds numbers to the names of layers.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import onnx
from onnx.numpy_helper import to_array

from signs_export.source.layers import layers_of, wrapped_calls
from signs_runtime.bundle.onnx_metadata import INPUT, OUTPUT

SCALED, LOGITS = "scaled", "logits"
BATCH = "batch"  # the name of the dynamic axis
_MARK = re.compile(r"signs_layer(\d+)(?:_\d+)?/")  # TensorFlow adds a number if a layer is called again
_MADE = re.compile(r"__\d+(:\d+)?$")  # made by tf2onnx, such as transpositions around a layer's operations
_DERIVED = re.compile(r"(_[A-Za-z]\w*)?(__\d+)?(:\d+)?")  # what tf2onnx appends to an operation's name
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PARAMETERS = {1: "kernel", 2: "bias"}  # their inputs


@dataclass
class Marks:
    """Numbers that mark layers in the names that TensorFlow traces, and TensorFlow's names of the layers' outputs.

    `layers` has the layers' names by number: those of `layers_of`, then the scaling before the model.
    """

    layers: list[str]
    given: dict[int, list[str]] = field(default_factory=dict)  # names of TensorFlow's tensors, one for each call
    sizes: dict[str, float] = field(default_factory=dict)  # the sum of a layer's |kernel|, by its name

    def call(self, number: int, call: Callable[[], Any]) -> Any:  # Any: what layers give
        """Call a layer, or the scaling, under its number."""
        import tensorflow as tf

        with tf.name_scope(f"signs_layer{number}"):
            output = call()
        tensors = tf.nest.flatten(output)
        is_one = len(tensors) == 1 and tf.is_symbolic_tensor(tensors[0])
        self.given.setdefault(number, []).append(_origin(tensors[0]) if is_one else "")
        return output

    @property
    def tensors(self) -> dict[str, str]:
        """TensorFlow's name of the only output, by layer, of the layers that are called once."""
        return {self.layers[number]: names[0] for number, names in self.given.items() if len(names) == 1 and names[0]}


@contextmanager
def marked_layers(model: keras.Model) -> Iterator[Marks]:
    """Mark TensorFlow's traced names with each layer's number, its place in `layers_of(model)`."""
    layers = layers_of(model)
    marks = Marks([*(layer.name for layer in layers), SCALED])
    for layer in layers:
        if (kernel := getattr(layer, "kernel", None)) is not None:
            marks.sizes[layer.name] = float(np.abs(keras.ops.convert_to_numpy(kernel)).sum(dtype=np.float64))
    with wrapped_calls(layers, marks.call):
        yield marks


def _origin(tensor: Any) -> str:  # Any: a symbolic tensor
    """The name of a tensor where it is computed; operations that only pass it on do not appear in ONNX."""
    operation, place = tensor.op, tensor.value_index
    while operation.type in ("Identity", "IdentityN") or _changes_nothing(operation):
        tensor = operation.inputs[place]
        operation, place = tensor.op, tensor.value_index
    return f"{operation.name}:{place}"


def _changes_nothing(operation: Any) -> bool:  # Any: TensorFlow's
    """Whether it is a sum with 0 or a product with 1, which the conversion leaves out."""
    import tensorflow as tf

    neutral = {"AddV2": 0, "Add": 0, "Sub": 0, "Mul": 1}.get(operation.type)
    if neutral is None or operation.inputs[0].shape != operation.outputs[0].shape:
        return False
    other = tf.get_static_value(operation.inputs[1])
    return other is not None and bool(np.all(other == neutral))


def name_graph(model: onnx.ModelProto, marks: Marks) -> None:
    """Order the nodes by what they compute, and name everything by the marks from tracing.

    A tensor with a layer's name is this layer's output, perhaps transposed; `unread_pixels` may leave a part of it out.
    A convolution or dense node has the name of the layer whose weights it has. The input is `image`, the output
    `probabilities`, and their first axis `batch`. The input of a last softmax is `logits`.
    """
    graph = model.graph
    _put_in_order(graph)
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    ends = {last.input[0]: LOGITS} if last.op_type == "Softmax" else {}
    tensors = _Names({graph.input[0].name: INPUT, graph.output[0].name: OUTPUT, **ends})
    _name_nodes(graph, marks, tensors)
    _name_weights(graph, tensors)
    del graph.value_info[:]  # intermediate shapes would keep the old axis name
    graph.input[0].name, graph.output[0].name = INPUT, OUTPUT
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def _name_nodes(graph: onnx.GraphProto, marks: Marks, tensors: "_Names") -> None:
    """Name each node, its inputs and its outputs, in the graph's order."""
    layers = marks.layers
    weights = {tensor.name for tensor in graph.initializer}
    inside = _layers_inside(graph, layers, weights)
    outputs = _layer_outputs(graph, inside, marks, weights)
    nodes = _Names()
    for node in graph.node:
        given = inside.get(node.output[0])
        owner = next((layer for name in node.input[1:] if name in weights and (layer := _layer(name, layers))), None)
        is_output = node.output[0] in outputs
        own = f"{given or 'signs'}/{node.op_type}"  # no Keras layer's name has a slash
        has_weights = node.op_type in _WEIGHTED
        node.name = nodes.new((owner or given or own) if has_weights else given if given and is_output else own)
        for i, name in enumerate(node.input):
            if name in weights and name not in tensors:
                part = _PARAMETERS.get(i) if has_weights else None
                tensors.name(name, f"{node.name}/{part or i}")
        for name in node.output:
            tensors.name(name, outputs.get(name, own))
        for names in (node.input, node.output):
            names[:] = [tensors[name] for name in names]


def _name_weights(graph: onnx.GraphProto, tensors: "_Names") -> None:
    """Name the initializers, order them as the nodes read them, and drop unused ones."""
    kept = {tensors[tensor.name]: tensor for tensor in graph.initializer if tensor.name in tensors}
    initializers = [kept[name] for name in tensors.given if name in kept]
    for name, tensor in kept.items():
        tensor.name = name
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in initializers]
    del graph.initializer[:]
    graph.initializer.extend(copies)


class _Names:
    """New names for old ones, each used once."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = {"": "", **(names or {})}  # an omitted input has no name
        self._used = set(self._names.values())

    def __contains__(self, old: str) -> bool:
        return old in self._names

    def __getitem__(self, old: str) -> str:
        return self._names[old]

    @property
    def given(self) -> list[str]:
        """The new names, in the order of naming."""
        return list(self._names.values())

    def new(self, wanted: str) -> str:
        """The wanted name or, if it is taken, the first free one with a number."""
        name, number = wanted, 1
        while name in self._used:
            number += 1
            name = f"{wanted}_{number}"
        self._used.add(name)
        return name

    def name(self, old: str, wanted: str) -> None:
        """Give `old` a name, unless it has one."""
        if old not in self._names:
            self._names[old] = self.new(wanted)


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Order the nodes by a walk back from the output, inputs first."""
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output}
    order: list[int] = []
    done: set[int] = set()
    waiting = [(made_by[graph.output[0].name], False)]
    while waiting:
        i, inputs_done = waiting.pop()
        if i in done:
            continue
        if inputs_done:
            done.add(i)
            order.append(i)
            continue
        waiting.append((i, True))
        waiting += [(made_by[name], False) for name in reversed(graph.node[i].input) if name in made_by]
    nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _layers_inside(graph: onnx.GraphProto, layers: list[str], weights: set[str]) -> dict[str, str]:
    """The tensors that are known to be made inside a layer, with its name."""
    inside: dict[str, str] = {}
    for node in graph.node:
        owner = _layer(node.output[0], layers)
        if _MADE.search(node.output[0]):
            # Made by tf2onnx: inside the layer if it follows one of its nodes, not if it precedes it (a transposition).
            owner = owner if owner in {inside.get(name) for name in node.input} else None
            biases = [_layer(name, layers) for name in node.input[1:] if name in weights]
            if owner is None and node.op_type in _WEIGHTED and biases:
                owner = biases[-1]  # of a batch norm that was folded into a convolution
        if owner is not None:
            inside.update(dict.fromkeys(node.output, owner))
    return inside


def _layer_outputs(
    graph: onnx.GraphProto, inside: Mapping[str, str], marks: Marks, weights: set[str]
) -> dict[str, str]:
    """The tensors that are known to be a layer's output, with its name.

    These are the results of TensorFlow's operation for the layer's output, perhaps transposed or squeezed, and the
    outputs of convolutions with the layer's bias (a batch norm that was folded into them). Of several such tensors, it
    is the one that other layers read.
    """
    given = marks.tensors
    kernels = {tensor.name: tensor for tensor in graph.initializer if tensor.name in weights}
    readers: dict[str, set[str | None]] = {}  # the layers inside which a tensor is read
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(inside.get(node.output[0]))
    found: dict[str, str] = {}  # the tensor, by layer
    for node in graph.node:
        for name in node.output:
            layer = inside.get(name)
            is_known = (
                layer in given and _is_derived(name, given[layer]) and not _is_multiplied(node, layer, marks, kernels)
            )
            leaves = readers.get(name, set()) != {layer}
            if layer and is_known and (leaves or layer not in found):
                found[layer] = name
        layer = inside.get(node.output[0])
        biases = [_layer(name, marks.layers) for name in node.input[1:] if name in weights]
        is_folded = node.op_type in _WEIGHTED and _MADE.search(node.output[0]) and biases[-1:] == [layer]
        if layer in given and is_folded and layer not in readers.get(node.output[0], set()):
            found.setdefault(layer, node.output[0])
    return {name: layer for layer, name in found.items()}


def _is_derived(name: str, tensor: str) -> bool:
    """Whether a name is TensorFlow's for this tensor, or one that tf2onnx derived from it."""
    operation, _, place = tensor.rpartition(":")
    match = _DERIVED.fullmatch(name[len(operation) :]) if name.startswith(operation) else None
    if match is None:
        return False
    changed, number, own_place = match.groups()
    return bool(changed or number) or (own_place or ":0") == f":{place}"


def _is_multiplied(node: onnx.NodeProto, layer: str, marks: Marks, kernels: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether tf2onnx multiplied what follows the layer into the kernel of this convolution, under the layer's name."""
    if node.op_type != "Conv" or len(node.input) > 2 or layer not in marks.sizes or node.input[1] not in kernels:
        return False
    size = float(np.abs(to_array(kernels[node.input[1]])).sum(dtype=np.float64))
    return not np.isclose(size, marks.sizes[layer], rtol=1e-4)


def _layer(name: str, layers: list[str]) -> str | None:
    """The layer of the innermost scope in a TensorFlow name; None if it has no mark."""
    marks = _MARK.findall(name)
    return layers[int(marks[-1])] if marks else None
