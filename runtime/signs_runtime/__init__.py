"""Labels pictures with onnxruntime, using a sealed signs-edge bundle or one of its self-describing ONNX files."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signs_runtime.classifier import Classifier, Prediction
    from signs_runtime.device_proof import verify
    from signs_runtime.errors import (
        AnswerError,
        BundleError,
        BundleFormatError,
        BundleNotFoundError,
        BundleTamperedError,
        ImageError,
        OnnxruntimeMissingError,
        OptionError,
        ProviderError,
        SignsError,
    )
    from signs_runtime.pictures.input_spec import InputSpec
    from signs_runtime.placement.choices import Placement
    from signs_runtime.proof.verification import Verification, VerificationError
    from signs_runtime.stream import Outcome
    from signs_runtime.version import __version__

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
    "OptionError",
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
    "InputSpec": "pictures.input_spec",
    "Outcome": "stream",
    "Placement": "placement.choices",
    "Verification": "proof.verification",
    "VerificationError": "proof.verification",
    "verify": "device_proof",
    "__version__": "version",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562): `signs --help` needs neither numpy nor Pillow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
