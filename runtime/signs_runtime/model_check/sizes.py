"""Works out how large every value of a graph gets, operator by operator, so that no run can ask for more than it may.

What onnxruntime 1.31 does without: it folds a sum of two weights of 30,000 values, 1 x n and n x 1, into 3.5 GB, fills
4 GB for a ConstantOfShape, and dies (SIGFPE) of the smallest integer divided by -1, of DepthToSpace by 2**33 and of a
ConvTranspose in 0 groups.
"""

from collections import Counter

from signs_runtime.errors import BundleFormatError
from signs_runtime.model_check.onnx_file import DTYPES, MAX_RANK, Graph, Input, Node, names, refuse
from signs_runtime.model_check.operators import RULES
from signs_runtime.model_check.values import Call, Rule, Value
from signs_runtime.pictures.input_spec import MAX_SIDE

MAX_LIVE = 384 * 2**20  # bytes of values alive at once for one picture; VGG19 at 224x224 has 26 MB
MAX_FOLDED = 64 * 2**20  # bytes that values made of weights alone may have, beside 16 times the file (int8 in float)
MAX_WORK = 2**38  # multiplications for one picture, seconds; ViT-H/14 has 1.7e11, ConvNeXt-XL 6e10
_TAKE_NOTHING = {"Resize", "Reshape", "Expand", "ConstantOfShape"}  # the shape of a single number, no region
_MOVED = 32  # multiplications in the time that it takes to move a value; operators' own numbers are measured likewise


def check_sizes(graph: Graph) -> None:
    """Refuse a graph whose values, for one picture, are larger or take more work than a classifier's.

    Twice the pictures may take no more than twice as much. Raises BundleFormatError.
    """
    live, work = Walk(graph, 1).walk()
    if any(isinstance(side, str) for each in graph.inputs for side in each.shape):
        twice_live, twice_work = Walk(graph, 2).walk()
        if twice_live > 2 * live or twice_work > 2 * work:
            refuse("two pictures take more than twice the memory or the work of one")


class Walk:
    """Goes through a graph in its order for `batch` pictures."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.values: dict[str, Value] = {}
        self.readers = Counter(name for node in graph.nodes for name in node.inputs)
        self.readers.update(graph.outputs)
        self.folded = self.live = self.peak = self.work = 0

    def walk(self) -> tuple[int, int]:
        """The most bytes alive at once, and the multiplications."""
        for tensor in self.graph.tensors:
            self.keep(tensor.name, Value.of(self.graph, tensor))
        for given in self.graph.inputs:
            value = self.input(given)
            self.keep(given.name, value)
            self.live += value.room
        for node in self.graph.nodes:
            self.step(node)
        if missing := [name for name in self.graph.outputs if name not in self.values]:
            refuse(f"its outputs {names(missing)} are made by no node")
        return self.peak, self.work

    def keep(self, name: str, value: Value) -> None:
        if name in self.values or not name:
            refuse(f"the name {name!r:.100} stands for two values")
        self.values[name] = value

    def input(self, given: Input) -> Value:
        sides = [self.batch if i == 0 and isinstance(side, str) else side for i, side in enumerate(given.shape)]
        if len(sides) > MAX_RANK or not all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in sides):
            refuse(f"its input {given.name!r:.100} is of shape {given.shape!r:.200}")
        return Value(given.kind, [int(side) for side in sides])

    def step(self, node: Node) -> None:
        rule = RULES.get(node.op)
        if rule is None:
            refuse(f"it uses {node.op!r:.100}, which no exported classifier does")
        values = [self.find(name, node) if name else None for name in node.inputs]
        call = Call(self.graph, node, values)
        if node.op not in _TAKE_NOTHING and any(value is not None and not value.size for value in values):
            call.refuse("is given weights of no number")
        made = self.apply(rule, call)
        if len(node.outputs) > len(made) or not any(node.outputs):
            call.refuse("has more outputs than it can have" if node.outputs else "has no output")
        given = [value for value in values if value is not None]
        is_constant = all(value.is_constant for value in given)
        self.work += call.work + _MOVED * sum(value.size for value in (*given, *made))
        for name, value in zip(node.outputs, made, strict=False):
            self.check(call, value)
            value.room = max(value.room, *(each.room for each in given if each.size == value.size), 0)
            value.is_constant = value.is_constant or is_constant or node.op == "Shape"
            if name:
                self.keep(name, value)
            if value.is_constant:
                self.folded += value.room
            else:
                self.live += value.room
        self.peak = max(self.peak, self.live + call.extra)
        if self.peak > MAX_LIVE * self.batch:
            call.refuse(f"brings the memory for one picture to {self.peak:,} bytes, more than {MAX_LIVE:,}")
        if self.folded > MAX_FOLDED + 16 * len(self.graph.content):
            call.refuse(f"brings what weights unpack to to {self.folded:,} bytes")
        if self.work > MAX_WORK * self.batch:
            call.refuse(f"brings the work for one picture to {self.work:,} multiplications, more than {MAX_WORK:,}")
        self.release(node)

    def apply(self, rule: Rule, call: Call) -> list[Value]:
        """What the rule says; it is written for types that fit, which onnxruntime would refuse otherwise, too."""
        try:
            return rule(call)
        except BundleFormatError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            call.refuse(f"is given what it cannot take ({error!s:.200})")

    def find(self, name: str, node: Node) -> Value:
        value = self.values.get(name)
        if value is None:
            refuse(
                f"the {node.op:.100} that makes {names(node.outputs)} reads {name!r:.100}, which no node makes before"
            )
        return value

    def check(self, call: Call, value: Value) -> None:
        if value.kind not in DTYPES or len(value.shape) > MAX_RANK or min(value.shape, default=1) < 1:
            call.refuse(f"makes a value of shape {value.shape!r:.200}")

    def release(self, node: Node) -> None:
        for name in node.inputs:
            self.readers[name] -= 1
            if not self.readers[name] and name and not self.values[name].is_constant:
                self.live -= self.values[name].room
        for name in node.outputs:
            if name and not self.readers[name] and not self.values[name].is_constant:
                self.live -= self.values[name].room
