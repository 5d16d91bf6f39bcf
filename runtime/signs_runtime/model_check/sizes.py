"""Computes how large every value of a graph gets, operator by operator, to bound a run's memory and work beforehand.

Without this check, onnxruntime 1.31 folds a sum of two weights of 30,000 values, 1 x n and n x 1, into 3.5 GB and fills
4 GB for a ConstantOfShape. It dies (SIGFPE) when it divides the smallest integer by -1, on DepthToSpace by 2**33 and on
a ConvTranspose with 0 groups.
"""

from collections import Counter

from signs_runtime.errors import BundleFormatError
from signs_runtime.model_check.onnx_file import DTYPES, MAX_RANK, Graph, Input, Node, names, refuse
from signs_runtime.model_check.operators import RULES
from signs_runtime.model_check.values import Call, Rule, Value
from signs_runtime.pictures.input_spec import MAX_SIDE

MAX_LIVE = 384 * 2**20  # bytes of values alive at once for one picture; VGG19 at 224x224 has 26 MB
MAX_FOLDED = 64 * 2**20  # bytes that constants may expand to, in addition to 16 times the file (int8 in float)
MAX_WORK = 2**38  # multiplications for one picture, some seconds; ViT-H/14 has 1.7e11, ConvNeXt-XL 6e10
_TAKE_NOTHING = {"Resize", "Reshape", "Expand", "ConstantOfShape"}  # may have empty inputs: a scalar's shape, no region
_MOVED = 32  # multiplications that take as long as moving a value; the operators' own numbers are measured alike


def check_sizes(graph: Graph) -> None:
    """Refuse a graph that takes more memory or work for one picture than any classifier does.

    Two pictures may take at most twice as much as one. Raises BundleFormatError.
    """
    live, work = Walk(graph, 1).walk()
    if any(isinstance(side, str) for each in graph.inputs for side in each.shape):
        twice_live, twice_work = Walk(graph, 2).walk()
        if twice_live > 2 * live or twice_work > 2 * work:
            refuse("two pictures take more than twice the memory or the work of one")


class Walk:
    """Goes through a graph's nodes in order, for `batch` pictures."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.values: dict[str, Value] = {}
        self.readers = Counter(name for node in graph.nodes for name in node.inputs)
        self.readers.update(graph.outputs)
        self.folded = self.live = self.peak = self.work = 0

    def walk(self) -> tuple[int, int]:
        """The most bytes that are alive at once, and the number of multiplications."""
        for tensor in self.graph.tensors:
            self.keep(tensor.name, Value.of(self.graph, tensor))
        for given in self.graph.inputs:
            value = self.input(given)
            self.keep(given.name, value)
            self.live += value.room
        for node in self.graph.nodes:
            self.step(node)
        if missing := [name for name in self.graph.outputs if name not in self.values]:
            refuse(f"no node makes its outputs {names(missing)}")
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
            call.refuse("gets weights without any number")
        made = self.apply(rule, call)
        if len(node.outputs) > len(made) or not any(node.outputs):
            call.refuse("has too many outputs" if node.outputs else "has no output")
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
            call.refuse(f"raises the memory for one picture to {self.peak:,} bytes, more than {MAX_LIVE:,}")
        if self.folded > MAX_FOLDED + 16 * len(self.graph.content):
            call.refuse(f"expands the constants to {self.folded:,} bytes")
        if self.work > MAX_WORK * self.batch:
            call.refuse(f"raises the work for one picture to {self.work:,} multiplications, more than {MAX_WORK:,}")
        self.release(node)

    def apply(self, rule: Rule, call: Call) -> list[Value]:
        """Apply a rule. Rules expect inputs that fit; others make them raise; onnxruntime would refuse those, too."""
        try:
            return rule(call)
        except BundleFormatError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            call.refuse(f"gets inputs that it cannot take ({error!s:.200})")

    def find(self, name: str, node: Node) -> Value:
        value = self.values.get(name)
        if value is None:
            refuse(
                f"the {node.op:.100} that makes {names(node.outputs)} reads {name!r:.100}, which no earlier node makes"
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
