"""Computes the same with fewer nodes: on small pictures, starting a node costs as much as its arithmetic."""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from signs_export.onnx_graph import attribute, weights_of

Shape = tuple[int | str | None, ...]  # each a number, the name of the batch's axis, or unknown
_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
_AS_BEFORE = 0  # in a Reshape: the axis stays


def tidy(model: onnx.ModelProto) -> None:
    """Replace chains of tf2onnx's nodes by single ones, in place. Nodes that nothing reads any more stay.

    Means over a picture become GlobalAveragePool, and relu6(x + 3) / 6 becomes HardSigmoid: onnxruntime has kernels for
    both. Chains that keep the order of the numbers (squeezes, reshapes to a computed shape, transpositions of axes of
    length 1) become one Reshape, or nothing.
    """
    _pool_at_once(model)
    _join_hard_sigmoids(model)
    _join_views(model)


def _pool_at_once(model: onnx.ModelProto) -> None:
    weights, shapes = weights_of(model), _shapes(model)
    for node in model.graph.node:
        is_of_pictures = node.op_type == "ReduceMean" and len(shapes.get(node.input[0], ())) == 4
        if is_of_pictures and attribute(node, "keepdims", 1):
            given = [to_array(weights[name]).tolist() for name in node.input[1:] if name in weights]  # from opset 18 on
            if sorted(attribute(node, "axes", given[0] if given else [])) == [2, 3]:
                node.op_type = "GlobalAveragePool"
                del node.attribute[:], node.input[1:]


def _join_hard_sigmoids(model: onnx.ModelProto) -> None:
    """Replace Add, Clip and Div or Mul that compute max(0, min(1, x / 6 + 1/2)) by HardSigmoid."""
    graph, shapes = model.graph, _shapes(model)
    weights = weights_of(model)
    uses = Counter(name for node in graph.node for name in node.input)
    made_by = {name: node for node in graph.node for name in node.output}

    def with_number(node: onnx.NodeProto | None, operators: tuple[str, ...]) -> Iterator[tuple[str, float]]:
        """The other operand and the number, if a node combines a tensor with one number and keeps its shape."""
        for i, name in enumerate(node.input if node is not None and node.op_type in operators else ()):
            assert node is not None
            given = node.input[1 - i]
            axes = weights[name].dims if name in weights else (2,)
            if math.prod(axes) == 1 and len(axes) <= len(shapes.get(given, ())):
                yield given, float(to_array(weights[name]).reshape(()))

    def before(name: str) -> onnx.NodeProto | None:
        return made_by.get(name) if uses[name] == 1 else None

    for node in list(graph.node):
        for name, factor in with_number(node, ("Mul", "Div")):
            divides = node.op_type == "Div" and node.input[0] == name
            chain = [before(name)]  # from the last view back to the Clip
            while (each := chain[-1]) is not None and each.op_type in ("Transpose", *_VIEWS):
                chain.append(before(each.input[0]))
            clip = chain[-1]
            if clip is None or clip.op_type != "Clip":
                continue
            bounds = [float(to_array(weights[bound])) for bound in clip.input[1:] if bound in weights]
            is_sixth = np.isclose(factor, 6 if divides else 1 / 6, rtol=1e-6) and divides == (node.op_type == "Div")
            if bounds != [0, 6] or not is_sixth:
                continue
            for given, summand in with_number(before(clip.input[0]), ("Add",)):
                if summand == 3:
                    clip.op_type = "HardSigmoid"
                    clip.input[:] = [given]
                    slope = {"alpha": 1 / 6, "beta": 0.5}
                    clip.attribute.extend(onnx.helper.make_attribute(*each) for each in slope.items())
                    _rename_outputs([each for each in chain if each is not None], node.output[0])
                    graph.node.remove(node)


def _rename_outputs(chain: list[onnx.NodeProto], last: str) -> None:
    """Rename the outputs of nodes, the last node first, so that no layer's name is on values that have changed."""
    name = last
    for i, node in enumerate(chain):
        node.output[0] = name
        if i + 1 < len(chain):
            name = f"{last.replace('/', ' ')} {i}"
            node.input[0] = name


def _join_views(model: onnx.ModelProto) -> None:
    graph, weights = model.graph, weights_of(model)
    shapes = _shapes(model)
    given = {value.name for value in graph.output}
    viewed: dict[str, str] = {}  # by view, the tensor that has the same numbers in the same order
    same: dict[str, str] = {}  # the same, if the shape is the same as well
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if not _is_view(node, shapes):
            continue
        (output,) = node.output
        viewed[output] = viewed.get(node.input[0], node.input[0])
        before, after = _of_one(shapes.get(viewed[output])), _of_one(shapes.get(output))
        if before is None or after is None or math.prod(before) != math.prod(after):
            continue
        if before == after and output not in given:
            same[output] = viewed[output]
        elif node.input[0] != viewed[output] or (node.op_type == "Reshape" and node.input[1] not in weights):
            shape = f"{output}/shape"
            graph.initializer.append(from_array(np.array([_AS_BEFORE, *after], np.int64), shape))
            node.op_type = "Reshape"
            node.input[:] = [viewed[output], shape]
            del node.attribute[:]


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The known shapes of float32 tensors."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(
            each.dim_value if each.HasField("dim_value") else each.dim_param or None
            for each in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }


def _is_view(node: onnx.NodeProto, shapes: dict[str, Shape]) -> bool:
    """Whether a node keeps the numbers in their order."""
    if node.op_type != "Transpose":
        return node.op_type in _VIEWS
    shape = shapes.get(node.input[0], ())
    axes = attribute(node, "perm", [])
    order = [axis for axis in axes if shape[axis : axis + 1] != (1,)]
    return len(axes) == len(shape) > 0 and order == sorted(order)


def _of_one(shape: Shape | None) -> tuple[int, ...] | None:
    """The axes after the first (the batch); None if one is unknown."""
    axes = tuple(each for each in (shape or ())[1:] if isinstance(each, int))
    return axes if shape and len(axes) == len(shape) - 1 else None
