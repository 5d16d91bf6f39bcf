"""Defines the errors that the project raises on purpose: all are subclasses of SignsError and name the next step."""

from typing import ClassVar

EXIT_PARITY = 3  # exit code of a command whose answers differ from Keras's


class SignsError(Exception):
    """An error that the user, the data or the device causes, not the code; a command exits with `exit_code`."""

    exit_code: ClassVar[int] = 1


class BundleError(SignsError):
    """The bundle is the cause."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """The bundle does not exist, or a file that its manifest lists is missing."""


class BundleFormatError(BundleError, ValueError):
    """The file is not ONNX, was not made by signs-edge, or has another schema."""


class BundleTamperedError(BundleError):
    """A digest does not match: the file differs from the one that was proved."""


class AnswerError(BundleError, ArithmeticError):
    """The model's answer is not a number, or the device cannot run the model."""


class OptionError(SignsError, ValueError):
    """An argument is out of range for every bundle and device."""


class SourceError(SignsError, OSError):
    """Pictures, or a folder for results, cannot be found or reached."""


class ProviderError(SignsError):
    """The device lacks the requested execution provider, or cannot use it."""


class OnnxruntimeMissingError(SignsError, ImportError):
    """No onnxruntime could be imported; an extra of signs-runtime installs one."""


class ImageError(SignsError, ValueError):
    """The file is not a picture or too large, or an array has the wrong dtype or shape."""
