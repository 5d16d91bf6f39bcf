"""What is patched inside a dependency, or reached by private names, stays below the first version not looked at."""

import re
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

# dependency -> the first version that nobody has looked at, and what to look at before the bound moves
BOUNDS = {
    "tf2onnx": (
        "1.18",
        "signs_export.convert.tf2onnx_fixes: Node.update_proto, np.product for large models, Erfc, functions inside "
        "functions, captured constants",
    ),
    "tf-keras": (
        "2.22",
        "signs_builder.network.keras2: SafeModeScope, which load_model does not set for HDF5 and folders, and a "
        "model's _nodes_by_depth, by which it is rebuilt",
    ),
    "keras": (
        "3.16",
        "Layer.__call__ is wrapped and nodes are followed (signs_export.source.layers), Layer._flatten_layers and "
        "KerasTensor._keras_history are read (signs_export.source, .gate.trace), convolution_op is replaced "
        "(signs_export.source.layers), Optimizer._get_variable_index "
        "(signs_builder.training.gradients)",
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_dependency_that_is_patched_has_the_bound_up_to_which_its_patches_were_looked_at(name: str) -> None:
    beyond, places = BOUNDS[name]
    (requirement,) = [each for each in map(Requirement, requires("signs-edge") or []) if each.name == name]
    bounds = re.findall(r"<([\d.]+)", str(requirement.specifier))
    assert bounds == [beyond], f"the bound of {name} moved from {beyond}: look at {places}; then move it here, too"
    assert Version(version(name)) < Version(beyond)
