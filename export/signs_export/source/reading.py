"""Finds which pixels of a Keras layer's output are read at all: 1x1 convolutions with strides skip most of them."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import keras

Strides = tuple[int, int]

# Words in the names of layers, and of Keras's operations, that may take a number from one pixel to another. Any other
# layer whose output has the size of its inputs is taken to compute each pixel by itself, a user's own layers included.
_MOVING = frozenset({"Conv", "Pool", "Norm", "Attention", "Random", "Resiz", "Sampling", "Padding", "Cropping", "Flip"})
_MOVING |= {"Roll", "Transpose", "Permute", "Reshape", "Cum", "Sort", "LSTM", "GRU", "RNN"}
_WINDOWS = {"Conv2D": "kernel_size", "DepthwiseConv2D": "kernel_size"}
_WINDOWS |= {"MaxPooling2D": "pool_size", "AveragePooling2D": "pool_size"}


def strides_of_readers(model: keras.Model) -> dict[str, Strides]:
    """By layer, the strides (down, across) at which its output is read, where they are not (1, 1).

    (2, 2) means that nothing in the model reads more than every second pixel of every second row.
    """
    found: defaultdict[str, list[Strides]] = defaultdict(list)
    _walk(model, [(1, 1)] * len(model.outputs), found)
    every = {name: _common(strides) for name, strides in found.items()}
    return {name: strides for name, strides in every.items() if strides != (1, 1)}


def _walk(model: keras.Model, outputs: Sequence[Strides], found: defaultdict[str, list[Strides]]) -> list[Strides]:
    """Note in `found` the strides at which each layer's output is read; returns those for the model's inputs.

    `outputs` are the strides at which the model's own outputs are read.
    """
    graph = getattr(model, "_functional", None) or model  # a Sequential has a functional model inside
    if not hasattr(graph, "_nodes_by_depth"):
        return [(1, 1)] * len(model.inputs)
    read: defaultdict[int, list[Strides]] = defaultdict(list)  # by tensor
    for tensor, strides in zip(graph.outputs, outputs, strict=True):
        read[id(tensor)].append(strides)
    for _, nodes in sorted(graph._nodes_by_depth.items()):  # from the outputs to the inputs
        for node in nodes:
            wanted = [_common(read[id(tensor)]) for tensor in node.output_tensors]
            if isinstance(node.operation, keras.Model):
                reads = _walk(node.operation, wanted, found)
            else:
                reads = [_reads(node, tensor, wanted[0]) for tensor in node.input_tensors]
            for tensor, strides in zip(node.input_tensors, reads, strict=True):
                read[id(tensor)].append(strides)
            found[node.operation.name].append(wanted[0])
    return [_common(read[id(tensor)]) for tensor in graph.inputs]


def _reads(node: Any, tensor: keras.KerasTensor, wanted: Strides) -> Strides:  # Any: Keras's node, an operation's call
    """The strides at which an operation reads one of its inputs, given those at which its output is read."""
    operation, size = node.operation, node.output_tensors[0].shape[1:-1]
    kind = type(operation).__name__
    if kind in _WINDOWS and tuple(getattr(operation, _WINDOWS[kind])) == (1, 1):
        return operation.strides[0] * wanted[0], operation.strides[1] * wanted[1]
    moves = kind != "BatchNormalization" and any(word in kind for word in _MOVING)
    sizes = {each.shape[1:-1] for each in node.input_tensors}
    return wanted if tensor.shape[1:-1] == size and not moves and sizes <= {size, (1, 1)} else (1, 1)


def _common(strides: Sequence[Strides]) -> Strides:
    """The largest strides that reach all that is read; (1, 1) if nothing reads it."""
    return math.gcd(*(down for down, _ in strides)) or 1, math.gcd(*(across for _, across in strides)) or 1
