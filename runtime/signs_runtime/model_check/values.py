"""What is known of a graph's values before it runs, and what an operator's rule may ask of them."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from signs_runtime.model_check.onnx_file import DTYPES, FLOAT16, Graph, Node, Tensor, names, refuse

MAX_KNOWN = 1024  # numbers of a shape computation
MAX_ATTRIBUTE = 2**31 - 1  # of any integer that says a size

Shape = tuple[int, ...]
Array = NDArray[Any]  # of whatever dtype the graph has


class Value:
    """What is known of a value before it is computed: its type and shape, and its numbers where they say a shape."""

    __slots__ = ("_known", "graph", "is_constant", "kind", "room", "shape", "tensor", "varies")

    def __init__(self, kind: int, shape: Sequence[int], known: Array | None = None, *, varies: bool = False) -> None:
        self.kind, self.shape = kind, tuple(shape)
        self.is_constant = False  # made of weights alone, so that it is computed when the model is loaded
        self.varies = varies  # its numbers depend on the batch
        # Bytes while it is alive; float16 is computed in float32 on CPUs, beside it.
        self.room = self.size * (6 if kind == FLOAT16 else DTYPES[kind].itemsize if kind in DTYPES else 8)
        self._known = known
        self.graph: Graph | None = None
        self.tensor: Tensor | None = None

    @classmethod
    def of(cls, graph: Graph, tensor: Tensor) -> "Value":
        """The value of a tensor in the file, whose numbers are read when they are asked for."""
        value = cls(tensor.kind, tensor.shape)
        value.graph, value.tensor, value.is_constant = graph, tensor, True
        return value

    @property
    def known(self) -> Array | None:
        """Its numbers, where they are few and follow from the shapes alone."""
        if self._known is None and self.tensor and self.graph and self.size <= MAX_KNOWN:
            self._known = self.graph.array(self.tensor)
        return self._known

    @property
    def size(self) -> int:
        return prod(self.shape)

    def as_shape(self, shape: Sequence[int]) -> "Value":
        """Another value of the same type."""
        return Value(self.kind, shape)


class Call:
    """One node with the values that it is given, and what its rule asks of them."""

    def __init__(self, graph: Graph, node: Node, values: list[Value | None]) -> None:
        self.graph, self.node, self.values = graph, node, values
        self.work = 0  # multiplications, beside those that it takes to move values
        self.extra = 0  # bytes, beside the values given and made

    @property
    def x(self) -> Value:
        """Its first input."""
        return self.given(0)

    def given(self, i: int) -> Value:
        value = self.get(i)
        if value is None:
            self.refuse(f"lacks input {i}")
        return value

    def get(self, i: int) -> Value | None:
        return self.values[i] if i < len(self.values) else None

    def refuse(self, what: str) -> NoReturn:
        refuse(f"the {self.node.op} that makes {names(self.node.outputs)} {what}")

    def number(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.node.attributes.get(name, default)
        if type(value) is not int or abs(value) > MAX_ATTRIBUTE:
            self.refuse(f"has {name}={value!r:.50}")
        return int(value)

    def numbers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...] | None:
        """An attribute of integers."""
        value = self.node.attributes.get(name)
        if value is None:
            return None if default is None else tuple(default)
        if not isinstance(value, tuple) or not all(type(n) is int and abs(n) <= MAX_ATTRIBUTE for n in value):
            self.refuse(f"has {name}={value!r:.50}")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            self.refuse(f"has {name}={value!r:.50}")
        return str(value)

    def known(self, i: int) -> Array:
        """The numbers of an input that says a shape."""
        value = self.given(i)
        if value.known is None:
            self.refuse(f"takes a size from input {i}, which is not known before it runs")
        return np.asarray(value.known)

    def integers(self, i: int) -> tuple[int, ...]:
        known = self.known(i)
        if known.dtype.kind not in "iu" or known.ndim > 1:
            self.refuse(f"takes a size from input {i}, which is no list of integers")
        return tuple(known.reshape(-1).tolist())

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            self.refuse(f"names axis {axis} of {rank}")
        return axis % rank

    def axes(self, i: int, rank: int) -> tuple[int, ...] | None:
        """The axes in input i, or in the attribute of earlier versions."""
        given = self.integers(i) if self.get(i) is not None else self.numbers("axes")
        if given is None:
            return None
        axes = tuple(self.axis(axis, rank) for axis in given)
        if len(set(axes)) != len(axes):
            self.refuse(f"names an axis twice: {axes}")
        return axes


Rule = Callable[[Call], list[Value]]


def broadcast(call: Call, *shapes: Shape) -> Shape:
    """The shape to which all of these are stretched."""
    rank = max(map(len, shapes), default=0)
    sides = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wide = {side for side in column if side != 1}
        if len(wide) > 1:
            call.refuse(f"is given shapes that do not fit: {shapes!r:.200}")
        sides.append(wide.pop() if wide else 1)
    return tuple(sides)


def computed(made: Value, values: Sequence[Value], compute: Callable[[list[Array]], Array]) -> Value:
    """Carry the numbers of a small value on, where all that it is made of is known."""
    arrays = [value.known for value in values]
    if made.size <= MAX_KNOWN and all(array is not None for array in arrays):
        with np.errstate(all="ignore"):
            result = np.asarray(compute([array for array in arrays if array is not None]))
        made._known = result.astype(DTYPES[made.kind]).reshape(made.shape)
        made.varies = any(value.varies for value in values)
    return made


def same(call: Call) -> list[Value]:
    """The type and shape of the first input."""
    return [call.x.as_shape(call.x.shape)]
