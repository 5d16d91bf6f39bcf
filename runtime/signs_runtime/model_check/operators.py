"""The operators that an exported classifier may use, each with the types and shapes that it makes.

The rules are those of https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Sequence
from math import ceil, prod

import numpy as np

from signs_runtime.model_check.layers import LAYERS
from signs_runtime.model_check.onnx_file import BOOL, DTYPES, FLOAT, INT32, INT64, Tensor
from signs_runtime.model_check.values import MAX_ATTRIBUTE, MAX_KNOWN, Array, Call, Rule, Shape, Value, broadcast, same

_INTEGERS = frozenset(kind for kind, dtype in DTYPES.items() if dtype.kind in "iu")
_MAX_BLOCK = 8192


def _together(call: Call) -> list[Value]:
    """An operation on values that are stretched to each other's shapes."""
    values = [call.given(i) for i in range(len(call.values))]
    shape = broadcast(call, *(value.shape for value in values))
    made = call.x.as_shape(shape)
    if compute := _ARITHMETIC.get(call.node.op):
        _compute(made, values, lambda arrays: compute(*arrays) if len(arrays) == 2 else arrays[0])
    return [made]


_ARITHMETIC: dict[str, Callable[..., Array]] = {"Add": np.add, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}


def _compute(made: Value, values: Sequence[Value], compute: Callable[[list[Array]], Array]) -> Value:
    """Carry the numbers of a small value on, where all that it is made of is known."""
    arrays = [value.known for value in values]
    if made.size <= MAX_KNOWN and all(array is not None for array in arrays):
        with np.errstate(all="ignore"):
            result = np.asarray(compute([array for array in arrays if array is not None]))
        made._known = result.astype(DTYPES[made.kind]).reshape(made.shape)
        made.varies = any(value.varies for value in values)
    return made


def _divided(call: Call) -> list[Value]:
    """Div and Mod, which end the process where an integer is divided by 0, or the smallest one by -1."""
    (made,) = _together(call)
    if made.kind in _INTEGERS:
        by = call.known(1)
        if call.given(1).varies or bool(np.isin(by, (0, -1)).any()):
            call.refuse("divides integers by what may be 0 or -1")
        if call.x.known is not None and not call.x.varies and call.node.op == "Div":
            _compute(
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
    return [_compute(made, [call.x], lambda arrays: arrays[0])]


def _identity(call: Call) -> list[Value]:
    (made,) = same(call)
    made = _compute(made, [call.x], lambda arrays: arrays[0])
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
        call.refuse("has a value that is no tensor")
    return [Value(FLOAT if fill is None else fill.kind, call.integers(0))]


def _range(call: Call) -> list[Value]:
    start, limit, step = (call.known(i) for i in range(3))
    if (
        any(each.size != 1 for each in (start, limit, step))
        or not np.all(step)
        or not np.isfinite([*start.flat, *limit.flat, *step.flat]).all()
    ):
        call.refuse("counts in steps that lead nowhere")
    count = (float(limit.item()) - float(start.item())) / float(step.item())
    if not 0 < count < 2**31:
        call.refuse(f"counts {count} numbers")
    return [call.x.as_shape([ceil(count)])]


def _reshape(call: Call) -> list[Value]:
    x, wanted = call.x, list(call.integers(1))
    if not call.number("allowzero", 0):
        wanted = [x.shape[i] if side == 0 and i < len(x.shape) else side for i, side in enumerate(wanted)]
    rest = prod(side for side in wanted if side != -1)
    if wanted.count(-1) == 1 and rest > 0 and x.size % rest == 0:
        wanted[wanted.index(-1)] = x.size // rest
    if min(wanted, default=1) < 1 or prod(wanted) != x.size:
        call.refuse(f"turns {x.shape} into {tuple(wanted)!r:.200}")
    return [_compute(x.as_shape(wanted), [x], lambda arrays: arrays[0])]


def _flatten(call: Call) -> list[Value]:
    shape, axis = call.x.shape, call.number("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [call.x.as_shape([prod(shape[:axis]), prod(shape[axis:])])]


def _squeeze(call: Call) -> list[Value]:
    shape = call.x.shape
    axes = call.axes(1, len(shape))
    if axes is None:
        axes = tuple(i for i, side in enumerate(shape) if side == 1)
    if any(shape[axis] != 1 for axis in axes):
        call.refuse(f"drops the axes {axes} of {shape}")
    made = call.x.as_shape([side for i, side in enumerate(shape) if i not in axes])
    return [_compute(made, [call.x], lambda arrays: arrays[0])]


def _unsqueeze(call: Call) -> list[Value]:
    rank = len(call.x.shape) + len(call.integers(1))
    axes = call.axes(1, rank) or ()
    sides = iter(call.x.shape)
    made = call.x.as_shape([1 if i in axes else next(sides) for i in range(rank)])
    return [_compute(made, [call.x], lambda arrays: arrays[0])]


def _transpose(call: Call) -> list[Value]:
    rank = len(call.x.shape)
    order = call.numbers("perm", range(rank)[::-1]) or ()
    if sorted(order) != list(range(rank)):
        call.refuse(f"orders {rank} axes as {order!r:.100}")
    return [call.x.as_shape([call.x.shape[axis] for axis in order])]


def _concat(call: Call) -> list[Value]:
    values = [call.given(i) for i in range(len(call.values))]
    axis = call.axis(call.number("axis", 0), len(call.x.shape))
    rests = {value.shape[:axis] + value.shape[axis + 1 :] for value in values}
    if len(rests) != 1 or {len(value.shape) for value in values} != {len(call.x.shape)}:
        call.refuse(f"joins the shapes {[value.shape for value in values]!r:.200}")
    shape = list(call.x.shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    return [_compute(call.x.as_shape(shape), values, lambda arrays: np.concatenate(arrays, axis))]


def _split(call: Call) -> list[Value]:
    shape = list(call.x.shape)
    axis, parts = call.axis(call.number("axis", 0), len(shape)), len(call.node.outputs)
    if call.get(1) is not None:
        sizes = list(call.integers(1))
    else:
        each = ceil(shape[axis] / max(parts, 1))
        sizes = [each] * (parts - 1) + [shape[axis] - each * (parts - 1)]
    if sum(sizes) != shape[axis] or min(sizes, default=0) < 1:
        call.refuse(f"splits {shape[axis]} into {sizes!r:.200}")
    return [call.x.as_shape([*shape[:axis], size, *shape[axis + 1 :]]) for size in sizes]


def _slice(call: Call) -> list[Value]:
    shape, starts, ends = list(call.x.shape), call.integers(1), call.integers(2)
    axes = call.axes(3, len(shape)) or tuple(range(len(starts)))
    steps = call.integers(4) if call.get(4) is not None else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) <= len(shape) or 0 in steps:
        call.refuse("has starts, ends, axes and steps that do not fit")
    cut = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        side = shape[axis]
        if step < 0 and end < -side:
            cut[axis] = slice(start, None, step)
        else:
            cut[axis] = slice(start, end, step)
        shape[axis] = len(range(*cut[axis].indices(side)))
    return [_compute(call.x.as_shape(shape), [call.x], lambda arrays: arrays[0][tuple(cut)])]


def _gather(call: Call) -> list[Value]:
    shape, places = call.x.shape, call.given(1)
    axis = call.axis(call.number("axis", 0), len(shape))
    if places.kind not in (INT32, INT64):
        call.refuse("takes places that are no integers")
    if places.known is not None and not bool(np.all((places.known >= -shape[axis]) & (places.known < shape[axis]))):
        call.refuse(f"takes what is outside {shape}")
    made = call.x.as_shape([*shape[:axis], *places.shape, *shape[axis + 1 :]])
    return [_compute(made, [call.x, places], lambda arrays: np.take(arrays[0], arrays[1], axis))]


def _gather_elements(call: Call) -> list[Value]:
    return [call.x.as_shape(call.given(1).shape)]


def _gather_nd(call: Call) -> list[Value]:
    batch, (*places, depth) = call.number("batch_dims", 0), call.given(1).shape or (0,)
    if not 0 <= batch <= len(places) or not 1 <= depth <= len(call.x.shape) - batch:
        call.refuse(f"takes {depth} of {call.x.shape}")
    return [call.x.as_shape([*places, *call.x.shape[batch + depth :]])]


def _expand(call: Call) -> list[Value]:
    wanted = call.integers(1)
    if min(wanted, default=1) < 1:
        call.refuse(f"stretches to {wanted!r:.200}")
    return [call.x.as_shape(broadcast(call, call.x.shape, wanted))]


def _tile(call: Call) -> list[Value]:
    repeats = call.integers(1)
    if len(repeats) != len(call.x.shape) or min(repeats, default=1) < 1:
        call.refuse(f"repeats {call.x.shape} {repeats!r:.200} times")
    return [call.x.as_shape([side * times for side, times in zip(call.x.shape, repeats, strict=True)])]


def _pad(call: Call) -> list[Value]:
    shape, pads = list(call.x.shape), call.integers(1)
    axes = call.axes(3, len(shape)) or tuple(range(len(shape)))
    if len(pads) != 2 * len(axes) or any(abs(pad) > MAX_ATTRIBUTE for pad in pads):
        call.refuse(f"pads {len(shape)} axes by {pads!r:.200}")
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        side = shape[axis]
        if before < -side or after < -side or (min(before, after) < 0 and call.text("mode", "constant") != "constant"):
            call.refuse(f"cuts {pads!r:.200} off {call.x.shape}")
        shape[axis] += before + after
    return [call.x.as_shape(shape)]


def _resize(call: Call) -> list[Value]:
    shape = call.x.shape
    axes = call.numbers("axes") or tuple(range(len(shape)))
    if sorted(set(axes)) != sorted(axes) or not all(0 <= axis < len(shape) for axis in axes):
        call.refuse(f"names the axes {axes!r:.100}")
    if call.get(3) is not None:
        sides = list(call.integers(3))
    else:
        scales = call.known(2).reshape(-1).astype(np.float64).tolist()
        if len(scales) != len(axes) or not all(0 < scale <= 2**31 for scale in scales):
            call.refuse(f"scales {shape} by {scales!r:.100}")
        sides = [int(shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True)]
    if len(sides) != len(axes) or call.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        call.refuse(f"resizes {len(shape)} axes to {sides!r:.100}")
    made = list(shape)
    for axis, side in zip(axes, sides, strict=True):
        made[axis] = side
    value = call.x.as_shape(made)
    call.work = (4096 if call.text("mode", "nearest") == "cubic" else 512) * value.size
    return [value]


def _reduce(call: Call) -> list[Value]:
    shape = call.x.shape
    axes = call.axes(1, len(shape))
    if not axes:
        axes = () if call.number("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    made = call.x.as_shape(_without(call, axes, call.number("keepdims", 1)))
    if call.node.op == "ReduceProd":
        _compute(made, [call.x], lambda arrays: np.prod(arrays[0], axis=axes))
    return [made]


def _without(call: Call, axes: tuple[int, ...], keep: int) -> Shape:
    sides = enumerate(call.x.shape)
    return tuple(1 if i in axes else side for i, side in sides if keep or i not in axes)


def _arg(call: Call) -> list[Value]:
    axis = call.axis(call.number("axis", 0), len(call.x.shape))
    return [Value(INT64, _without(call, (axis,), call.number("keepdims", 1)))]


def _one_hot(call: Call) -> list[Value]:
    depth = call.integers(1)
    if len(depth) != 1 or depth[0] < 1:
        call.refuse(f"has depth {depth}")
    shape = list(call.x.shape)
    shape.insert(call.axis(call.number("axis", -1), len(shape) + 1), depth[0])
    return [Value(call.given(2).kind, shape)]


def _along_axis(call: Call) -> list[Value]:
    """Softmax and what else works along an axis; where that is not the last, on a transposed copy."""
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
            call.refuse("is bounded by more than a number")
    return same(call)


def _blocks(call: Call) -> list[Value]:
    shape, block = call.x.shape, call.number("blocksize", 0)
    if len(shape) != 4 or not 1 <= block <= _MAX_BLOCK:
        call.refuse(f"has blocks of {block} for {shape}")
    n, c, h, w = shape
    if call.node.op == "DepthToSpace":
        made, rest = (n, c // block**2, h * block, w * block), c % block**2
    else:
        made, rest = (n, c * block**2, h // block, w // block), h % block + w % block
    if rest:
        call.refuse(f"has blocks of {block} for {shape}")
    return [call.x.as_shape(made)]


_UNARY = """Abs Ceil Celu Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log LpNormalization Mish Neg Not
Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Tanh ThresholdedRelu MeanVarianceNormalization"""
RULES: dict[str, Rule] = {
    **LAYERS,
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
    **dict.fromkeys(["DepthToSpace", "SpaceToDepth"], _blocks),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumulate,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
