"""Every error that the project raises on purpose descends from SignsError and says what to do next."""

import os
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from signs_runtime.verification import Verification

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


class VerificationError(BundleError):
    """The bundle is not what was proved, or this device does not run it so; `verification` holds what was found."""

    exit_code = EXIT_PARITY

    def __init__(self, path: "str | os.PathLike[str]", verification: "Verification") -> None:
        super().__init__(
            f"{path} fails its proof on this device; take the bundle from its source again, or try another variant or "
            f"device.\n{verification.failures}"
        )
        self.verification = verification


class ProviderError(SignsError):
    """The device lacks the execution provider that was asked for."""


class OnnxruntimeMissingError(SignsError, ImportError):
    """No onnxruntime is installed: signs-runtime leaves the choice of one to its extras."""


class ImageError(SignsError, ValueError):
    """Not a picture, too large, or an array of the wrong dtype or shape."""
