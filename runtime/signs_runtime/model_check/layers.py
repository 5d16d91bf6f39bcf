"""The output shapes of layers: matrix products, convolutions, pools, normalizations, quantization.

The rules are those of https://onnx.ai/onnx/operators.
"""

from collections.abc import Sequence
from math import ceil, prod

from signs_runtime.model_check.onnx_file import FLOAT, INT32, UINT8
from signs_runtime.model_check.values import Call, Rule, Value, broadcast, same

_FLOAT_BYTES = 4


def _matmul(call: Call, other: int = 1, kind: int | None = None) -> list[Value]:
    a, b = call.x.shape, call.given(other).shape
    if not a or not b:
        call.refuse("multiplies a single number")
    a_rows, b_columns = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if a_rows[-1] != b_columns[-2]:
        call.refuse(f"multiplies {a} by {b}")
    front = broadcast(call, a_rows[:-2], b_columns[:-2])
    shape = (*front, *((a_rows[-2],) if len(a) > 1 else ()), *((b_columns[-1],) if len(b) > 1 else ()))
    call.work = prod(shape) * a_rows[-1]
    return [Value(call.x.kind if kind is None else kind, shape)]


def _quantized_matmul(call: Call) -> list[Value]:
    if len(call.values) != 8:
        call.refuse("lacks inputs")
    return _matmul(call, 3, call.given(7).kind)


def _gemm(call: Call) -> list[Value]:
    a, b = call.x.shape, call.given(1).shape
    if len(a) != 2 or len(b) != 2:
        call.refuse(f"multiplies {a} by {b}")
    a, b = a[::-1] if call.number("transA", 0) else a, b[::-1] if call.number("transB", 0) else b
    shape = (a[0], b[1])
    third = call.get(2)
    if a[1] != b[0] or (third is not None and broadcast(call, shape, third.shape) != shape):
        call.refuse(f"multiplies {a} by {b}")
    call.work = a[0] * a[1] * b[1]
    return [call.x.as_shape(shape)]


def _einsum(call: Call) -> list[Value]:
    equation = call.text("equation", "").replace(" ", "")
    values = [call.given(i) for i in range(len(call.values))]
    terms, arrow, result = equation.partition("->")
    parts = terms.split(",")
    letters = "".join((*parts, result))
    if (
        not arrow
        or len(parts) != len(values)
        or len(values) > 2
        or (letters and not (letters.isascii() and letters.isalpha()))
    ):
        call.refuse(f"computes {equation!r:.100}")
    sides: dict[str, int] = {}
    for part, value in zip(parts, values, strict=True):
        if len(part) != len(value.shape) or len(set(part)) != len(part):
            call.refuse(f"computes {equation!r:.100} of {[each.shape for each in values]!r:.100}")
        for letter, side in zip(part, value.shape, strict=True):
            if sides.setdefault(letter, side) != side:
                call.refuse(f"computes {equation!r:.100} of {[each.shape for each in values]!r:.100}")
    if not set(result) <= sides.keys() or len(set(result)) != len(result):
        call.refuse(f"computes {equation!r:.100}")
    call.work = prod(sides.values()) + 512 * sum(value.size for value in values)
    made = call.x.as_shape([sides[letter] for letter in result])
    call.extra = made.room + sum(value.room for value in values)  # it transposes them
    return [made]


def _window(call: Call, kernel: Sequence[int], spatial: Sequence[int], *, pools: bool) -> list[int]:
    """The output sides of a sliding window; onnxruntime refuses pools whose windows may lie entirely in the padding."""
    rank = len(spatial)
    strides = call.numbers("strides", (1,) * rank) or ()
    dilations = call.numbers("dilations", (1,) * rank) or ()
    pads = call.numbers("pads", (0,) * 2 * rank) or ()
    auto = call.text("auto_pad", "NOTSET")
    if not len(kernel) == len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
        call.refuse(f"slides over {tuple(spatial)} with attributes that do not fit")
    if min((*kernel, *strides, *dilations), default=1) < 1 or min(pads, default=0) < 0:
        call.refuse("slides by less than one")
    made = []
    for i, side in enumerate(spatial):
        reach = dilations[i] * (kernel[i] - 1) + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            made.append(ceil(side / strides[i]))
            continue
        room = side + (pads[i] + pads[i + rank] if auto == "NOTSET" else 0) - reach
        if room < 0 or (pools and max(pads[i], pads[i + rank]) >= reach):
            call.refuse(f"slides a window of {reach} over {side} with pads of {pads[i]} and {pads[i + rank]}")
        made.append((ceil(room / strides[i]) if call.number("ceil_mode", 0) else room // strides[i]) + 1)
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        call.refuse(f"has auto_pad={auto!r:.50}")
    return made


def _convolve(call: Call, weights: int, kind: int, bias: int) -> list[Value]:
    x, w = call.x.shape, call.given(weights).shape
    groups = call.number("group", 1)
    if len(x) < 3 or len(w) != len(x) or groups < 1 or x[1] != w[1] * groups or w[0] % groups:
        call.refuse(f"convolves {x} with {w} in {groups} groups")
    if call.numbers("kernel_shape", w[2:]) != w[2:]:
        call.refuse("has a kernel of another shape than its weights")
    offset = call.get(bias)
    if offset is not None and offset.shape != (w[0],):
        call.refuse(f"adds {offset.shape} to {w[0]} channels")
    made = Value(kind, (x[0], w[0], *_window(call, w[2:], x[2:], pools=False)))
    # onnxruntime computes and stores channels in blocks, of 16 with AVX-512.
    made.room = max(made.room, made.size // w[0] * _blocked(w[0]) * _FLOAT_BYTES)
    call.extra = max(0, x[0] * _blocked(x[1]) * prod(x[2:]) * _FLOAT_BYTES - call.x.room)
    call.work = made.size // w[0] * _blocked(w[0]) * prod(w[1:])
    if call.graph.is_quantized:  # in int8, it copies each position under the kernel, or holds a pointer to it
        call.extra += made.size // w[0] * max(8, x[1]) * prod(w[2:])
        call.work *= 4
    return [made]


def _blocked(channels: int) -> int:
    return -(-channels // 16) * 16


def _conv(call: Call) -> list[Value]:
    return _convolve(call, 1, call.x.kind, 2)


def _conv_integer(call: Call) -> list[Value]:
    return _convolve(call, 1, INT32, len(call.values))


def _quantized_conv(call: Call) -> list[Value]:
    if len(call.values) < 8:
        call.refuse("lacks inputs")
    return _convolve(call, 3, call.given(7).kind, 8)


def _conv_transpose(call: Call) -> list[Value]:
    x, w = call.x.shape, call.given(1).shape
    rank, groups = len(x) - 2, call.number("group", 1)
    if rank < 1 or len(w) != len(x) or groups < 1 or x[1] != w[0] or w[0] % groups:
        call.refuse(f"convolves {x} with {w} in {groups} groups")
    strides = call.numbers("strides", (1,) * rank) or ()
    dilations = call.numbers("dilations", (1,) * rank) or ()
    pads = call.numbers("pads", (0,) * 2 * rank) or ()
    extra = call.numbers("output_padding", (0,) * rank) or ()
    wanted = call.numbers("output_shape")
    fits = len(strides) == len(dilations) == len(extra) == rank and len(pads) == 2 * rank
    if not fits or min((*strides, *dilations)) < 1 or min((*pads, *extra)) < 0:
        call.refuse("slides with attributes that do not fit")
    if call.numbers("kernel_shape", w[2:]) != w[2:] or any(
        a >= max(b, c) for a, b, c in zip(extra, strides, dilations, strict=True)
    ):
        call.refuse("has a kernel of another shape than its weights, or pads more than its stride")
    full = [strides[i] * (x[i + 2] - 1) + extra[i] + (w[i + 2] - 1) * dilations[i] + 1 for i in range(rank)]
    if wanted is not None:
        sides = list(wanted[-rank:])
        if len(sides) != rank or any(not 0 < side <= most for side, most in zip(sides, full, strict=True)):
            call.refuse(f"makes {wanted!r:.100} of at most {full}")
    elif call.text("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        sides = [x[i + 2] * strides[i] for i in range(rank)]
        if any(side > most for side, most in zip(sides, full, strict=True)):
            call.refuse(f"makes {sides} of at most {full}")
    else:
        sides = [full[i] - pads[i] - pads[i + rank] for i in range(rank)]
    channels = w[1] * groups
    offset = call.get(2)
    if offset is not None and offset.shape != (channels,):
        call.refuse(f"adds {offset.shape} to {channels} channels")
    call.work = prod(x) * prod(w[1:])
    call.extra = prod(x[2:]) * prod(w[1:]) * groups * _FLOAT_BYTES
    return [call.x.as_shape((x[0], channels, *sides))]


def _pool(call: Call) -> list[Value]:
    x, kernel = call.x.shape, call.numbers("kernel_shape") or ()
    if len(x) < 3:
        call.refuse(f"pools {x}")
    shape = (*x[:2], *_window(call, kernel, x[2:], pools=True))
    call.work = 32 * prod(shape) * prod(kernel)
    return [call.x.as_shape(shape)]


def _pool_all(call: Call) -> list[Value]:
    if len(call.x.shape) < 3:
        call.refuse(f"pools {call.x.shape}")
    return [call.x.as_shape([*call.x.shape[:2], *(1 for _ in call.x.shape[2:])])]


def _parameters(call: Call) -> int:
    """Check a quantization's scales and zero points, which must have equal shapes; returns the scales' type."""
    scale, zero = call.given(1), call.get(2)
    if zero is not None and zero.shape != scale.shape:
        call.refuse(f"has scales of {scale.shape} and zero points of {zero.shape}")
    if len(scale.shape) > 1 or call.number("block_size", 0):
        call.refuse("has a scale for each block")
    if scale.size > 1 or scale.shape:
        rank = len(call.x.shape)
        axis = call.number("axis", 1)
        if scale.size > 1 and call.x.shape[call.axis(axis, rank)] != scale.size:
            call.refuse(f"has {scale.size} scales for {call.x.shape}")
    return scale.kind


def _quantize(call: Call) -> list[Value]:
    _parameters(call)
    zero = call.get(2)
    kind = zero.kind if zero is not None else call.number("output_dtype", 0) or UINT8
    return [Value(kind, call.x.shape)]


def _dequantize(call: Call) -> list[Value]:
    return [Value(_parameters(call), call.x.shape)]


def _dynamic_quantize(call: Call) -> list[Value]:
    return [Value(UINT8, call.x.shape), Value(FLOAT, ()), Value(UINT8, ())]


def _normalize(call: Call) -> list[Value]:
    """A normalization with a scale and other parameters for each channel."""
    x, channels = call.x, call.x.shape[1] if len(call.x.shape) > 1 else 0
    rest = [call.given(i).shape for i in range(1, len(call.values))]
    if not channels or any(shape != (channels,) for shape in rest):
        call.refuse(f"gets parameters of {rest} for {x.shape}")
    if call.node.op == "GroupNormalization":
        groups = call.number("num_groups", 0)
        if groups < 1 or channels % groups:
            call.refuse(f"has {groups} groups of {channels} channels")
    if call.number("training_mode", 0):
        call.refuse("is in training mode")
    call.work = 256 * x.size
    return same(call)


def _normalize_layer(call: Call) -> list[Value]:
    x = call.x
    axis = call.axis(call.number("axis", -1), len(x.shape))
    for i in (1, 2):
        if call.get(i) is not None and call.given(i).shape != x.shape[axis:]:
            call.refuse(f"gets parameters of {call.given(i).shape} for {x.shape[axis:]}")
    call.work = 256 * x.size
    reduced = [*x.shape[:axis], *(1 for _ in x.shape[axis:])]
    return [*same(call), Value(FLOAT, reduced), Value(FLOAT, reduced)]


def _local_response(call: Call) -> list[Value]:
    size = call.number("size", 0)
    if size < 1 or size % 2 == 0 or len(call.x.shape) < 3:
        call.refuse(f"has size {size} for {call.x.shape}")
    call.work = 2048 * call.x.size
    call.extra = 2 * call.x.room
    return same(call)


def _prelu(call: Call) -> list[Value]:
    if broadcast(call, call.x.shape, call.given(1).shape) != call.x.shape:
        call.refuse(f"gets slopes of {call.given(1).shape} for {call.x.shape}")
    return same(call)


LAYERS: dict[str, Rule] = {
    **dict.fromkeys(["BatchNormalization", "InstanceNormalization", "GroupNormalization"], _normalize),
    **dict.fromkeys(["MaxPool", "AveragePool", "LpPool"], _pool),
    **dict.fromkeys(["GlobalAveragePool", "GlobalMaxPool"], _pool_all),
    "Conv": _conv,
    "ConvInteger": _conv_integer,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "LRN": _local_response,
    "LayerNormalization": _normalize_layer,
    "MatMul": _matmul,
    "MatMulInteger": lambda call: _matmul(call, kind=INT32),
    "PRelu": _prelu,
    "QLinearConv": _quantized_conv,
    "QLinearMatMul": _quantized_matmul,
    "QuantizeLinear": _quantize,
}
