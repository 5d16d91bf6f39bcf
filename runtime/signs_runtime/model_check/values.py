"""What is known about a graph's values before it runs, and how an operator's rule reads its inputs."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from signs_runtime.model_check.onnx_file import DTYPES, FLOAT16, Graph, Node, Tensor, names, refuse

MAX_KNOWN = 1024  # numbers in a shape computation
MAX_ATTRIBUTE = 2**31 - 1  # for any integer that sets a size

Shape = tuple[int, ...]
Array = NDArray[Any]  # of whatever dtype the graph has


class Value:
    """What is known about a value before it is computed: type and shape, and its numbers if they define a shape."""

    __slots__ = ("_known", "graph", "is_constant", "kind", "room", "shape", "tensor", "varies")

    def __init__(self, kind: int, shape: Sequence[int], known: Array | None = None, *, varies: bool = False) -> None:
        self.kind, self.shape = kind, tuple(shape)
        self.is_constant = False  # depends on weights alone, so it is computed when the model is loaded
        self.varies = varies  # its numbers depend on the batch
        # Bytes while it is alive; on CPUs, float16 is computed in a float32 copy.
        self.room = self.size * (6 if kind == FLOAT16 else DTYPES[kind].itemsize if kind in DTYPES else 8)
        self._known = known
        self.graph: Graph | None = None
        self.tensor: Tensor | None = None

    @classmethod
    def of(cls, graph: Graph, tensor: Tensor) -> "Value":
        """The value of a tensor in the file; its numbers are read only when needed."""
        value = cls(tensor.kind, tensor.shape)
        value.graph, value.tensor, value.is_constant = graph, tensor, True
        return value

    @property
    def known(self) -> Array | None:
        """Its numbers, if they are few and follow from shapes and weights alone; otherwise None."""
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
    """One node with its input values, and helpers with which its rule reads them."""

    def __init__(self, graph: Graph, node: Node, values: list[Value | None]) -> None:
        self.graph, self.node, self.values = graph, node, values
        self.work = 0  # multiplications, in addition to the cost of moving values
        self.extra = 0  # bytes, in addition to inputs and outputs

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
        """The numbers of an input that defines a shape."""
        value = self.given(i)
        if value.known is None:
            self.refuse(f"takes a size from input {i}, which is unknown before it runs")
        return np.asarray(value.known)

    def integers(self, i: int) -> tuple[int, ...]:
        known = self.known(i)
        if known.dtype.kind not in "iu" or known.ndim > 1:
            self.refuse(f"takes a size from input {i}, which is not a list of integers")
        return tuple(known.reshape(-1).tolist())

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            self.refuse(f"names axis {axis} of {rank}")
        return axis % rank

    def axes(self, i: int, rank: int) -> tuple[int, ...] | None:
        """The axes from input i, or from the attribute that earlier opsets use."""
        given = self.integers(i) if self.get(i) is not None else self.numbers("axes")
        if given is None:
            return None
        axes = tuple(self.axis(axis, rank) for axis in given)
        if len(set(axes)) != len(axes):
            self.refuse(f"names an axis twice: {axes}")
        return axes


Rule = Callable[[Call], list[Value]]


def broadcast(call: Call, *shapes: Shape) -> Shape:
    """The common shape to which all of these are broadcast."""
    rank = max(map(len, shapes), default=0)
    sides = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wide = {side for side in column if side != 1}
        if len(wide) > 1:
            call.refuse(f"gets shapes that do not fit together: {shapes!r:.200}")
        sides.append(wide.pop() if wide else 1)
    return tuple(sides)


def computed(made: Value, values: Sequence[Value], compute: Callable[[list[Array]], Array]) -> Value:
    """Compute the numbers of a small value if those of all its inputs are known."""
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
