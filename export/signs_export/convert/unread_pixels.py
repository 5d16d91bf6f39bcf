"""Leaves out pixels that nothing reads: what feeds only 1x1 convolutions with strides is computed at their strides.

ResNet's stages begin with such convolutions. They read one pixel in four of the stage before, so three quarters of its
last block's 3x3 and 1x1 convolutions are unread. Each number that is read is the same sum as before.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import onnx
from onnx.helper import make_attribute, make_node

from signs_export.onnx_graph import attribute, weights_of

Strides = tuple[int, ...]  # one number for each axis of a picture

# Each number of the result depends only on the numbers in the same place of the inputs.
_ACTIVATIONS = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh")
_IN_PLACE = (*_ACTIVATIONS, "Softplus", "Erf", "Add", "Sub", "Mul", "Div", "Max", "Min")
_WINDOWS = ("Conv", "MaxPool", "AveragePool")


def leave_out_unread_pixels(model: onnx.ModelProto) -> None:
    """Move strides of 1x1 convolutions and pools to the operators before them, in place.

    Tensors keep their names, but may lose pixels. Where a sum has another input that is read in full elsewhere, a 1x1
    MaxPool picks the pixels of that input; it keeps all numbers but NaN and infinity. Graphs with loops or branches
    stay as they are.
    """
    inner = any(each.type == onnx.AttributeProto.GRAPH for node in model.graph.node for each in node.attribute)
    if not inner:  # a loop's body may read any tensor
        _Thinning(model.graph, weights_of(model), _sizes(model)).run()


def _sizes(model: onnx.ModelProto) -> dict[str, Strides]:
    """The sizes of pictures, (height, width), by tensor; only of those whose channels and sizes are known."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        axes = value.type.tensor_type.shape.dim
        if len(axes) == 4 and all(axis.HasField("dim_value") for axis in axes[1:]):
            sizes[value.name] = tuple(axis.dim_value for axis in axes[2:])
    return sizes


class _Thinning:
    """The state of one rewriting. `wanted` has the strides at which a tensor is read, `given` those it is made at."""

    def __init__(self, graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto], sizes: dict[str, Strides]) -> None:
        self._graph = graph
        self._weights = weights
        self._sizes = sizes
        self._wanted: dict[str, Strides] = {}
        self._given: dict[str, Strides] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        read: defaultdict[str, list[Strides]] = defaultdict(list)
        for value in self._graph.output:
            read[value.name].append((1, 1))
        for node in reversed(self._graph.node):
            for name in node.output:
                self._wanted[name] = _common(read[name])
            for name in node.input:
                read[name].append(self._reads(node, name))
        for node in self._graph.node:
            self._thin(node)
            self._nodes.append(node)
        if self._given:
            nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in self._nodes]
            del self._graph.node[:], self._graph.value_info[:]  # the latter: former shapes
            self._graph.node.extend(nodes)

    def _reads(self, node: onnx.NodeProto, name: str) -> Strides:
        """The strides at which a node reads one of its inputs."""
        wanted = self._wanted[node.output[0]]
        if name in self._pictures(node):
            return wanted
        if name == node.input[0] and self._picks_pixels(node):
            return _times(_strides(node), wanted)
        return (1, 1)

    def _pictures(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of the result's size, if the result depends on nothing else that differs from place to place."""
        size = self._sizes.get(node.output[0])
        if node.op_type not in _IN_PLACE or size is None:
            return []
        pictures = [name for name in node.input if self._sizes.get(name) == size]
        others_fit = all(name in pictures or self._is_same_everywhere(name) for name in node.input)
        return pictures if others_fit else []

    def _is_same_everywhere(self, name: str) -> bool:
        """Whether an input has one number for a whole picture or channel."""
        if name in self._weights:
            return bool(math.prod(list(self._weights[name].dims)[-2:]) == 1)
        return not name or self._sizes.get(name) == (1, 1)

    def _picks_pixels(self, node: onnx.NodeProto) -> bool:
        """Whether each result of a convolution or pool has one pixel as its only source."""
        return self._can_stride(node) and _kernel(node, self._weights) == (1, 1) and not any(_pads(node))

    def _can_stride(self, node: onnx.NodeProto) -> bool:
        """Whether larger strides leave out results of a convolution or pool, and keep the others where they are."""
        if node.op_type not in _WINDOWS or len(node.output) != 1 or node.output[0] not in self._sizes:
            return False
        how: bytes = attribute(node, "auto_pad", b"NOTSET")
        rounds_up: int = attribute(node, "ceil_mode", 0)
        return how in (b"NOTSET", b"VALID") and not rounds_up

    def _thin(self, node: onnx.NodeProto) -> None:
        """Compute only what is wanted of a node's result, as far as its inputs allow."""
        if self._can_stride(node):
            wanted = self._wanted[node.output[0]]
            strides = _over(_times(_strides(node), wanted), self._made_at(node.input[0]))
            if strides != _strides(node):
                kept = [each for each in node.attribute if each.name != "strides"]
                del node.attribute[:]
                node.attribute.extend([*kept, make_attribute("strides", strides)])
            self._note(node.output[0], wanted)
        elif pictures := self._pictures(node):
            together = tuple(math.lcm(*axis) for axis in zip(*map(self._made_at, pictures), strict=True))
            for i, name in enumerate(node.input):
                if name in pictures and self._made_at(name) != together:
                    node.input[i] = self._picked(name, _over(together, self._made_at(name)))
            self._note(node.output[0], together)

    def _made_at(self, name: str) -> Strides:
        return self._given.get(name, (1, 1))

    def _note(self, name: str, strides: Strides) -> None:
        if strides != (1, 1):
            self._given[name] = strides

    def _picked(self, name: str, strides: Strides) -> str:
        """Every strides-th pixel of a tensor."""
        picked = f"{name}/every_{'x'.join(map(str, strides))}"
        if all(picked not in node.output for node in self._nodes):
            self._nodes.append(
                make_node("MaxPool", [name], [picked], name=picked, kernel_shape=[1, 1], strides=list(strides))
            )
        return picked


def _common(strides: Iterable[Strides]) -> Strides:
    """The largest strides that reach every pixel that some reader reads."""
    return tuple(math.gcd(*axis) for axis in zip(*strides, strict=True)) or (1, 1)


def _strides(node: onnx.NodeProto) -> Strides:
    return tuple(attribute(node, "strides", [1, 1]))


def _times(one: Iterable[int], other: Iterable[int]) -> Strides:
    return tuple(a * b for a, b in zip(one, other, strict=True))


def _over(one: Strides, other: Strides) -> Strides:
    return tuple(a // b for a, b in zip(one, other, strict=True))


def _kernel(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> Strides:
    own = list(weights[node.input[1]].dims[2:]) if node.op_type == "Conv" and node.input[1] in weights else [0, 0]
    return tuple(attribute(node, "kernel_shape", own))


def _pads(node: onnx.NodeProto) -> list[int]:
    pads: list[int] = attribute(node, "pads", [0, 0, 0, 0])
    return pads
