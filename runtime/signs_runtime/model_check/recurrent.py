"""The output shapes of recurrent layers: RNN, GRU, LSTM.

The rules are those of https://onnx.ai/onnx/operators.
"""

from signs_runtime.model_check.values import Call, Rule, Value

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_ACTIVATION = 32  # multiplications that take as long as one activation


def _recur(call: Call) -> list[Value]:
    """From steps (steps, pictures, inputs) and states (directions, pictures, hidden) to all states and the last."""
    gates, hidden = _GATES[call.node.op], call.number("hidden_size", 0)
    directions = _DIRECTIONS.get(call.text("direction", "forward"), 0)
    x, weights, recurrent = call.x.shape, call.given(1).shape, call.given(2).shape
    if not directions or hidden < 1 or len(x) != 3 or call.number("layout", 0):
        call.refuse(f"has {directions} directions, {hidden} hidden numbers and the layout {call.number('layout', 0)}")
    steps, pictures, inputs = x
    state = (directions, pictures, hidden)
    expected = {
        1: (directions, gates * hidden, inputs),
        2: (directions, gates * hidden, hidden),
        3: (directions, 2 * gates * hidden),
        5: state,
        6: state,
        7: (directions, 3 * hidden),
    }
    given = {i: value.shape for i in range(1, len(call.values)) if (value := call.get(i)) is not None}
    if any(expected.get(i) != shape for i, shape in given.items()):
        call.refuse(f"gets {weights}, {recurrent} and {given!r:.200} for {x}")
    call.work = steps * pictures * directions * gates * hidden * (inputs + hidden + _ACTIVATION)
    call.extra = 2 * 4 * steps * pictures * directions * gates * hidden  # the gates of all steps, in float32
    last = [call.x.as_shape(state) for _ in range(2 if call.node.op == "LSTM" else 1)]
    return [call.x.as_shape((steps, directions, pictures, hidden)), *last]


RECURRENT: dict[str, Rule] = dict.fromkeys(_GATES, _recur)
