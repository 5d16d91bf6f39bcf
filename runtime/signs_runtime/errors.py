"""Every error that the project raises on purpose descends from SignsError and says what to do next."""

from typing import ClassVar

EXIT_PARITY = 3  # a command's end where answers are not Keras's


class SignsError(Exception):
    """The user, the data or the device is at fault, not the code; a command ends with `exit_code`."""

    exit_code: ClassVar[int] = 1


class BundleError(SignsError):
    """The bundle is at fault."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """There is no bundle, or a file that its manifest lists is missing."""


class BundleFormatError(BundleError, ValueError):
    """The file is not ONNX, not ours, or of another schema."""


class BundleTamperedError(BundleError):
    """A digest does not match: the file is not the one that was proved."""


class AnswerError(BundleError, ArithmeticError):
    """The model answers a picture with something that is not a number."""


class OptionError(SignsError, ValueError):
    """An argument is outside what can be chosen, whatever the bundle and the device."""


class ProviderError(SignsError):
    """The device lacks the execution provider that was asked for."""


class OnnxruntimeMissingError(SignsError, ImportError):
    """No onnxruntime is installed: signs-runtime leaves the choice of one to its extras."""


class ImageError(SignsError, ValueError):
    """Not a picture, too large, or an array of the wrong dtype or shape."""
