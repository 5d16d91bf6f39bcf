"""The operators that an exported classifier may use, each with the types and shapes of its outputs.

The rules are those of https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable
from math import ceil

import numpy as np

from signs_runtime.model_check.layers import LAYERS
from signs_runtime.model_check.layout import LAYOUTS
from signs_runtime.model_check.onnx_file import BOOL, DTYPES, FLOAT, INT64, Tensor
from signs_runtime.model_check.recurrent import RECURRENT
from signs_runtime.model_check.values import MAX_KNOWN, Array, Call, Rule, Shape, Value, broadcast, computed, same

_INTEGERS = frozenset(kind for kind, dtype in DTYPES.items() if dtype.kind in "iu")
_MAX_BLOCK = 8192


def _together(call: Call) -> list[Value]:
    """An operation on values that are broadcast to a common shape."""
    values = [call.given(i) for i in range(len(call.values))]
    shape = broadcast(call, *(value.shape for value in values))
    made = call.x.as_shape(shape)
    if compute := _ARITHMETIC.get(call.node.op):
        computed(made, values, lambda arrays: compute(*arrays) if len(arrays) == 2 else arrays[0])
    return [made]


_ARITHMETIC: dict[str, Callable[..., Array]] = {"Add": np.add, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}


def _divided(call: Call) -> list[Value]:
    """Div and Mod, which crash the process if an integer is divided by 0, or the smallest one by -1."""
    (made,) = _together(call)
    if made.kind in _INTEGERS:
        by = call.known(1)
        if call.given(1).varies or bool(np.isin(by, (0, -1)).any()):
            call.refuse("divides integers by what may be 0 or -1")
        if call.x.known is not None and not call.x.varies and call.node.op == "Div":
            computed(
                made,
                [call.x, call.given(1)],
                lambda arrays: (
                    np.floor_divide(np.abs(arrays[0]), np.abs(arrays[1])) * np.sign(arrays[0]) * np.sign(arrays[1])
                ),
            )
    return [made]


def _compared(call: Call) -> list[Value]:
    (made,) = _together(call)
    return [Value(BOOL, made.shape)]


def _where(call: Call) -> list[Value]:
    (made,) = _together(call)
    return [Value(call.given(1).kind, made.shape)]


def _cast(call: Call) -> list[Value]:
    made = Value(call.number("to", 0), call.x.shape)
    if made.kind not in DTYPES:
        call.refuse(f"casts to element type {made.kind}")
    return [computed(made, [call.x], lambda arrays: arrays[0])]


def _identity(call: Call) -> list[Value]:
    (made,) = same(call)
    made = computed(made, [call.x], lambda arrays: arrays[0])
    return [made, Value(BOOL, made.shape)]  # the mask of a Dropout


_CONSTANTS = {"value_float": float, "value_floats": float, "value_int": int, "value_ints": int}


def _constant(call: Call) -> list[Value]:
    if len(call.node.attributes) != 1:
        call.refuse("holds more than one constant")
    (name, given), *_ = call.node.attributes.items()
    if isinstance(given, Tensor):
        return [Value.of(call.graph, given)]
    wanted = _CONSTANTS.get(name)
    numbers = given if isinstance(given, tuple) else (given,)
    if wanted is None or any(type(number) is not wanted for number in numbers):
        call.refuse(f"holds {name!r:.50}")
    kind = FLOAT if wanted is float else INT64
    array = np.array(given, DTYPES[kind])
    made = Value(kind, array.shape, array if array.size <= MAX_KNOWN else None)
    return [made]


def _shape(call: Call) -> list[Value]:
    rank = len(call.x.shape)
    start, end = call.number("start", 0), call.number("end", rank)
    shape = np.array(call.x.shape[slice(start, end)], np.int64)
    return [Value(INT64, shape.shape, shape, varies=not call.x.is_constant)]


def _constant_of_shape(call: Call) -> list[Value]:
    fill = call.node.attributes.get("value")
    if fill is not None and not isinstance(fill, Tensor):
        call.refuse("has a value that is not a tensor")
    return [Value(FLOAT if fill is None else fill.kind, call.integers(0))]


def _range(call: Call) -> list[Value]:
    start, limit, step = (call.known(i) for i in range(3))
    if (
        any(each.size != 1 for each in (start, limit, step))
        or not np.all(step)
        or not np.isfinite([*start.flat, *limit.flat, *step.flat]).all()
    ):
        call.refuse("counts in steps that are zero or not numbers")
    count = (float(limit.item()) - float(start.item())) / float(step.item())
    if not 0 < count < 2**31:
        call.refuse(f"counts {count} numbers")
    return [call.x.as_shape([ceil(count)])]


def _reduce(call: Call) -> list[Value]:
    shape = call.x.shape
    axes = call.axes(1, len(shape))
    if not axes:
        axes = () if call.number("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    made = call.x.as_shape(_without(call, axes, call.number("keepdims", 1)))
    if call.node.op == "ReduceProd":
        computed(made, [call.x], lambda arrays: np.prod(arrays[0], axis=axes))
    return [made]


def _without(call: Call, axes: tuple[int, ...], keep: int) -> Shape:
    sides = enumerate(call.x.shape)
    return tuple(1 if i in axes else side for i, side in sides if keep or i not in axes)


def _arg(call: Call) -> list[Value]:
    axis = call.axis(call.number("axis", 0), len(call.x.shape))
    return [Value(INT64, _without(call, (axis,), call.number("keepdims", 1)))]


def _top(call: Call) -> list[Value]:
    """The largest numbers along an axis, and their indices."""
    x, (count,) = call.x, call.integers(1) or (0,)
    axis = call.axis(call.number("axis", -1), len(x.shape))
    if not 1 <= count <= x.shape[axis]:
        call.refuse(f"takes {count} of {x.shape[axis]} numbers")
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    call.work = 64 * x.size  # it sorts
    return [x.as_shape(shape), Value(INT64, shape)]


def _one_hot(call: Call) -> list[Value]:
    depth = call.integers(1)
    if len(depth) != 1 or depth[0] < 1:
        call.refuse(f"has depth {depth}")
    shape = list(call.x.shape)
    shape.insert(call.axis(call.number("axis", -1), len(shape) + 1), depth[0])
    return [Value(call.given(2).kind, shape)]


def _along_axis(call: Call) -> list[Value]:
    """Softmax and other operators along an axis; if it is not the last axis, they work on a transposed copy."""
    rank = len(call.x.shape)
    is_last = call.axis(call.number("axis", -1), rank) == rank - 1
    call.work = (256 if is_last else 2048) * call.x.size
    call.extra = 0 if is_last else 2 * call.x.room
    return same(call)


def _cumulate(call: Call) -> list[Value]:
    for axis in call.integers(1):
        call.axis(axis, len(call.x.shape))
    return same(call)


def _clip(call: Call) -> list[Value]:
    for i in (1, 2):
        bound = call.get(i)
        if bound is not None and bound.size != 1:
            call.refuse("has a bound that is not a single number")
    return same(call)


_UNARY = """Abs Ceil Celu Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log LpNormalization Mish Neg Not
Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Tanh ThresholdedRelu MeanVarianceNormalization"""
RULES: dict[str, Rule] = {
    **LAYERS,
    **LAYOUTS,
    **RECURRENT,
    **dict.fromkeys(_UNARY.split(), same),
    **dict.fromkeys(["Add", "Sub", "Mul", "Pow", "Min", "Max", "Sum", "Mean", "And", "Or", "Xor"], _together),
    **dict.fromkeys(["Div", "Mod"], _divided),
    **dict.fromkeys(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"], _compared),
    **dict.fromkeys(["Identity", "Dropout"], _identity),
    **dict.fromkeys(
        [
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        _reduce,
    ),
    **dict.fromkeys(["ArgMax", "ArgMin"], _arg),
    **dict.fromkeys(["Softmax", "LogSoftmax", "Hardmax"], _along_axis),
    "Cast": _cast,
    "Clip": _clip,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumulate,
    "OneHot": _one_hot,
    "Range": _range,
    "Shape": _shape,
    "TopK": _top,
    "Where": _where,
}
