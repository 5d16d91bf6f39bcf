"""Runs a sealed signs-edge bundle, or one self-describing ONNX file, with onnxruntime: pictures in, labels out."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signs_runtime.classifier import Classifier, Prediction
    from signs_runtime.errors import (
        AnswerError,
        BundleError,
        BundleFormatError,
        BundleNotFoundError,
        BundleTamperedError,
        ImageError,
        OnnxruntimeMissingError,
        ProviderError,
        SignsError,
        VerificationError,
    )
    from signs_runtime.input_spec import InputSpec
    from signs_runtime.placement import Placement
    from signs_runtime.stream import Outcome
    from signs_runtime.verification import Verification, verify

__version__ = "0.1.0"

__all__ = [
    "AnswerError",
    "BundleError",
    "BundleFormatError",
    "BundleNotFoundError",
    "BundleTamperedError",
    "Classifier",
    "ImageError",
    "InputSpec",
    "OnnxruntimeMissingError",
    "Outcome",
    "Placement",
    "Prediction",
    "ProviderError",
    "SignsError",
    "Verification",
    "VerificationError",
    "__version__",
    "verify",
]

_HOMES = {
    "Classifier": "classifier",
    "Prediction": "classifier",
    "InputSpec": "input_spec",
    "Outcome": "stream",
    "Placement": "placement",
    "Verification": "verification",
    "verify": "verification",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562): `signs --help` needs neither numpy nor Pillow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
