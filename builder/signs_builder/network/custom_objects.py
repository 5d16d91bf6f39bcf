"""Loads the user's own classes and functions that a model needs, from a Python file that the user names."""

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from signs_builder.errors import ModelError


def run_custom_objects(path: Path) -> dict[str, Any]:
    """Run a Python file and return the functions and Keras classes (layers, ...) that it defines, by name.

    Objects that the file registers with Keras stay registered. If the file raises anything, raises ModelError with the
    line.
    """
    if not path.is_file():
        raise ModelError(f"No custom objects at {path}: there is no such file.")
    spec = importlib.util.spec_from_file_location(f"custom_objects_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f" in line {lines[-1]}" if lines else ""
        raise ModelError(f"Running {path} failed: {type(error).__name__}{line}: {error}.") from error
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == spec.name}
    return {
        name: value
        for name, value in own.items()
        if inspect.isfunction(value) or (inspect.isclass(value) and hasattr(value, "from_config"))
    }
