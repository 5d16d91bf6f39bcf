"""The operators that mostly move numbers: reshaping, slicing, gathering, padding, resizing.

The rules are those of https://onnx.ai/onnx/operators.
"""

from math import ceil, prod

import numpy as np

from signs_runtime.model_check.onnx_file import INT32, INT64
from signs_runtime.model_check.values import MAX_ATTRIBUTE, Call, Rule, Value, broadcast, computed

_MAX_BLOCK = 8192


def _reshape(call: Call) -> list[Value]:
    x, wanted = call.x, list(call.integers(1))
    if not call.number("allowzero", 0):
        wanted = [x.shape[i] if side == 0 and i < len(x.shape) else side for i, side in enumerate(wanted)]
    rest = prod(side for side in wanted if side != -1)
    if wanted.count(-1) == 1 and rest > 0 and x.size % rest == 0:
        wanted[wanted.index(-1)] = x.size // rest
    if min(wanted, default=1) < 1 or prod(wanted) != x.size:
        call.refuse(f"turns {x.shape} into {tuple(wanted)!r:.200}")
    return [computed(x.as_shape(wanted), [x], lambda arrays: arrays[0])]


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
    return [computed(made, [call.x], lambda arrays: arrays[0])]


def _unsqueeze(call: Call) -> list[Value]:
    rank = len(call.x.shape) + len(call.integers(1))
    axes = call.axes(1, rank) or ()
    sides = iter(call.x.shape)
    made = call.x.as_shape([1 if i in axes else next(sides) for i in range(rank)])
    return [computed(made, [call.x], lambda arrays: arrays[0])]


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
    return [computed(call.x.as_shape(shape), values, lambda arrays: np.concatenate(arrays, axis))]


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
    return [computed(call.x.as_shape(shape), [call.x], lambda arrays: arrays[0][tuple(cut)])]


def _gather(call: Call) -> list[Value]:
    shape, places = call.x.shape, call.given(1)
    axis = call.axis(call.number("axis", 0), len(shape))
    if places.kind not in (INT32, INT64):
        call.refuse("takes indices that are not integers")
    if places.known is not None and not bool(np.all((places.known >= -shape[axis]) & (places.known < shape[axis]))):
        call.refuse(f"takes what is outside {shape}")
    made = call.x.as_shape([*shape[:axis], *places.shape, *shape[axis + 1 :]])
    return [computed(made, [call.x, places], lambda arrays: np.take(arrays[0], arrays[1], axis))]


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
        # In float32, as onnxruntime multiplies: there, 0.64 is slightly smaller than 0.64, but times 100 it gives 64.
        sides = [int(np.float32(shape[axis]) * np.float32(scale)) for axis, scale in zip(axes, scales, strict=True)]
    if len(sides) != len(axes) or call.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        call.refuse(f"resizes {len(shape)} axes to {sides!r:.100}")
    made = list(shape)
    for axis, side in zip(axes, sides, strict=True):
        made[axis] = side
    value = call.x.as_shape(made)
    call.work = (4096 if call.text("mode", "nearest") == "cubic" else 512) * value.size
    return [value]


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


LAYOUTS: dict[str, Rule] = {
    **dict.fromkeys(["DepthToSpace", "SpaceToDepth"], _blocks),
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
