"""Cross-layer equalization: brings the channels of a tensor to similar ranges before they share one scale.

After Nagel et al., 2019, https://arxiv.org/abs/1906.04721, applied to whole residual streams.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import from_array, to_array

from signs_export.onnx_graph import attribute, weights_of

# Operators that commute with a positive factor for each channel. All their tensors share the same factors.
_JOINING = ("Relu", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
_FLATTENING = ("Reshape", "Flatten")
_TINY = np.finfo(np.float32).tiny
_SMALLEST = 1e-3  # of a tensor's largest channel: limits how much a nearly silent channel is amplified


@dataclass
class Stream:
    """Tensors whose channels share factors, the convolutions that write them and the layers that read them."""

    tensors: list[str] = field(default_factory=list)
    writers: list[onnx.NodeProto] = field(default_factory=list)
    readers: list[onnx.NodeProto] = field(default_factory=list)


def equalize(
    model: onnx.ModelProto, streams: list[Stream], maxima: Mapping[str, NDArray[np.float32]], strength: float
) -> dict[str, NDArray[np.float32]]:
    """Divide each channel of a stream by (its largest value / its tensor's) ** strength, in place.

    The weights before and after the stream are adjusted, so the model's answers do not change. `maxima` has the largest
    |value| of each channel of the streams' tensors, without those that a rectifier cuts. Returns what each tensor was
    divided by, (channels,).
    """
    weights = weights_of(model)
    factors: dict[str, NDArray[np.float32]] = {}
    for stream in streams:
        shares = [maxima[name] / max(maxima[name].max(), _TINY) for name in stream.tensors if name in maxima]
        factor = np.max(shares, axis=0, initial=_SMALLEST) ** strength  # (channels,)
        factors.update(dict.fromkeys(stream.tensors, factor))
        for node in stream.writers:
            for name in node.input[1:]:
                _multiply(weights[name], 1 / factor, axis=0)
        for node in stream.readers:
            _multiply(weights[node.input[1]], factor, _input_axis(node))
    return factors


def find_streams(model: onnx.ModelProto) -> list[Stream]:
    """The streams that can be equalized: only convolutions, rectifiers, sums, pools and dense layers touch them."""
    weights = weights_of(model)
    uses = Counter(name for node in model.graph.node for name in node.input if name in weights)
    flattened = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in _FLATTENING}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    for node in model.graph.node:
        if node.op_type in _JOINING:
            for name in node.output[:1]:
                for other in node.input:
                    root[find(other)] = find(name)
    streams: dict[str, Stream] = {}
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        own = [name for name in node.input if name in weights]
        movable = all(uses[name] == 1 for name in own)
        if node.op_type == "Conv" and movable and attribute(node, "group", 1) == 1:
            streams.setdefault(find(node.input[0]), Stream()).readers.append(node)
            streams.setdefault(find(node.output[0]), Stream()).writers.append(node)
        elif node.op_type == "Gemm" and movable and node.input[0] in flattened:
            streams.setdefault(find(flattened[node.input[0]]), Stream()).readers.append(node)
            fixed.add(node.output[0])
        elif node.op_type in _FLATTENING:
            if not all(user.op_type == "Gemm" for user in model.graph.node if node.output[0] in user.input):
                fixed.update((node.input[0], node.output[0]))
        elif node.op_type not in _JOINING or own:
            fixed.update((*node.input, *node.output))
    for name in list(root):
        if find(name) in streams:
            streams[find(name)].tensors.append(name)
    fixed = {find(name) for name in fixed}
    return [stream for name, stream in streams.items() if name not in fixed and _fits(stream, weights)]


def _fits(stream: Stream, weights: dict[str, onnx.TensorProto]) -> bool:
    """Whether the readers take the writers' channels one to one; a dense layer that also takes pixels does not."""
    channels = {weights[node.input[1]].dims[0] for node in stream.writers}
    channels |= {weights[node.input[1]].dims[_input_axis(node)] for node in stream.readers}
    return bool(stream.writers and stream.readers) and len(channels) == 1


def _input_axis(node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "Conv" or attribute(node, "transB", 0) else 0


def _multiply(tensor: onnx.TensorProto, factor: NDArray[np.floating], axis: int) -> None:
    values = to_array(tensor)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    tensor.CopyFrom(from_array((values * factor.reshape(shape)).astype(np.float32), tensor.name))
